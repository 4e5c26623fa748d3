"""Random requests to all that the data port answers; `script/prove surface` asks many more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prove.surface.__main__ import run
from prove.surface.described import described
from prove.surface.faults import fault_of, lets_in

from keystile.wire.discovery import document
from keystile.wire.methods import METHODS

JSON = {"content-type": "application/json; charset=UTF-8"}
PATH = "/bigquery/v2/projects/{projectId}/jobs"


def test_whatever_is_asked_is_answered_as_clients_understand() -> None:
    found = run(2, "2026")
    assert found.faults == {}
    assert found.strays == []
    assert found.statuses.total() > 3 * len(METHODS)
    assert {200, 400, 401, 403, 404} <= found.statuses.keys()


def test_every_method_is_asked() -> None:
    paths = described(document("http://gateway"), likely=True)["paths"]
    named = {one["operationId"] for operations in paths.values() for one in operations.values()}
    assert METHODS.keys() <= named
    assert {"token", "post /upload", "put /resumable/upload", "metrics"} <= named


def error(code: int = 400, **changes: Any) -> str:
    detail = {"message": "no", "domain": "global", "reason": "invalid"}
    body = {"code": code, "message": "no", "errors": [detail], "status": "INVALID_ARGUMENT"}
    return json.dumps({"error": body | changes})


OVERLOAD = error(503, errors=[{"message": "busy", "reason": "backendError"}])
REFUSAL = json.dumps({"error": "invalid_request", "error_description": "no"})


@pytest.mark.parametrize(
    ("path", "status", "headers", "text"),
    [
        (PATH, 200, JSON, "{}"),
        (PATH, 204, {}, ""),
        (PATH, 400, JSON, error()),
        (PATH, 503, JSON, OVERLOAD),
        (f"/upload{PATH}", 308, {}, ""),
        ("/v1/token", 400, JSON, REFUSAL),
    ],
)
def test_a_good_answer_is_no_fault(
    path: str, status: int, headers: dict[str, str], text: str
) -> None:
    assert fault_of(path, status, headers, text) == ""


@pytest.mark.parametrize(
    ("path", "status", "headers", "text", "words"),
    [
        (PATH, 500, JSON, error(500), "the status is 500"),
        (PATH, 503, JSON, error(503), "the status is 503"),
        (PATH, 500, {"content-type": "text/plain"}, "Internal Server Error", "content type"),
        (PATH, 400, JSON, error(403), "Google's shape"),
        (PATH, 400, JSON, error(errors=[]), "Google's shape"),
        (PATH, 400, JSON, '{"detail": "no"}', "Google's shape"),
        (PATH, 400, JSON, "[]", "Google's shape"),
        (PATH, 200, JSON, "", "no JSON"),
        (PATH, 200, {}, "{}", "content type"),
        (PATH, 403, JSON, error(403, message="refused: internal fault `ab`"), "the inside"),
        (PATH, 400, JSON, error(message='File "app.py", line 3, in run'), "the inside"),
        ("/v1/token", 400, JSON, error(), "OAuth's shape"),
        ("/v1/token", 500, JSON, REFUSAL, "OAuth's shape"),
    ],
)
def test_a_bad_answer_is_a_fault(
    path: str, status: int, headers: dict[str, str], text: str, words: str
) -> None:
    assert words in fault_of(path, status, headers, text)


def test_nobody_gets_anything_but_what_is_free() -> None:
    assert lets_in(PATH, 200)
    assert lets_in(PATH, 404)
    assert not lets_in(PATH, 401)
    assert not lets_in("/healthz", 200)
