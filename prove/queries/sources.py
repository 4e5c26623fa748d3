"""Random FROM clauses: tables under every spelling, joins, arrays, subqueries, pivots."""

from __future__ import annotations

from abc import abstractmethod
from random import Random

from keystile.analysis.text import quoted
from keystile.model.schema import Table
from prove.queries.columns import (
    NUMBER,
    TEXT,
    Column,
    Source,
    of_array,
    of_query,
    of_table,
)
from prove.queries.expressions import Expressions
from prove.worlds import Schema

Kinds = list[str]


class Sources(Expressions):
    """Makes what stands after FROM."""

    def __init__(self, random: Random, schema: Schema) -> None:
        """Read from the tables of `schema`."""
        super().__init__(random, schema)
        self.named: list[tuple[str, list[Column]]] = []
        """Common table expressions in scope, the latest last."""

    @abstractmethod
    def select(self, kinds: Kinds, depth: int) -> str:
        """Make a query with columns `c0`, `c1` … of these kinds."""

    def start(self, *, open_only: bool, aside: bool = False) -> None:
        """Begin a query without common table expressions."""
        super().start(open_only=open_only, aside=aside)
        self.named = []

    def kinds(self) -> Kinds:
        """Give the kinds of a result's columns."""
        return [self.one(TEXT, NUMBER) for _ in range(self.random.randint(1, 3))]

    def source(self, depth: int) -> Source:
        """Make something to read from; at the greatest depth it is a table."""
        pick = self.random.random()
        if depth < 3 and pick < 0.3 * (1 - self.plainness):
            return self._join(depth)
        if depth < 3 and pick < 0.5 * (1 - self.plainness):
            return self._derived(depth)
        if depth < 2 and pick < 0.6 * (1 - self.plainness):
            return self._pivoted(depth)
        if self.named and pick < 0.65:
            name, columns = self.random.choice(self.named)
            alias = self.name()
            return of_query(f"{self._recased(name)} AS {alias}", alias, columns)
        base = self.base()
        return self._with_array(base) if self.chance(0.2) else base

    def base(self) -> Source:
        """Give a table."""
        table = self.random.choice(self.tables)
        return of_table(self.schema, table, self.name(), self.spelled(table))

    def spelled(self, table: Table) -> str:
        """Spell a table's name in one of the ways that BigQuery knows."""
        id_ = table.id
        in_full = quoted(str(id_))
        if self.schema.cased:
            return in_full
        parts = ".".join(quoted(part) for part in (id_.project, id_.dataset, id_.table))
        shadowed = {name.lower() for name, _ in self.named}
        if id_.table.lower() in shadowed or self.chance(0.3):
            return self.one(in_full, parts)
        return self.one(id_.table, quoted(id_.table))

    def _recased(self, name: str) -> str:
        """Spell a common table expression's name, which ignores case."""
        return name.upper() if self.chance(0.15) else name

    def _with_array(self, source: Source) -> Source:
        array = self.array(source)
        if array is None:
            return source
        item = of_array(self.schema, array, self.name(), self.name())
        if self.chance(0.2) and (inner := self.array(item)):
            deeper = of_array(self.schema, inner, self.name(), self.name())
            joined = item.sql + self.one(" CROSS JOIN ", ", ") + deeper.sql
            item = _both(item, deeper, joined)
        return _both(source, item, source.sql + self.one(" CROSS JOIN ", ", ") + item.sql)

    def _join(self, depth: int) -> Source:
        left, right = self.source(depth + 2), self.source(depth + 2)
        if self.chance(0.2) and (using := self._using()):
            return using
        left, right = (one._replace(sql=_without_commas(one.sql)) for one in (left, right))
        kind = self.one("JOIN", "INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN")
        inner = right.sql
        if " JOIN " in inner:
            inner = f"({inner})"
        if kind == "CROSS JOIN":
            return _both(left, right, f"{left.sql} {kind} {inner}")
        wanted = self.one(NUMBER, NUMBER, TEXT)
        equal = f"{self.column(left, wanted)} = {self.column(right, wanted)}"
        if self.chance(0.1):
            equal = f"{self.column(left, NUMBER)} < {self.column(right, NUMBER)}"
            kind = "JOIN"
        return _both(left, right, f"{left.sql} {kind} {inner} ON {equal}")

    def _using(self) -> Source | None:
        """Join two tables by a column of one name, which may be a masked one.

        It stands in a subquery, where its bare name is that of both.
        """
        left, right = self.base(), self.base()
        shared = [
            one
            for one in self._allowed(left.top)
            for other in self._allowed(right.top)
            if (one.sql, one.type) == (other.sql, other.type) and one.type in {TEXT, NUMBER}
        ]
        if not shared:
            return None
        column = self.random.choice(shared)
        self.mark(column)
        for other in right.top:
            if other.sql == column.sql:
                self.mark(other)
        kind, name = self.one("JOIN", "LEFT JOIN", "FULL JOIN"), self.name()
        joined = f"{left.sql} {kind} {right.sql} USING ({column.sql})"
        other = self.column(_both(left, right, ""), TEXT)
        columns = [Column("u", column.type), Column("o", TEXT)]
        return of_query(
            f"(SELECT {column.sql} AS u, {other} AS o FROM {joined}) AS {name}", name, columns
        )

    def _derived(self, depth: int) -> Source:
        kinds, name = self.kinds(), self.name()
        columns = [Column(f"c{index}", kind) for index, kind in enumerate(kinds)]
        return of_query(f"({self.select(kinds, depth + 1)}) AS {name}", name, columns)

    def _pivoted(self, depth: int) -> Source:
        inner = self.source(depth + 2)
        key, text = self.column(inner, NUMBER), self.value(inner, TEXT, depth + 1)
        number, name = self.column(inner, NUMBER), self.name()
        if self.chance(0.5):
            rows = f"(SELECT {text} AS a, {number} AS b, {key} AS d FROM {inner.sql})"
            values = self.one("'', 'Ada1', '5'", "'XXX', '1'", "'b-1', '2'")
            listed = ", ".join(
                f"{value} AS p{index}" for index, value in enumerate(values.split(", "))
            )
            pivot = f"PIVOT({self.one('COUNT(*)', 'MAX(b)', 'SUM(b)')} FOR a IN ({listed}))"
            columns = [Column("d", NUMBER), Column("p0", NUMBER), Column("p1", NUMBER)]
            return of_query(f"{rows} {pivot} AS {name}", name, columns)
        other = f"CONCAT({self.column(inner, TEXT)}, '')"
        rows = f"(SELECT {text} AS a, {other} AS b, {key} AS d FROM {inner.sql})"
        nulls = self.one("", " INCLUDE NULLS", " EXCLUDE NULLS")
        columns = [Column("d", NUMBER), Column("v", TEXT), Column("k", TEXT)]
        return of_query(f"{rows} UNPIVOT{nulls}(v FOR k IN (a, b)) AS {name}", name, columns)


def _without_commas(sql: str) -> str:
    """Spell comma joins out, which may not stand in every join."""
    return sql.replace(", UNNEST(", " CROSS JOIN UNNEST(")


def _both(left: Source, right: Source, sql: str) -> Source:
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
