from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError
from keystile.wire.publishing import PublishRequest, read_publish_request

GOOD: dict[str, Any] = {"files": {"a/b.yaml": "rules: []"}, "message": "why"}


def test_a_request_is_read() -> None:
    body = json.dumps(GOOD | {"expect": 3, "dry_run": True}).encode()
    assert read_publish_request(body) == PublishRequest(GOOD["files"], "why", 3, dry_run=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}},
        {"files": {"a\n.yaml": ""}},
        {"files": {"a" * 256: ""}},
        {"files": {f"{n}.yaml": "" for n in range(1001)}},
        {"files": {"a.yaml": 1}},
        {"message": None},
        {"expect": -1},
        {"expect": 1.5},
        {"dry_run": "no"},
        {"author": "somebody else"},
    ],
)
def test_what_is_not_understood_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="the request to publish is not understood"):
        read_publish_request(json.dumps(GOOD | changes).encode())


def test_a_file_that_is_given_twice_is_refused() -> None:
    body = b'{"files": {"a.yaml": "x", "a.yaml": "y"}, "message": "why"}'
    with pytest.raises(InvalidRequestError, match=r"the field `a.yaml` twice"):
        read_publish_request(body)


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_nothing_but_a_request_is_read_as_one(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_publish_request(body)
