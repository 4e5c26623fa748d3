"""Chance, and what a query may name: texts, numbers, keys and rows of what it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from keystile.model.schema import Table
from prove.queries.columns import LITERALS, NUMBER, TEXT, Array, Column, Source, ways
from prove.worlds import Schema

OneT = TypeVar("OneT")

_SIZES = {(0, 1): 84, (2, 5): 12, (6, 16): 4}
"""How many constructs a query may have beside its form, and how many of a hundred have so many.

Most bugs show in few constructs, which cost little to try.
"""
_MASKED = 0.7
"""How often something masked is chosen where there is a choice."""


class Expressions(ABC):
    """Chooses. What a query names of masked columns is noted in `touched`."""

    def __init__(self, random: Random, schema: Schema) -> None:
        """Take the source of chance: the same state of it gives the same queries."""
        self.random = random
        self.schema = schema
        self.touched = False
        self._open_only = False
        self._aside = 0.0
        self.tables = schema.tables
        self._left = 0
        self._names = 0

    @abstractmethod
    def source(self) -> Source:
        """Make something to read from."""

    def start(self, *, open_only: bool, aside: bool = False) -> None:
        """Begin a query, which names nothing masked if `open_only`.

        With `aside` masked columns stand in no value that is shown, but order, group, partition and
        filter what is.
        """
        self.touched, self._open_only, self._names = False, open_only, 0
        self._aside = 0.9 if aside else 0.0
        least, most = self.random.choices([*_SIZES], [*_SIZES.values()])[0]
        self._left = self.random.randint(least, most)
        self.tables = self.schema.tables
        if self.schema.cased and self.chance(0.97):
            self.tables = (self.random.choice(self.schema.tables),)

    def grows(self, probability: float = 0.7) -> bool:
        """Tell whether to put one more construct in; there are fewer left then."""
        if self._left <= 0 or not self.chance(probability):
            return False
        self._left -= 1
        return True

    def chance(self, probability: float) -> bool:
        """Throw a coin."""
        return self.random.random() < probability

    def one(self, *choices: str) -> str:
        """Choose a text."""
        return self.random.choice(choices)

    def name(self) -> str:
        """Give a name that this query does not use yet."""
        self._names += 1
        return f"r{self._names}"

    def column(self, source: Source, wanted: str) -> str:
        """Give a text or a number made of a column, or a literal where there is none."""
        columns = self.allowed(source.columns)
        fitting = [one for one in columns if one.type == wanted]
        if not columns or (not fitting and self.chance(0.2)):
            return LITERALS[wanted]
        if not fitting or self.chance(0.25):
            fitting = columns
        chosen = self.mark(self._preferred(fitting))
        return self.one(*ways(chosen.type, wanted)).format(chosen.sql)

    def table(self) -> Table:
        """Choose a table: for an attack rather one with masked columns."""
        masked = [one for one in self.tables if self.schema.hides(one.id, ())]
        told = {one.id for one in self.tables if self.schema.tells(one.id)}
        if masked and not self._open_only and self.chance(0.9 if self._aside else _MASKED):
            chosen = self.random.choice(masked)
        else:
            chosen = self.random.choice([one for one in self.tables if one.id not in told])
        self.touched = self.touched or chosen.id in told
        return chosen

    def any_column(self, source: Source) -> Column:
        """Give a column to group, order or partition by."""
        masked = self._aside and not self._open_only and self.chance(self._aside)
        columns = source.columns if masked else self.allowed(source.columns)
        fitting = [one for one in columns if one.type in _ORDERED]
        if masked and (hidden := [one for one in fitting if one.masked]):
            fitting = hidden
        return self.mark(self._preferred(fitting)) if fitting else Column("CONCAT(@t, '')", TEXT)

    def aside(self, source: Source, wanted: str) -> str:
        """Give a text or a number that decides on what is shown and is not shown itself."""
        before, self._aside = self._aside, 0.0
        found = self.column(source, wanted)
        self._aside = before
        return found

    def of_type(self, source: Source, type_: str) -> str:
        """Name a column of just this type; empty where there is none."""
        fitting = [one for one in self.allowed(source.columns) if one.type == type_]
        return self.mark(self._preferred(fitting)).sql if fitting else ""

    def raw_column(self, source: Source) -> str:
        """Name a column as it is, of any type."""
        columns = self.allowed(source.columns)
        return self.mark(self._preferred(columns)).sql if columns else LITERALS[NUMBER]

    def row(self, source: Source) -> str:
        """Name a whole row, or make a small one where there is none to name."""
        rows = self.allowed(source.rows)
        if not rows:
            return f"STRUCT({self.column(source, TEXT)} AS a, {self.column(source, NUMBER)} AS b)"
        return self.mark(self.random.choice(rows)).sql

    def array(self, source: Source) -> Array | None:
        """Give an array to unnest."""
        arrays = [
            one
            for one in source.arrays
            if not (self._open_only or self._aside) or not self.schema.hides(one.table.id, one.path)
        ]
        if not arrays:
            return None
        chosen = self.random.choice(arrays)
        self.touched = self.touched or self.schema.hides(chosen.table.id, chosen.path)
        return chosen

    def mark(self, named: OneT) -> OneT:
        """Note that something is named."""
        self.touched = self.touched or bool(getattr(named, "masked", False))
        return named

    def top(self, source: Source) -> list[Column]:
        """Give the columns of `SELECT *` if they may all be named; else nothing."""
        allowed = self.allowed(source.top)
        return allowed if len(allowed) == len(source.top) else []

    def allowed(self, named: Sequence[OneT]) -> list[OneT]:
        """Leave out what this query may not name."""
        only_open = self._open_only or self._aside
        return [one for one in named if not (only_open and getattr(one, "masked", False))]

    def _preferred(self, columns: list[Column]) -> Column:
        """Choose a masked column more often than an open one."""
        masked = [one for one in columns if one.masked]
        return self.random.choice(masked if masked and self.chance(_MASKED) else columns)


_ORDERED = frozenset(
    {
        *("BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "INT64", "INTERVAL", "NUMERIC"),
        *("STRING", "TIME", "TIMESTAMP"),
    }
)
