"""Lay recorded rows out as a typed grid.

Rows are BigQuery's JSON (`TableRow`: `{"f": [{"v": …}]}`); fields are `TableFieldSchema` dicts.
Nothing is computed here but the layout: what is shown is what the agent was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from markupsafe import Markup

from keystile.console.visible import visible

_RIGHT = frozenset({"INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC"})
_STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NULL = Markup('<span class="null">NULL</span>')


class Column(msgspec.Struct, frozen=True):
    """One column of the grid. `masked` names the protected columns behind its values."""

    name: str
    type: str
    css: str
    masked: tuple[str, ...]


class Grid(msgspec.Struct, frozen=True):
    """The columns, and each row as its index in the result and its cells of HTML."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[int, tuple[Markup, ...]], ...]


def grid(schema: Sequence[Mapping[str, Any]], rows: Iterable[tuple[int, Any]]) -> Grid:
    """Lay out `rows`, each with its index in the result.

    A field's `masked` lists the protected columns behind its values; the gateway records it.
    """
    return Grid(
        columns=tuple(_column(field) for field in schema),
        rows=tuple((index, _row(schema, row)) for index, row in rows),
    )


def _column(field: Mapping[str, Any]) -> Column:
    masked = tuple(map(str, field.get("masked", ())))
    right = field.get("type") in _RIGHT and field.get("mode") != "REPEATED"
    return Column(
        name=str(field.get("name", "")),
        type=_type(field),
        css=" ".join(name for name, holds in (("number", right), ("masked", masked)) if holds),
        masked=masked,
    )


def _row(schema: Sequence[Mapping[str, Any]], row: Any) -> tuple[Markup, ...]:
    """Give the cells of one row; one that does not fit its schema is shown as it stands."""
    try:
        cells = [cell["v"] for cell in row["f"]]
        return tuple(_cell(field, value) for field, value in zip(schema, cells, strict=True))
    except (AttributeError, KeyError, TypeError, ValueError):
        return (visible(msgspec.json.encode(row).decode()),)


def _cell(field: Mapping[str, Any], value: Any) -> Markup:
    """Draw one value: a list for what repeats, name and value for a record, text otherwise."""
    if value is None:
        return _NULL
    if field.get("mode") == "REPEATED":
        single = {**field, "mode": "NULLABLE"}
        items = [Markup("<li>{}</li>").format(_cell(single, item["v"])) for item in value]
        return Markup("<ol>{}</ol>").format(Markup("").join(items)) if items else Markup("[]")
    if field.get("fields"):
        pairs = zip(field["fields"], value["f"], strict=True)
        parts = [
            Markup("<dt>{}</dt><dd>{}</dd>").format(visible(inner["name"]), _cell(inner, cell["v"]))
            for inner, cell in pairs
        ]
        return Markup("<dl>{}</dl>").format(Markup("").join(parts))
    text = _timestamp(str(value)) if field.get("type") == "TIMESTAMP" else str(value)
    return visible(text)


def _timestamp(value: str) -> str:
    """Give a TIMESTAMP cell as text: microseconds, or seconds as a decimal, since the epoch.

    The two wire forms are those of `formatOptions.useInt64Timestamp`.
    """
    try:
        if "." in value or "E" in value.upper():
            at = _EPOCH + timedelta(microseconds=round(float(value) * 1_000_000))
        else:
            at = _EPOCH + timedelta(microseconds=int(value))
    except (ValueError, OverflowError):
        return value
    return at.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".") + " UTC"


def _type(field: Mapping[str, Any]) -> str:
    """Give a field's type in GoogleSQL's words."""
    name = str(field.get("type", ""))
    kind = _STANDARD.get(name, name)
    return f"ARRAY<{kind}>" if field.get("mode") == "REPEATED" else kind
