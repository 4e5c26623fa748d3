"""A small shop with protected columns, and worlds of it that differ in nothing else."""

from __future__ import annotations

from random import Random

from keystile.model.decision import ColumnMask
from keystile.model.masks import (
    ConstantMask,
    DefaultMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
)
from keystile.model.schema import (
    ColumnRef,
    Field,
    Mode,
    Table,
    TableId,
    TableKind,
)
from prove.evaluator import Content
from prove.worlds import SchemaSource

PROJECT, DATASET = "acme-shop", "shop"

CUSTOMERS = Table(
    TableId(PROJECT, DATASET, "customers"),
    TableKind.TABLE,
    (
        Field("id", "INT64"),
        Field("name", "STRING"),
        Field("ssn", "STRING"),
        Field("email", "STRING"),
        Field("age", "INT64"),
        Field("secret", "BYTES"),
        Field(
            "address",
            "STRUCT",
            fields=(
                Field("city", "STRING"),
                Field("street", "STRING"),
                Field("geo", "STRUCT", fields=(Field("lat", "FLOAT64"), Field("zone", "STRING"))),
            ),
        ),
        Field(
            "contacts",
            "STRUCT",
            Mode.REPEATED,
            fields=(Field("kind", "STRING"), Field("value", "STRING")),
        ),
        Field("tags", "STRING", Mode.REPEATED),
        Field("nicknames", "STRING", Mode.REPEATED),
    ),
    "1",
)

ORDERS = Table(
    TableId(PROJECT, DATASET, "orders"),
    TableKind.TABLE,
    (
        Field("id", "INT64"),
        Field("customer_id", "INT64"),
        Field("amount", "FLOAT64"),
        Field("day", "DATE"),
        Field("note", "STRING"),
    ),
    "1",
)

TABLES = (CUSTOMERS, ORDERS)

# Masks under which nothing of a value may be told, not even which values are equal or how long they
# are: what two worlds show must then be the same to the byte.
_PATHS: dict[tuple[TableId, tuple[str, ...]], Mask] = {
    (CUSTOMERS.id, ("ssn",)): PatternMask("XXX-XX-XXXX"),
    (CUSTOMERS.id, ("email",)): ConstantMask("hidden"),
    (CUSTOMERS.id, ("age",)): DefaultMask(),
    (CUSTOMERS.id, ("secret",)): NullMask(),
    (CUSTOMERS.id, ("address", "street")): DefaultMask(),
    (CUSTOMERS.id, ("address", "geo")): DefaultMask(),
    (CUSTOMERS.id, ("contacts", "value")): PatternMask("***"),
    (CUSTOMERS.id, ("nicknames",)): ConstantMask("nick"),
    (ORDERS.id, ("note",)): NullMask(),
}

MASKS = tuple(
    ColumnMask(ColumnRef(table, path), "secret", mask) for (table, path), mask in _PATHS.items()
)
"""The fixed masks of the proof."""

HASH = ColumnMask(ColumnRef(CUSTOMERS.id, ("ssn",)), "secret", KeyedHashMask())
"""A mask that keeps equality, for tests of hidden parameters."""


class Shop(SchemaSource):
    """The schemas of the shop, as an `ObjectSource`."""

    def __init__(self) -> None:
        """Give the shop's tables."""
        super().__init__(TABLES)


def world(secret: int, rows: int = 6) -> list[Content]:
    """Give the shop's content. Worlds of different `secret` differ in masked values alone.

    Where a value is NULL and how many elements an array has is open, so it is the same everywhere.
    """
    open_, hidden = Random(7), Random(secret)
    return [
        Content(CUSTOMERS, [_customer(id_, open_, hidden) for id_ in range(1, rows + 1)]),
        Content(ORDERS, [_order(id_, rows, open_, hidden) for id_ in range(1, rows * 2 + 1)]),
    ]


def _customer(id_: int, open_: Random, hidden: Random) -> tuple[object, ...]:
    digits = f"{hidden.randrange(10**9):09d}"
    contacts = [
        (open_.choice(["home", "work"]), _secret(hidden)) for _ in range(open_.randrange(3))
    ]
    address = (
        open_.choice(["Lund", "Oslo", "Ghent"]),
        _secret(hidden),
        (hidden.random() * 90, _secret(hidden)),
    )
    return (
        id_,
        open_.choice(["Ada", "Bo", "Cy"]),
        None if id_ == 3 else f"{digits[:3]}-{digits[3:5]}-{digits[5:]}",  # noqa: PLR2004
        f"{_secret(hidden)}@example.com",
        hidden.randrange(18, 90),
        hidden.randbytes(4),
        None if id_ == 4 else address,  # noqa: PLR2004
        contacts,
        ["a", "b", "c"][: open_.randrange(4)],
        [_secret(hidden) for _ in range(open_.randrange(3))],
    )


def _order(id_: int, customers: int, open_: Random, hidden: Random) -> tuple[object, ...]:
    return (
        id_,
        open_.randrange(1, customers + 1),
        open_.randrange(1, 100) / 4,
        open_.randrange(19000, 19010),
        _secret(hidden),
    )


def _secret(hidden: Random) -> str:
    return hidden.choice(["", "é", "x"]) + f"{hidden.randrange(10**6)}"
