"""Schemas with masks, and worlds: contents that differ in nothing but what the masks hide."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from keystile.masking.sql import null
from keystile.model.decision import ColumnMask, RowFilter
from keystile.model.errors import NotFoundError
from keystile.model.masks import Mask
from keystile.model.schema import (
    ColumnRef,
    Field,
    Mode,
    Routine,
    RoutineId,
    Table,
    TableId,
    TableKind,
)
from prove.alike import value
from prove.evaluator import written

Path = tuple[str, ...]
Rows = list[list[str]]


class Filtered(NamedTuple):
    """A row filter that shows those rows of its table in which `column` has the value `shown`."""

    filter: RowFilter
    column: str
    shown: str


class Schema(NamedTuple):
    """Tables and the masks of their columns.

    `cased` tells of tables whose names differ by upper and lower case only: queries must spell them
    in full, since the evaluator's catalog ignores case. `derived` are columns of views that tell of
    masked ones beneath; one without a path is a view whose very rows do, by number or order.
    """

    name: str
    tables: tuple[Table, ...]
    masks: tuple[ColumnMask, ...]
    cased: bool = False
    routines: tuple[Routine, ...] = ()
    derived: tuple[ColumnRef, ...] = ()
    filtered: tuple[Filtered, ...] = ()

    def mask(self, table: TableId, path: Path) -> Mask | None:
        """Give the mask of a column or nested field: its own or that of what it lies in."""
        for one in self.masks:
            if one.column.table == table and one.column.path == path[: len(one.column.path)]:
                return one.mask
        return None

    def hides(self, table: TableId, path: Path) -> bool:
        """Tell whether anything at, above or beneath this place is masked."""
        return any(
            one.table == table and all(a == b for a, b in zip(one.path, path))  # noqa: B905 - the shorter counts
            for one in (*(mask.column for mask in self.masks), *self.derived)
        )

    def tells(self, table: TableId) -> bool:
        """Tell whether a table's rows, by their number or order, depend on what is masked."""
        return ColumnRef(table, ()) in self.derived

    @property
    def base_tables(self) -> tuple[Table, ...]:
        """The tables that hold rows of their own."""
        return tuple(table for table in self.tables if table.kind is TableKind.TABLE)


class SchemaSource:
    """The objects of a schema, as an `ObjectSource`."""

    def __init__(self, tables: tuple[Table, ...], routines: tuple[Routine, ...] = ()) -> None:
        """Give these tables and routines."""
        self._tables = {table.id: table for table in tables}
        self._routines = {routine.id: routine for routine in routines}

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        """Give a table of the schema."""
        if id in self._tables:
            return self._tables[id]
        raise NotFoundError(
            f"Not found: Table {id.project}:{id.dataset}.{id.table} was not found in location US"
        )

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the port's own word
        """Give a routine of the schema."""
        if id in self._routines:
            return self._routines[id]
        raise NotFoundError(f"Not found: Routine {id.project}:{id.dataset}.{id.routine}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        """Give the tables of a wildcard: there are none."""
        raise NotFoundError(f"{id} does not match any table.")


def rows(schema: Schema, table: Table, secret: int, shape: int = 7, count: int = 6) -> Rows:
    """Give a table's rows as SQL literals.

    Rows of the same `shape` differ between secrets in masked values alone: where a value is NULL
    and how many elements an array has is open. Rows that a filter leaves out differ altogether.
    """
    hidden = Random(f"{secret} {table.id}")
    maker = _Maker(schema, table, Random(f"{shape} {table.id}"), hidden)
    made = [maker.row(table, str(number)) for number in range(1, count + 1)]
    for one in schema.filtered:
        if one.filter.table == table.id:
            names = [field.name for field in table.fields]
            place = names.index(one.column)
            made = [[*row[:place], one.shown, *row[place + 1 :]] for row in made]
            other = _Maker(schema, table, hidden, hidden)
            for _ in range(hidden.randrange(count)):
                row = other.row(table, str(hidden.randrange(9)))
                if row[place] != one.shown:
                    made.insert(hidden.randrange(len(made) + 1), row)
    return made


class _Maker:
    """Draws the values of one table."""

    def __init__(self, schema: Schema, table: Table, open_: Random, hidden: Random) -> None:
        self._schema = schema
        self._table = table.id
        self._open = open_
        self._hidden = hidden

    def row(self, table: Table, number: str) -> list[str]:
        """Give the values of a row."""
        fields = (*table.fields, *table.pseudo_columns)
        return [self.value(field, (field.name,), number) for field in fields]

    def value(self, field: Field, path: Path, number: str = "") -> str:
        """Give a column's or field's value; `number` is the row's, for columns that count."""
        if field.mode is Mode.REPEATED:
            items = [self._single(field, path) for _ in range(self._open.randrange(3))]
            return f"CAST([{', '.join(items)}] AS {written(field.sql_type)})" if items else "[]"
        if number and field.name in {"id", "k"} and field.type == "INT64":
            return number
        if self._open.random() < _NULLS:
            return null(field.sql_type)
        return self._single(field, path)

    def _single(self, field: Field, path: Path) -> str:
        if field.fields:
            inner = [self.value(one, (*path, one.name)) for one in field.fields]
            type_ = field.sql_type.element if field.mode is Mode.REPEATED else field.sql_type
            return f"{written(type_ or field.sql_type)}({', '.join(inner)})"
        mask = self._schema.mask(self._table, path)
        open_, hidden = (_LITERALS[field.type](random) for random in (self._open, self._hidden))
        if field.type == "RANGE":
            open_, hidden = (f"RANGE<{field.range_element}> {one}" for one in (open_, hidden))
        alike = value(mask, field.type, self._open, self._hidden)
        if alike is not None:
            return alike
        return hidden if mask else open_


_NULLS = 0.1


def _text(random: Random) -> str:
    word = random.choice(["", "é", "x", "Ada", "b-"])
    return f"'{word}{random.randrange(10 ** random.choice([1, 3, 6]))}'"


def _json(random: Random) -> str:
    items = f'"a": {random.randrange(100)}, "b": ["{random.randrange(1000)}", null]'
    return f"JSON '{{{items}}}'"


def _day(random: Random) -> str:
    return (
        f"20{random.randrange(10, 30)}-{random.randrange(1, 13):02d}-{random.randrange(1, 29):02d}"
    )


def _clock(random: Random) -> str:
    return f"{random.randrange(24):02d}:{random.randrange(60):02d}:{random.randrange(60):02d}"


def _decimal(random: Random) -> str:
    return f"'{random.randrange(-999, 9999)}.{random.randrange(100)}'"


def _range(random: Random) -> str:
    start = random.randrange(10, 20)
    end = random.randrange(20, 30)
    return f"'[20{start}-01-01, 20{end}-01-01)'"


_LITERALS: dict[str, Callable[[Random], str]] = {
    "BIGNUMERIC": lambda random: f"BIGNUMERIC {_decimal(random)}",
    "BOOL": lambda random: random.choice(["TRUE", "FALSE"]),
    "BYTES": lambda random: f"b'{random.randrange(10**4)}'",
    "DATE": lambda random: f"DATE '{_day(random)}'",
    "DATETIME": lambda random: f"DATETIME '{_day(random)} {_clock(random)}'",
    "FLOAT64": lambda random: f"CAST({random.randrange(-400, 4000) / 4} AS FLOAT64)",
    "INT64": lambda random: str(random.randrange(0, 100)),
    "INTERVAL": lambda random: f"INTERVAL {random.randrange(100)} DAY",
    "JSON": _json,
    "NUMERIC": lambda random: f"NUMERIC {_decimal(random)}",
    "RANGE": _range,
    "STRING": _text,
    "TIME": lambda random: f"TIME '{_clock(random)}'",
    "TIMESTAMP": lambda random: f"TIMESTAMP '{_day(random)} {_clock(random)}+00'",
}
