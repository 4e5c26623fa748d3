from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.facts import Opaque, QueryFacts, Use
from keystile.model.schema import ColumnRef, SqlType
from keystile.policy.conditions import TouchedLabels
from keystile.policy.understood import NotUnderstoodError, touched_labels

PII, SECRET = frozenset({"pii"}), frozenset({"secret"})


def covered(shop: Any) -> Any:
    return {shop.customers.id: {("email",): PII, ("id",): frozenset(), ("name",): SECRET}}


def touched(shop: Any, facts: QueryFacts) -> Any:
    return touched_labels(facts, (shop.customers,), covered(shop))


@pytest.mark.parametrize(
    ("use", "labels"),
    [
        (Use.OUTPUT, (PII, PII, frozenset())),
        (Use.FILTER, (PII, frozenset(), PII)),
        (Use.JOIN, (PII, frozenset(), PII)),
        (Use.GROUP, (PII, frozenset(), frozenset())),
    ],
)
def test_labels_are_told_by_their_uses(shop: Any, use: Use, labels: Any) -> None:
    assert touched(shop, shop.selects(shop.customers, "id", "email", use=use)) == TouchedLabels(
        *labels
    )


def test_what_an_output_derives_from_is_touched_though_no_use_names_it(shop: Any) -> None:
    facts = shop.selects(shop.customers, "id")
    source = ColumnRef(shop.customers.id, ("name",))
    output = msgspec.structs.replace(facts.output[0], type=SqlType("STRING"), sources=(source,))
    found = touched(shop, msgspec.structs.replace(facts, output=(output,)))
    assert found == TouchedLabels(SECRET, SECRET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"opaque": (Opaque("QUALIFY", 1, 2),)}, r"QUALIFY at \[1:2\] is not understood"),
        ({"actions": ()}, "what a `SELECT` statement does is not known"),
    ],
)
def test_what_is_not_understood_is_told(shop: Any, changes: Any, message: str) -> None:
    facts = msgspec.structs.replace(shop.selects(shop.customers, "id"), **changes)
    with pytest.raises(NotUnderstoodError, match=message):
        touched(shop, facts)


def test_an_unknown_table_or_column_is_told(shop: Any) -> None:
    with pytest.raises(NotUnderstoodError, match=r"column `acme-shop\.shop\.customers\.gone`"):
        touched(shop, shop.selects(shop.customers, "id", "gone"))
    with pytest.raises(NotUnderstoodError, match=r"the schema of `acme-shop\.shop\.orders`"):
        touched(shop, shop.selects(shop.orders, "id"))


def test_a_table_that_is_only_made_need_not_be_known(shop: Any) -> None:
    facts = msgspec.structs.replace(shop.selects(shop.customers, "id"), writes=(shop.orders.id,))
    with pytest.raises(NotUnderstoodError):
        touched(shop, facts)
    touched(shop, msgspec.structs.replace(facts, unseen=(shop.orders.id,)))
    read_too = msgspec.structs.replace(
        facts, unseen=(shop.orders.id,), reads=(shop.customers.id, shop.orders.id)
    )
    with pytest.raises(NotUnderstoodError):
        touched(shop, read_too)
