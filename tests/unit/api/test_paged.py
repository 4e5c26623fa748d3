from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from keystile.api.fakes import FakeGate
from keystile.model.errors import RefusedError
from keystile.model.principal import Principal
from keystile.wire.requests import PageRequest
from keystile.wire.responses import ResultsView

QUERIES = "/bigquery/v2/projects/acme-shop/queries"
DATA = "/bigquery/v2/projects/acme-shop/datasets/shop/tables/customers/data"
TOKEN = {"Authorization": "Bearer token-a"}


def rows(*numbers: int) -> tuple[msgspec.Raw, ...]:
    return tuple(msgspec.Raw(b'{"f":[{"v":"%d"}]}' % number) for number in numbers)


class Piecemeal(FakeGate):
    """A gate whose pages come in three pieces; the last one may have no rows, or not come."""

    def __init__(
        self, *, empty_end: bool = False, breaks: bool = False, optional: bool = False
    ) -> None:
        super().__init__()
        self.empty_end = empty_end
        self.breaks = breaks
        self.optional = optional
        self.closed = 0
        self.between: Callable[[], object] = lambda: None

    async def results(
        self, principal: Principal, project: str, job_id: str, page: PageRequest
    ) -> ResultsView:
        view = await super().results(principal, project, job_id, page)
        job = msgspec.structs.replace(view.job, optional=self.optional)
        return ResultsView(job, rows(0, 1), rest=self._rest(view))

    async def _rest(self, view: ResultsView) -> AsyncGenerator[ResultsView]:
        try:
            yield ResultsView(view.job, rows(2))
            self.between()
            if self.breaks:
                raise RefusedError("BigQuery cannot be reached")
            yield ResultsView(view.job, () if self.empty_end else rows(3), "next")
        finally:
            self.closed += 1


class Reply(NamedTuple):
    headers: Any
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def asked(served: Any, method: str, target: str, body: str = "", **headers: str) -> Reply:
    """Give the answer of a real server to a real client."""
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=10)
    with closing(connection):
        connection.request(method, target, body or None, TOKEN | headers)
        with connection.getresponse() as reply:
            assert reply.status == 200
            try:
                return Reply(reply.headers, reply.read(), whole=True)
            except http.client.IncompleteRead as broken:
                return Reply(reply.headers, broken.partial, whole=False)


def query(served: Any, target: str = QUERIES, **more: Any) -> Reply:
    text = json.dumps({"query": "SELECT 1", "useLegacySql": False, **more})
    return asked(served, "POST", target, text)


@pytest.mark.parametrize("empty_end", [False, True])
def test_a_page_in_pieces_is_one_answer(serve: Any, *, empty_end: bool) -> None:
    served = serve(Piecemeal(empty_end=empty_end))
    for reply in (query(served), asked(served, "GET", DATA)):
        found = reply.json
        values = [row["f"][0]["v"] for row in found["rows"]]
        assert values == (["0", "1", "2"] if empty_end else ["0", "1", "2", "3"])
        assert found["pageToken"] == "next"
        assert reply.headers["content-length"] is None
    job = query(served).json["jobReference"]["jobId"]
    page = asked(served, "GET", f"{QUERIES}/{job}").json
    assert (len(page["rows"]), page["pageToken"]) == (3 if empty_end else 4, "next")


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ("rows", {"rows"}),
        ("jobReference,totalRows,pageToken,rows", {"jobReference", "rows", "pageToken"}),
        ("totalRows,pageToken", {"pageToken"}),
        ("rows/f/v,pageToken", {"rows", "pageToken"}),
    ],
)
def test_fields_are_chosen_of_pieces_too(serve: Any, fields: str, keys: set[str]) -> None:
    found = query(serve(Piecemeal()), f"{QUERIES}?fields={fields}").json
    assert found.keys() - {"totalRows"} == keys
    assert [row["f"][0]["v"] for row in found.get("rows", [])] == [*"0123"][: 4 * ("rows" in keys)]


def test_a_page_that_breaks_off_is_no_answer(serve: Any) -> None:
    gate = Piecemeal(breaks=True)
    reply = query(serve(gate))
    assert not reply.whole
    assert b'{"v":"2"}' in reply.body
    with pytest.raises(json.JSONDecodeError):
        _ = reply.json
    assert gate.closed == 1


def test_pieces_are_packed_as_one(serve: Any) -> None:
    reply = asked(serve(Piecemeal()), "GET", DATA, **{"Accept-Encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(reply.body))["rows"]) == 4


def test_a_client_that_needs_no_job_gets_the_page_whole(serve: Any) -> None:
    reply = query(serve(Piecemeal(optional=True)), jobCreationMode="JOB_CREATION_OPTIONAL")
    assert reply.headers["content-length"]
    assert len(reply.json["rows"]) == 4


def test_a_page_breaks_off_when_its_agent_is_disabled(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.api.app._LET_IN_SECONDS", 0.0)
    gate = Piecemeal()
    served = serve(gate)
    gate.between = lambda: served.principals.disabled.add("agent-a")
    assert not query(served).whole
