"""Random expressions: texts, numbers and conditions over what a source gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from prove.queries.columns import LITERALS, NUMBER, TEXT, Array, Column, Source, ways
from prove.worlds import Schema

OneT = TypeVar("OneT")
DEEPEST = 3


class Expressions(ABC):
    """Makes expressions. What a query names of masked columns is noted in `touched`."""

    def __init__(self, random: Random, schema: Schema) -> None:
        """Take the source of chance: the same state of it gives the same queries."""
        self.random = random
        self.schema = schema
        self.touched = False
        self._open_only = False
        self._aside = 0.0
        self.tables = schema.tables
        self.plainness = 0.5
        self._names = 0

    @abstractmethod
    def source(self, depth: int) -> Source:
        """Make something to read from."""

    def start(self, *, open_only: bool, aside: bool = False) -> None:
        """Begin a query, which names nothing masked if `open_only`.

        With `aside` masked columns stand in no value that is shown, but order, group, partition and
        filter what is.
        """
        self.touched, self._open_only, self._names = False, open_only, 0
        self._aside = 0.4 if aside else 0.0
        # Small queries are many times cheaper to try; large ones combine more.
        self.plainness = 0.8 if self.chance(0.7) else 0.4
        self.tables = self.schema.tables
        if self.schema.cased and self.chance(0.9):
            self.tables = (self.random.choice(self.schema.tables),)

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
        columns = self._allowed(source.columns)
        fitting = [one for one in columns if one.type == wanted]
        if not columns or (not fitting and self.chance(0.2)):
            return LITERALS[wanted]
        if not fitting or self.chance(0.25):
            fitting = columns
        chosen = self.mark(self._preferred(fitting))
        return self.one(*ways(chosen.type, wanted)).format(chosen.sql)

    def any_column(self, source: Source) -> Column:
        """Give a column to group, order or partition by."""
        masked = self._aside and not self._open_only and self.chance(self._aside)
        columns = source.columns if masked else self._allowed(source.columns)
        fitting = [one for one in columns if one.type in _ORDERED]
        if masked and (hidden := [one for one in fitting if one.masked]):
            fitting = hidden
        return self.mark(self._preferred(fitting)) if fitting else Column("1", NUMBER)

    def aside(self, source: Source, wanted: str) -> str:
        """Give a text or a number that decides on what is shown and is not shown itself."""
        if not self._aside:
            return self.column(source, wanted)
        before, self._aside = self._aside, 0.0
        found = self.column(source, wanted)
        self._aside = before
        return found

    def raw_column(self, source: Source) -> Column | None:
        """Give a column as it is, of any type."""
        columns = self._allowed(source.columns)
        return self.mark(self._preferred(columns)) if columns else None

    def row(self, source: Source) -> str:
        """Give the name of a whole row; empty where there is none to name."""
        rows = self._allowed(source.rows)
        return self.mark(self.random.choice(rows)).sql if rows else ""

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

    def _preferred(self, columns: list[Column]) -> Column:
        """Choose a masked column more often than an open one."""
        masked = [one for one in columns if one.masked]
        return self.random.choice(masked if masked and self.chance(0.4) else columns)

    def _allowed(self, named: Sequence[OneT]) -> list[OneT]:
        only_open = self._open_only or self._aside
        return [one for one in named if not (only_open and getattr(one, "masked", False))]

    def top(self, source: Source) -> list[Column]:
        """Give the columns of `SELECT *` if they may all be named; else nothing."""
        allowed = self._allowed(source.top)
        return allowed if len(allowed) == len(source.top) else []

    def value(self, source: Source, kind: str, depth: int) -> str:
        """Give an expression that is a text or a number."""
        if depth >= DEEPEST or self.chance(self.plainness):
            return self.column(source, kind)
        if self.chance(0.04):
            return self._failing(source, kind, depth)
        return self._text(source, depth) if kind == TEXT else self._number(source, depth)

    def _text(self, source: Source, depth: int) -> str:
        v = self.value(source, TEXT, depth + 1)
        o = self.value(source, TEXT, DEEPEST)
        if self.chance(0.3):
            return self._mixed_text(source, v, o, depth)
        return self.one(
            f"UPPER({v})",
            f"LOWER({v})",
            f"SUBSTR({v}, {self.random.randint(1, 4)}, 2)",
            f"CONCAT({v}, {o})",
            f"{v} || {o}",
            f"REVERSE({v})",
            f"LEFT({v}, 2)",
            f"LPAD({v}, 5, '*')",
            f"TO_HEX(SHA256({v}))",
            f"TO_BASE64(MD5({v}))",
            f"COALESCE({v}, {o})",
            f"NULLIF({v}, {o})",
            f"GREATEST({v}, {o})",
            f"REGEXP_REPLACE({v}, r'[0-4]', 'x')",
            f"REGEXP_EXTRACT({v}, r'[0-9]+')",
            f"TRANSLATE({v}, '0123', 'abcd')",
            f"SPLIT({v}, '-')[SAFE_OFFSET(0)]",
            f"TO_JSON_STRING([{v}, {o}])",
            f"FORMAT('%T', STRUCT({v}, {o}))",
            f"STRUCT({v} AS a, {o} AS b).a",
            f"(SELECT AS STRUCT {v} AS a, {o} AS b).b",
            f"JSON_VALUE(TO_JSON(STRUCT({v} AS a)), '$.a')",
            f"JSON_VALUE(JSON_OBJECT('k', {v}).k)",
            f"WITH(w AS {v}, CONCAT(w, 'x', w))",
            f"ARRAY_TO_STRING(ARRAY_TRANSFORM([{v}, {o}], e -> CONCAT(e, '!')), ',')",
            f"ARRAY_TO_STRING(ARRAY_FILTER([{v}, {o}], e -> e > '3'), ',')",
            f"CODE_POINTS_TO_STRING(ARRAY_REVERSE(TO_CODE_POINTS({v})))",
            f"CASE {v} WHEN {o} THEN 'same' ELSE 'other' END",
            f"(SELECT STRING_AGG(e, '' ORDER BY e) FROM UNNEST(SPLIT({v}, '')) AS e)",
        )

    def _mixed_text(self, source: Source, v: str, o: str, depth: int) -> str:
        condition = self.condition(source, depth + 1)
        choices = [
            f"IF({condition}, {v}, 'no')",
            f"CASE WHEN {condition} THEN {o} ELSE {v} END",
            f"CAST({self.value(source, NUMBER, depth + 1)} AS STRING)",
            f"IFNULL(IF({condition}, {v}, NULL), {o})",
            self.scalar_subquery(TEXT, depth),
        ]
        if row := self.row(source):
            choices += [
                f"TO_JSON_STRING({row})",
                f"FORMAT('%T', {row})",
                f"TO_JSON_STRING(STRUCT({row} AS z))",
            ]
        if (array := self.array(source)) and array.field.type == TEXT:
            choices.append(f"(SELECT STRING_AGG(e, '-' ORDER BY e) FROM UNNEST({array.sql}) AS e)")
            choices.append(f"ARRAY_TO_STRING({array.sql}, '+', '?')")
        return self.one(*choices)

    def _number(self, source: Source, depth: int) -> str:
        n = self.value(source, NUMBER, depth + 1)
        t = self.value(source, TEXT, depth + 1)
        return self.one(
            f"LENGTH({t})",
            f"BYTE_LENGTH({t})",
            f"STRPOS({t}, '1')",
            f"ASCII({t})",
            f"EDIT_DISTANCE({t}, 'Ada12')",
            f"SAFE_CAST({t} AS INT64)",
            f"SAFE_CAST(REGEXP_EXTRACT({t}, r'[0-9]') AS INT64)",
            f"FARM_FINGERPRINT({t})",
            f"ARRAY_LENGTH(SPLIT({t}, '1'))",
            f"MOD({n}, 7)",
            f"DIV({n}, 2)",
            f"SAFE_ADD({n}, 1)",
            f"SAFE_MULTIPLY({n}, {self.column(source, NUMBER)})",
            f"SIGN({n})",
            f"BIT_COUNT({n})",
            f"CAST({t} IS NULL AS INT64)",
            f"COALESCE({n}, 0)",
            f"LEAST({n}, 50)",
            f"IF({self.condition(source, depth + 1)}, 1, 0)",
            f"[1, {n}, 3][SAFE_OFFSET(MOD(LENGTH({t}), 3))]",
            f"(SELECT COUNT(*) FROM UNNEST([{n}, 5]) AS e WHERE e > 4)",
            self.scalar_subquery(NUMBER, depth),
        )

    def _failing(self, source: Source, kind: str, depth: int) -> str:
        """Give an expression whose evaluation may fail, with a value in the error's text."""
        v = self.value(source, TEXT, depth + 1)
        c = self.condition(source, depth + 1)
        failing = self.one(
            f"IF({c}, ERROR({v}), 'fine')",
            f"CAST(CAST(CONCAT('x', {v}) AS INT64) AS STRING)",
            f"CAST(1 / IF({c}, 0, 1) AS STRING)",
            f"CAST(PARSE_DATE('%Y', {v}) AS STRING)",
            f"CAST(CAST({v} AS FLOAT64) AS STRING)",
            f"REPEAT({v}, {self.column(source, NUMBER)} - 50)",
            f"[{v}][OFFSET(IF({c}, 1, 0))]",
            f"TO_JSON_STRING(PARSE_JSON({v}))",
            f"CAST((SELECT e FROM UNNEST([1, LENGTH({v})]) AS e WHERE {c}) AS STRING)",
        )
        return failing if kind == TEXT else f"LENGTH({failing})"

    def scalar_subquery(self, kind: str, depth: int) -> str:
        """Give a subquery of one value, which may look at nothing around it."""
        if depth > 1:
            return LITERALS[kind]
        inner = self.source(depth + 2)
        value = self.value(inner, kind, depth + 2)
        last = f"(SELECT {value} FROM {inner.sql} ORDER BY {self.any_column(inner).sql}, 1 LIMIT 1)"
        return self.one(f"(SELECT MAX({value}) FROM {inner.sql})", last)

    def condition(self, source: Source, depth: int) -> str:
        """Give an expression that is true or false."""
        before = self._aside
        if self.chance(0.3):  # a filter may be what decides, or something else alone
            self._aside = 0.0
        found = self._condition(source, depth)
        self._aside = before
        return found

    def _condition(self, source: Source, depth: int) -> str:
        if depth < 2 and self.chance(0.3 * (1 - self.plainness)):
            found = self._about_others(source, depth)
        else:
            found = self._about_row(source, depth)
        if depth < DEEPEST and self.chance(0.15):
            found = f"{found} {self.one('AND', 'OR')} {self._about_row(source, DEEPEST)}"
        return f"NOT ({found})" if self.chance(0.15) else f"({found})"

    def _about_row(self, source: Source, depth: int) -> str:
        t, n = self.value(source, TEXT, depth + 1), self.value(source, NUMBER, depth + 1)
        o = self.column(source, TEXT)
        return self.one(
            f"{t} LIKE '%{self.random.randint(0, 9)}%'",
            f"{t} LIKE ANY ('%1%', 'A%')",
            f"{t} > @t",
            f"{n} > @n",
            f"{n} BETWEEN 30 AND 60",
            f"{n} IN (1, 2, 3, {self.random.randint(4, 90)})",
            f"{t} IN UNNEST(['', {o}])",
            f"{t} IS NULL",
            f"{t} IS DISTINCT FROM {o}",
            f"{t} < {o}",
            f"STRUCT({t}, {n}) = STRUCT({o}, 1)",
            f"STARTS_WITH({t}, '4')",
            f"REGEXP_CONTAINS({t}, r'^[0-5]')",
            f"EXISTS(SELECT 1 FROM UNNEST(SPLIT({t}, '')) AS e WHERE e = '4')",
        )

    def _about_others(self, source: Source, depth: int) -> str:
        inner = self.source(depth + 2)
        t, n = self.column(source, TEXT), self.column(source, NUMBER)
        correlated = f"{self.column(inner, NUMBER)} = {n}"
        wanted = self._about_row(inner, DEEPEST)
        return self.one(
            f"EXISTS (SELECT 1 FROM {inner.sql} WHERE {correlated} AND {wanted})",
            f"{n} IN (SELECT {self.column(inner, NUMBER)} FROM {inner.sql} WHERE {wanted})",
            f"{t} NOT IN (SELECT {self.value(inner, TEXT, DEEPEST)} FROM {inner.sql})",
            f"{n} > (SELECT AVG({self.column(inner, NUMBER)}) FROM {inner.sql})",
            f"(SELECT COUNT(*) FROM {inner.sql} WHERE {correlated}) > 1",
        )


_ORDERED = frozenset(
    {
        *("BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "INT64", "INTERVAL", "NUMERIC"),
        *("STRING", "TIME", "TIMESTAMP"),
    }
)
