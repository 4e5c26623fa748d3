from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import (
    DuplicateError,
    InUseError,
    InvalidQueryError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    RefusedError,
    StoppedError,
)
from keystile.upstream.errors import from_job, from_response


def _body(reason: str, message: str = "Some words.") -> bytes:
    return json.dumps(
        {"error": {"code": 1, "message": message, "errors": [{"reason": reason}]}}
    ).encode()


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "invalidQuery", InvalidQueryError),
        (400, "invalid", InvalidRequestError),
        (400, "somethingNew", InvalidRequestError),
        (404, "notFound", NotFoundError),
        (409, "duplicate", DuplicateError),
        (400, "resourceInUse", InUseError),
        (499, "stopped", StoppedError),
        (403, "accessDenied", RefusedError),
        (403, "rateLimitExceeded", RefusedError),
        (429, "rateLimitExceeded", RefusedError),
        (500, "internalError", RefusedError),
        (503, "backendError", RefusedError),
    ],
)
def test_each_answer_maps_to_our_tree_and_keeps_its_words(
    status: int, reason: str, expected: type[KeystileError]
) -> None:
    error = from_response(status, _body(reason), ())
    assert type(error) is expected
    assert "Some words." in error.message


def test_a_refused_credential_is_ours_to_mend_not_the_agents() -> None:
    error = from_response(401, _body("authError", "Invalid JWT: abc"), ())
    assert type(error) is RefusedError
    assert error.message == "BigQuery refused the gateway's own credential"


@given(status=st.integers(300, 599), body=st.binary(max_size=200))
def test_no_body_breaks_the_translation_or_asks_clients_to_retry(status: int, body: bytes) -> None:
    error = from_response(status, body, ())
    assert error.http_status not in {401, 429, 500, 502, 503, 504}


def test_a_message_that_quotes_a_secret_or_a_jwt_is_withheld() -> None:
    for text in ("Bad value: c2VjcmV0", "got Bearer eyJhbGciOi.eyJpc3Mi.c2ln here"):
        for error in (
            from_response(400, _body("invalidQuery", text), {"c2VjcmV0"}),
            from_job({"reason": "invalidQuery", "message": text}, {"c2VjcmV0"}),
        ):
            assert type(error) is InvalidQueryError
            assert "withheld" in error.message
            assert "c2" not in error.message


def test_a_job_error_keeps_its_kind() -> None:
    assert type(from_job({"reason": "stopped", "message": "m"}, ())) is StoppedError
    assert type(from_job({"reason": "resourcesExceeded", "message": "m"}, ())) is RefusedError
    assert type(from_job({}, ())) is RefusedError


def test_a_dataset_that_is_not_empty_is_no_refusal_of_policy() -> None:
    error = from_job({"reason": "resourceInUse", "message": "d is still in use"}, ())
    assert (error.http_status, error.reason) == (400, "resourceInUse")
