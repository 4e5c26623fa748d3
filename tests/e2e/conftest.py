from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.stack import ROOT, Stack, standing

APPROVED = ("ssn", "email")
"""What of the first customer a test of the shared stack has a person approve, and no other value:
it is rightly on record, and told.
"""

SHOP = ROOT / "src" / "keystile" / "sandbox" / "sample" / "acme-shop" / "shop"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One sandbox and one gateway for all tests of a worker that leave both alone."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    with standing(stack):
        yield stack


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for one test that does it harm."""
    stack = Stack(tmp_path_factory.mktemp("own-stack"))
    with standing(stack):
        yield stack


def _rows(table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SHOP / f"{table}.ndjson").read_text().splitlines()]


@pytest.fixture(scope="session")
def customers() -> list[dict[str, Any]]:
    return _rows("customers")


@pytest.fixture(scope="session")
def protected(customers: list[dict[str, Any]]) -> dict[str, str]:
    """Every protected value of the sample shop that nobody approved, and what it is."""
    found: dict[str, str] = {}
    for customer in customers:
        for column in ("ssn", "email", "phone", "name", "notes"):
            if customer[column]:
                found[customer[column]] = column
        found[customer["address"]["street"]] = "street"
        found |= {contact["value"]: "contact" for contact in customer["contacts"]}
    for column in APPROVED:
        del found[customers[0][column]]
    found |= {ticket["body"]: "body" for ticket in _rows("tickets")}
    return found
