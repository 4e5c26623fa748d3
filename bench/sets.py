"""The queries that the benchmarks run, and the tables beneath them.

Both sets are the project's own: `reports` has the shape of decision-support benchmarks,
`adversarial` is what tries to get round a mask.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from keystile.model.schema import Field, Mode, Table, TableId, TableKind

PROJECT = "bench"
_FOLDER = Path(__file__).parent / "sets"
_NAME = re.compile(r"^-- name: (.+)$", re.MULTILINE)

# name: columns, each `name type`; STRING where no type stands.
_TABLES = {
    "regions": "id INT64, name, remark",
    "countries": "id INT64, name, region_id INT64, remark",
    "suppliers": "id INT64, name, email, street, country_id INT64, phone, balance NUMERIC, remark",
    "goods": (
        "id INT64, name, maker, brand, kind, size INT64, box, list_price NUMERIC, remark, "
        "ean, weight FLOAT64, made DATE"
    ),
    "offers": "good_id INT64, supplier_id INT64, available INT64, cost NUMERIC, remark",
    "buyers": (
        "id INT64, name, email, street, country_id INT64, phone, balance NUMERIC, segment, remark, "
        "born DATE, created TIMESTAMP, consent BOOL"
    ),
    "orders": (
        "id INT64, buyer_id INT64, status, total NUMERIC, rebate NUMERIC, ordered DATE, priority, "
        "clerk, urgent INT64, channel, remark, payload JSON"
    ),
    "order_lines": (
        "order_id INT64, good_id INT64, supplier_id INT64, number INT64, quantity NUMERIC, "
        "price NUMERIC, discount NUMERIC, tax NUMERIC, return_flag, status, shipped DATE, "
        "committed DATE, received DATE, instructions, mode, remark"
    ),
}
_CONTACTS = Field(
    "contacts", "STRUCT", Mode.REPEATED, fields=(Field("kind", "STRING"), Field("value", "STRING"))
)

PROTECTED = (
    ("buyers", "email"),
    ("buyers", "phone"),
    ("suppliers", "email"),
    ("suppliers", "phone"),
    ("order_lines", "instructions"),
    ("buyers", "contacts", "value"),
)
"""Columns that the benchmarks mask: the table's name and the path."""


class NamedQuery(NamedTuple):
    """A query of a set."""

    name: str
    sql: str


def queries(name: str) -> list[NamedQuery]:
    """Read the set of this name."""
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return [
        NamedQuery(title, sql.strip().removesuffix(";"))
        for title, sql in zip(parts[::2], parts[1::2], strict=True)
    ]


def tables() -> dict[TableId, Table]:
    """Give every table of the sets."""
    made = {}
    for name, columns in _TABLES.items():
        fields = tuple(_field(column) for column in columns.split(", "))
        if name == "buyers":
            fields = (*fields, _CONTACTS)
        id_ = TableId(PROJECT, "market", name)
        made[id_] = Table(id_, TableKind.TABLE, fields, etag="1")
    return made


def _field(column: str) -> Field:
    name, _, type_ = column.partition(" ")
    return Field(name, type_ or "STRING")
