from __future__ import annotations

import json

import pytest

from keystile.model.errors import InvalidQueryError, KeystileError, RefusedError
from keystile.wire.responses import error_body


def test_an_error_has_the_shape_that_clients_read() -> None:
    error = RefusedError("no", hint="ask for less")
    assert json.loads(error_body(error)) == {
        "error": {
            "code": 403,
            "message": "no; ask for less",
            "errors": [
                {"message": "no; ask for less", "domain": "global", "reason": "accessDenied"}
            ],
            "status": "PERMISSION_DENIED",
        }
    }


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidQueryError("Unrecognized name: x at [1:8]"), "Unrecognized name: x at [1:8]"),
        (RefusedError("no `x`", hint="do y", place=(2, 3)), "no `x` at [2:3]; do y"),
    ],
)
def test_an_error_about_a_querys_text_says_so_as_bigquery_does(
    error: KeystileError, message: str
) -> None:
    detail = json.loads(error_body(error))["error"]["errors"][0]
    assert detail["message"] == message
    assert (detail["location"], detail["locationType"]) == ("q", "parameter")
