"""The whole surface under requests that nobody thought of: answers below 500, in one shape."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from hypothesis import example, given, settings
from hypothesis import strategies as st

from keystile.wire.methods import METHODS

TOKEN = (b"authorization", b"Bearer token-a")
WORDS = st.sampled_from(["acme-shop", "shop", "customers", "job-1", "_anon", "a b", "t$1", "", "é"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "query", "useLegacySql", "queryParameters", "parameterMode", "defaultDataset", "labels",
        "maximumBytesBilled", "dryRun", "timeoutMs", "maxResults", "requestId", "formatOptions",
        "configuration", "jobReference", "jobTimeoutMs", "location", "createSession", "copy",
        "jobCreationMode", "priority", "kind", "rows", "skipInvalidRows", "traceId",
        "templateSuffix",
    ]
)  # fmt: skip


class Asked(NamedTuple):
    verb: str
    path: str
    query: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


@st.composite
def requests(draw: Any) -> Asked:
    """Draw a request that is nearly one of the API's."""
    method = METHODS[draw(st.sampled_from(sorted(METHODS)))]
    path = method.path
    for place in ("project", "dataset", "table", "job", "item"):
        word = draw(WORDS | st.text(max_size=6))
        path = path.replace(f"{{{place}}}", quote(word, safe="", errors="replace"))
    names = st.sampled_from([*method.parameters, "fields", "alt", "key", "prettyPrint"])
    values = st.sampled_from(["1", "-1", "true", "json", "shop/x(y)", "", "DONE"]) | st.text()
    given_ = draw(st.dictionaries(names, values, max_size=3))
    body = draw(
        st.binary(max_size=20)
        | JSON.map(lambda value: json.dumps(value).encode())
        | st.dictionaries(FIELDS, JSON, max_size=4).map(lambda value: json.dumps(value).encode())
        | st.lists(st.dictionaries(st.sampled_from(["json", "insertId", "x"]), JSON)).map(
            lambda rows: json.dumps({"rows": rows}).encode()
        )
        | st.dictionaries(FIELDS, JSON, max_size=3).map(
            lambda value: json.dumps(
                {"configuration": {"query": {"query": "SELECT 1", **value}}}
            ).encode()
        )
    )
    headers = draw(
        st.lists(
            st.sampled_from(
                [
                    (b"content-encoding", b"gzip"),
                    (b"accept-encoding", b"gzip"),
                    (b"x-http-method-override", b"GET"),
                    (b"content-type", b"application/x-www-form-urlencoded"),
                    (b"content-length", b"99"),
                ]
            ),
            max_size=2,
        )
    )
    verb = draw(st.sampled_from([method.verb] * 5 + ["GET", "POST", "PUT", "PATCH", "DELETE"]))
    prefix = draw(st.sampled_from(["/bigquery/v2/", "/", "/bigquery/v2/bigquery/v2/", "/x/"]))
    query = urlencode(given_, errors="replace")
    return Asked(verb, prefix + path, query, body, (TOKEN, *headers))


async def answer(app: Any, asked: Asked) -> tuple[int, dict[bytes, bytes], bytes]:
    messages: list[Any] = [{"type": "http.request", "body": asked.body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": asked.verb,
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "query_string": asked.query.encode(),
        "headers": [*asked.headers],
    }
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_any_request_is_answered_below_500_in_googles_shape(make: Any) -> None:
    seen: set[int] = set()

    @settings(max_examples=400)
    @given(requests())
    @example(Asked("DELETE", "/bigquery/v2/projects/acme-shop/datasets/shop", "", b"", (TOKEN,)))
    @example(Asked("GET", "/projects/acme-shop/datasets", "", b"", (TOKEN,)))
    @example(Asked("GET", "/projects/acme-shop/serviceAccount", "", b"", (TOKEN,)))
    def check(asked: Asked) -> None:
        status, headers, body = asyncio.run(answer(make(), asked))
        seen.add(status)
        assert status < 500
        if b"content-encoding" in headers:
            return
        if status == 204:
            assert (asked.verb, body) == ("DELETE", b"")
            return
        said = json.loads(body)
        assert ("error" in said) == (status != 200)
        if status != 200:
            assert said["error"]["code"] == status
            assert "internal fault" not in said["error"]["message"]

    check()
    assert seen >= {200, 400, 403, 404}
