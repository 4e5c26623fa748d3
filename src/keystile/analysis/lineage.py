"""What a value derives from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from keystile.model.schema import ColumnRef, Field, Table


class Place(NamedTuple):
    """Values of exactly one base column or nested field, or elements of one that is repeated."""

    ref: ColumnRef
    fields: tuple[Field, ...]
    """What lies beneath it; empty for a leaf."""

    @property
    def leaves(self) -> frozenset[ColumnRef]:
        """Every leaf beneath it, or itself."""
        return frozenset(leaves(self.ref, self.fields))

    def field(self, name: str) -> Place | None:
        """Give the nested field of this name, however it is cased."""
        for field in self.fields:
            if field.name.lower() == name.lower():
                path = (*self.ref.path, field.name)
                return Place(ColumnRef(self.ref.table, path), field.fields)
        return None


class Value(NamedTuple):
    """An expression's value.

    `sources` are all the leaves that it derives from. `place` is set while it still is a base
    column or field; `fields` while it is a STRUCT (or an array of them) made of known values. So
    `x.city` of an untouched `x` derives from one leaf and not from all of `x`. INVARIANT: both only
    ever narrow; a value that went through anything else has `sources` alone.
    """

    sources: frozenset[ColumnRef] = frozenset()
    place: Place | None = None
    fields: tuple[Value, ...] | None = None

    def field(self, index: int, name: str) -> Value:
        """Give a STRUCT's field by its position, and by its name where it is a base column."""
        if self.fields is not None and index < len(self.fields):
            return self.fields[index]
        inner = self.place.field(name) if self.place else None
        return of_place(inner) if inner else Value(self.sources)

    def with_sources(self, more: frozenset[ColumnRef]) -> Value:
        """Give this value, deriving from `more` as well."""
        return Value(self.sources | more) if more - self.sources else self


NOTHING = Value()
"""A value that derives from no column, such as a literal."""


def of_place(place: Place) -> Value:
    """Give the value that is exactly this column or field."""
    return Value(place.leaves, place)


def by_name(fields: Sequence[Field]) -> dict[str, Field]:
    """Give fields by their names in lower case; of several that differ by case alone the first."""
    return {field.name.lower(): field for field in reversed(fields)}


def of_columns(table: Table) -> Callable[[str], Value | None]:
    """Find the values of a table's columns; None where the schema has no such column."""
    fields = by_name(table.fields)

    def of_column(name: str) -> Value | None:
        """Give the value of one, however its name is cased."""
        field = fields.get(name.lower())
        return of_place(Place(ColumnRef(table.id, (field.name,)), field.fields)) if field else None

    return of_column


def merged(values: Iterable[Value]) -> Value:
    """Give a value that is one of several: a row of a set operation, a branch of a CASE."""
    several = list(values)
    if not several:
        return NOTHING
    first = several[0]
    if all(value == first for value in several):
        return first
    sources = union(several)
    shapes = [value.fields for value in several]
    width = len(first.fields or ())
    if all(shape is not None and len(shape) == width for shape in shapes):
        columns = zip(*(shape for shape in shapes if shape is not None), strict=True)
        return Value(sources, fields=tuple(merged(column) for column in columns))
    return Value(sources)


def union(values: Iterable[Value]) -> frozenset[ColumnRef]:
    """Give all that several values derive from."""
    return frozenset[ColumnRef]().union(*(value.sources for value in values))


def leaves(ref: ColumnRef, fields: tuple[Field, ...]) -> Iterable[ColumnRef]:
    """Give each leaf at or beneath a column."""
    if not fields:
        yield ref
    for field in fields:
        yield from leaves(ColumnRef(ref.table, (*ref.path, field.name)), field.fields)
