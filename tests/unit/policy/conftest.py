from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keystile.model.facts import Action, ColumnUse, OutputColumn, QueryFacts, Use
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Field, Mode, SqlType, Table, TableId, TableKind
from keystile.policy.context import Context

CUSTOMERS = Table(
    TableId("acme-shop", "shop", "customers"),
    TableKind.TABLE,
    (
        Field("id", "INT64"),
        Field("name", "STRING"),
        Field("email", "STRING"),
        Field("SSN", "STRING"),
        Field("address", "STRUCT", fields=(Field("street", "STRING"), Field("zip", "STRING"))),
        Field(
            "contacts",
            "STRUCT",
            Mode.REPEATED,
            (
                Field("kind", "STRING"),
                Field("value", "STRING", policy_tags=("projects/acme/taxonomies/1/policyTags/7",)),
            ),
        ),
    ),
    "e1",
)
ORDERS = Table(
    TableId("acme-shop", "shop", "orders"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("customer", "INT64")),
    "e2",
)
EVENTS = Table(
    TableId("acme-shop", "analytics", "events"), TableKind.TABLE, (Field("id", "INT64"),), "e3"
)


def agent(*groups: str, name: str = "demo", **attributes: str) -> Principal:
    return Principal("https://issuer", f"id-{name}", name, "s", "", groups, attributes, "a-person")


def selects(table: Table, *columns: str, use: Use = Use.OUTPUT) -> QueryFacts:
    """What a SELECT of these columns of one table does."""
    refs = [ColumnRef(table.id, tuple(column.split("."))) for column in columns]
    shown = refs if use is Use.OUTPUT else []
    return QueryFacts(
        "SELECT",
        (Action.READ,),
        reads=(table.id,),
        columns=tuple(ColumnUse(ref, (use,)) for ref in refs),
        output=tuple(OutputColumn(str(ref), SqlType("STRING"), (ref,)) for ref in shown),
    )


CONTEXT = Context("acme-shop", datetime(2026, 11, 22, 12, 0, tzinfo=UTC))


class Shop:
    """The sample tables and short ways to ask about them."""

    customers = CUSTOMERS
    orders = ORDERS
    events = EVENTS
    context = CONTEXT
    agent = staticmethod(agent)
    selects = staticmethod(selects)


@pytest.fixture(scope="session")
def shop() -> type[Shop]:
    return Shop
