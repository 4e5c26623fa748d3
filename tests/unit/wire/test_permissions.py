from __future__ import annotations

import json

import pytest

from keystile.model.errors import InvalidRequestError
from keystile.wire.permissions import parse_permissions

GET, DATA = "bigquery.tables.get", "bigquery.tables.getData"


@pytest.mark.parametrize("given", [[GET, DATA], [[GET, DATA]], [GET, [DATA, GET]]])
def test_a_list_within_the_list_is_its_items(given: object) -> None:
    assert parse_permissions(json.dumps({"permissions": given}).encode()) == (GET, DATA)


def test_nothing_may_be_asked() -> None:
    assert parse_permissions(b"{}") == ()


@pytest.mark.parametrize(
    "body",
    [
        {"permissions": GET},
        {"permissions": [1]},
        {"permissions": [[[GET]]]},
        {"permissions": [{"a": GET}]},
        {"permissions": [f"p{n}" for n in range(101)]},
        {"permissions": [GET], "resource": "x"},
    ],
)
def test_what_is_malformed_is_refused(body: object) -> None:
    with pytest.raises(InvalidRequestError):
        parse_permissions(json.dumps(body).encode())
