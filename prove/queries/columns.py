"""What a generated FROM clause gives: columns, arrays and whole rows, and what is masked of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from keystile.analysis.text import quoted
from keystile.model.schema import Field, Mode, Table
from prove.worlds import Path, Schema

TEXT, NUMBER = "STRING", "INT64"
LITERALS = {TEXT: "'1'", NUMBER: "1"}


class Column(NamedTuple):
    """An expression that names a column or a field of one, its type, and whether it is masked."""

    sql: str
    type: str
    masked: bool = False


class Row(NamedTuple):
    """The name of a whole row, and whether anything in it is masked."""

    sql: str
    masked: bool = False


class Source(NamedTuple):
    """What stands after FROM and what it gives.

    `arrays` are repeated columns. `top` are the columns of `SELECT *` by their bare names; none
    where two may share a name.
    """

    sql: str
    columns: list[Column]
    rows: list[Row]
    arrays: list[Array]
    top: list[Column]


class Array(NamedTuple):
    """An expression that names a repeated column, and the field that its elements are."""

    sql: str
    path: Path
    table: Table
    field: Field


def of_table(schema: Schema, table: Table, name: str, spelled: str) -> Source:
    """Give a table under the alias `name`."""
    columns = [one for field in table.fields for one in _beneath(schema, table, field, name, ())]
    arrays = [one for field in table.fields for one in _arrays(table, field, name, ())]
    top = [
        Column(_spelled(field.name), str(field.sql_type), schema.hides(table.id, (field.name,)))
        for field in table.fields
    ]
    columns += [Column(f"{name}.{one.name}", one.type) for one in table.pseudo_columns]
    masked = any(column.masked for column in top)
    return Source(f"{spelled} AS {name}", columns, [Row(name, masked)], arrays, top)


def of_array(schema: Schema, array: Array, item: str, place: str) -> Source:
    """Give the elements of an array, as a source beside the one that holds it."""
    single = Field(array.field.name, array.field.type, fields=array.field.fields)
    columns = list(_within(schema, array.table, single, item, array.path))
    arrays = list(_arrays_within(array.table, single, item, array.path))
    masked = schema.hides(array.table.id, array.path)
    rows = [Row(item, masked)] if single.fields else []
    sql = f"UNNEST({array.sql}) AS {item} WITH OFFSET AS {place}"
    return Source(sql, [*columns, Column(place, NUMBER)], rows, arrays, [])


def of_query(sql: str, name: str, columns: list[Column]) -> Source:
    """Give a query or common table expression whose columns are known.

    What was masked was named within, so nothing more is.
    """
    given = [Column(f"{name}.{one.sql}", one.type) for one in columns]
    return Source(sql, given, [Row(name)], [], columns)


def both(left: Source, right: Source, sql: str) -> Source:
    """Give what two sources give together, under the text `sql`."""
    names = [one.sql.lower() for one in (*left.top, *right.top)]
    top = [*left.top, *right.top] if len({*names}) == len(names) else []
    if not left.top or not right.top:
        top = []
    return Source(
        sql,
        left.columns + right.columns,
        left.rows + right.rows,
        left.arrays + right.arrays,
        top,
    )


def _beneath(
    schema: Schema, table: Table, field: Field, holder: str, path: Path
) -> Iterator[Column]:
    sql = f"{holder}.{_spelled(field.name)}"
    path = (*path, field.name)
    if field.mode is not Mode.REPEATED:
        yield from _within(schema, table, field, sql, path)
        return
    masked = schema.hides(table.id, path)
    yield Column(sql, str(field.sql_type), masked)
    single = Field(field.name, field.type, fields=field.fields)
    for index in ("SAFE_OFFSET(0)", "SAFE_ORDINAL(2)"):
        yield from _within(schema, table, single, f"{sql}[{index}]", path)


def _within(schema: Schema, table: Table, field: Field, sql: str, path: Path) -> Iterator[Column]:
    yield Column(sql, str(field.sql_type), schema.hides(table.id, path))
    for inner in field.fields:
        yield from _beneath(schema, table, inner, sql, path)


def _arrays(table: Table, field: Field, holder: str, path: Path) -> Iterator[Array]:
    sql = f"{holder}.{_spelled(field.name)}"
    path = (*path, field.name)
    if field.mode is Mode.REPEATED:
        yield Array(sql, path, table, field)
    else:
        yield from _arrays_within(table, field, sql, path)


def _arrays_within(table: Table, field: Field, sql: str, path: Path) -> Iterator[Array]:
    for inner in field.fields:
        yield from _arrays(table, inner, sql, path)


def _spelled(name: str) -> str:
    return quoted(name) if name.upper() in _RESERVED else name


_RESERVED = frozenset({"HASH", "ROWS", "RANGE", "ALL"})

_TO_TEXT = ("CAST({} AS STRING)", "FORMAT('%T', {})", "TO_JSON_STRING({})")
_TO_NUMBER = ("FARM_FINGERPRINT(FORMAT('%T', {}))", "LENGTH(TO_JSON_STRING({}))")

_WAYS: dict[tuple[str, str], tuple[str, ...]] = {
    ("STRUCT", TEXT): _TO_TEXT[1:],
    ("ARRAY", TEXT): _TO_TEXT[1:],
    ("ARRAY", NUMBER): ("ARRAY_LENGTH({})",),
    ("BYTES", TEXT): ("TO_HEX({})", "TO_BASE64({})", *_TO_TEXT[1:]),
    ("BYTES", NUMBER): ("LENGTH({})", "FARM_FINGERPRINT({})"),
    ("JSON", TEXT): ("JSON_VALUE({}, '$.a')", "TO_JSON_STRING({})", "JSON_VALUE({}.b[0])"),
    ("JSON", NUMBER): ("LAX_INT64({}.a)", "LENGTH(TO_JSON_STRING({}))"),
    ("DATE", NUMBER): (
        "UNIX_DATE({})",
        "EXTRACT(DAY FROM {})",
        "DATE_DIFF({0}, DATE '2020-01-01', MONTH)",
    ),
    ("DATETIME", NUMBER): (
        "EXTRACT(YEAR FROM {})",
        "DATETIME_DIFF({0}, DATETIME '2020-01-01', DAY)",
    ),
    ("TIME", NUMBER): ("EXTRACT(MINUTE FROM {})",),
    ("TIMESTAMP", NUMBER): ("UNIX_SECONDS({})", "EXTRACT(HOUR FROM {} AT TIME ZONE 'Asia/Tokyo')"),
    ("TIMESTAMP", TEXT): ("FORMAT_TIMESTAMP('%F %T', {})", *_TO_TEXT),
    ("DATE", TEXT): ("FORMAT_DATE('%A', {})", *_TO_TEXT),
    ("FLOAT64", NUMBER): ("CAST({} AS INT64)", "CAST(FLOOR({} * 2) AS INT64)"),
    ("NUMERIC", NUMBER): ("CAST({} AS INT64)", "CAST(SIGN({}) AS INT64)"),
    ("BIGNUMERIC", NUMBER): ("CAST({} AS INT64)", "CAST(TRUNC({}) AS INT64)"),
    ("BOOL", NUMBER): ("IF({}, 1, 0)", "CAST({} AS INT64)"),
    ("INTERVAL", NUMBER): ("EXTRACT(DAY FROM {})",),
    ("RANGE", TEXT): ("CAST(RANGE_START({}) AS STRING)", "CAST(RANGE_END({}) AS STRING)"),
    ("RANGE", NUMBER): ("UNIX_DATE(RANGE_END({}))",),
}


def ways(column_type: str, wanted: str) -> tuple[str, ...]:
    """Give templates that turn a value of a type into text or a number."""
    if column_type == wanted:
        return ("{}",)
    kind = column_type.split("<", 1)[0]
    return _WAYS.get((kind, wanted)) or (_TO_TEXT if wanted == TEXT else _TO_NUMBER)


MADE = {
    "STRING": ("{t}",),
    "INT64": ("{n}",),
    "BOOL": ("({t} > '3')", "({n} > 40)"),
    "BYTES": ("CAST({t} AS BYTES)", "SHA256({t})"),
    "DATE": ("DATE_FROM_UNIX_DATE({n})", "DATE_ADD(DATE '2020-01-01', INTERVAL LENGTH({t}) DAY)"),
    "DATETIME": ("DATETIME_ADD(DATETIME '2020-01-01 00:00:00', INTERVAL {n} HOUR)",),
    "FLOAT64": ("CAST({n} AS FLOAT64)", "({n} / 3)"),
    "INTERVAL": ("MAKE_INTERVAL(0, 0, {n})", "INTERVAL {n} HOUR"),
    "JSON": ("TO_JSON({t})", "JSON_OBJECT('a', {t}, 'b', [{n}])", "TO_JSON({row})"),
    "NUMERIC": ("CAST({n} AS NUMERIC)",),
    "BIGNUMERIC": ("CAST({n} AS BIGNUMERIC)",),
    "RANGE<DATE>": ("RANGE(DATE_FROM_UNIX_DATE({n}), NULL)",),
    "TIME": ("TIME_ADD(TIME '00:00:00', INTERVAL {n} MINUTE)",),
    "TIMESTAMP": ("TIMESTAMP_SECONDS({n})",),
}
"""Templates (see `filling`) that make a value of each type from texts and numbers."""
