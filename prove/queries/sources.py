"""Random FROM clauses: tables under every spelling, joins, arrays, subqueries, pivots, matches."""

from __future__ import annotations

import re
from random import Random

from keystile.analysis.text import quoted
from keystile.model.schema import Table, TableKind
from prove.queries import clauses
from prove.queries.columns import (
    NUMBER,
    TEXT,
    Array,
    Column,
    Source,
    both,
    of_array,
    of_query,
    of_table,
)
from prove.queries.filling import Filling, Kinds, named
from prove.worlds import Schema


class Sources(Filling):
    """Makes what stands after FROM."""

    def __init__(self, random: Random, schema: Schema) -> None:
        """Read from the tables of `schema`."""
        super().__init__(random, schema)
        self.named: list[tuple[str, list[Column]]] = []
        """Common table expressions in scope, the latest last."""

    def start(self, *, open_only: bool, aside: bool = False) -> None:
        """Begin a query without common table expressions."""
        super().start(open_only=open_only, aside=aside)
        self.named = []

    def kinds(self) -> Kinds:
        """Give the kinds of a result's columns."""
        most = 1 if self._left <= 1 else 3
        return [self.one(TEXT, NUMBER) for _ in range(self.random.randint(1, most))]

    def source(self) -> Source:
        """Make something to read from."""
        if self.named and self.chance(0.6):
            return self._reference()
        if not self.grows(0.35):
            return self.base()
        makers = [self.joined, self._derived, self.shaped, self._with_array]
        return self.random.choices(makers, [4, 3, 3, 3])[0]()

    def base(self) -> Source:
        """Give a table."""
        table = self.table()
        return of_table(self.schema, table, self.name(), self.spelled(table))

    def spelled(self, table: Table) -> str:
        """Spell a table's name in one of the ways that BigQuery knows."""
        id_ = table.id
        in_full = quoted(str(id_))
        if self.schema.cased:
            return in_full
        parts = ".".join(quoted(part) for part in (id_.project, id_.dataset, id_.table))
        shadowed = {name.lower() for name, _ in self.named}
        if table.kind is TableKind.VIEW or id_.table.lower() in shadowed or self.chance(0.3):
            return self.one(in_full, parts)
        return self.one(id_.table, quoted(id_.table))

    def _reference(self) -> Source:
        """Name a common table expression, whose name ignores case."""
        name, columns = self.random.choice(self.named)
        alias = self.name()
        return of_query(f"{name.upper() if self.chance(0.15) else name} AS {alias}", alias, columns)

    def _with_array(self) -> Source:
        source = self.base()
        array = self.array(source)
        if array is None:
            return self._with_made_array(source)
        item, place = self._item(array), self.chance(0.2)
        beside = self.one(" CROSS JOIN ", ", ", " LEFT JOIN ")
        if place and (inner := self.array(item)):
            deeper = self._item(inner)
            item = both(item, deeper, item.sql + self.one(" CROSS JOIN ", ", ") + deeper.sql)
            beside = ", "
        joined = both(source, item, "")
        on = f" ON {self.condition(joined)}" if "LEFT" in beside else ""
        return joined._replace(sql=f"{source.sql}{beside}{item.sql}{on}", top=[])

    def _item(self, array: Array) -> Source:
        item = of_array(self.schema, array, self.name(), self.name())
        if self.chance(0.3):  # the array as a path beside its table, without UNNEST
            path = item.sql.removeprefix("UNNEST(").replace(") AS ", " AS ", 1)
            return item if "[" in path else item._replace(sql=path)
        return item

    def _with_made_array(self, source: Source) -> Source:
        """Join an array that is made of the row."""
        item, place = self.name(), self.name()
        made = self.fill(self.one(*clauses.ARRAYS), source)
        columns = [Column(item, TEXT), Column(place, NUMBER)]
        sql = f"{source.sql}, UNNEST({made}) AS {item} WITH OFFSET AS {place}"
        return source._replace(sql=sql, columns=source.columns + columns, top=[])

    def joined(self) -> Source:
        """Join two sources in one of many ways."""
        if self.chance(0.25) and (using := self._using()):
            return using
        if self.chance(0.15):
            return self._lateral()
        left, right = (
            one._replace(sql=_without_commas(one.sql)) for one in (self.source(), self.source())
        )
        inner = f"({right.sql})" if _joins(right.sql) else right.sql
        kind = self.one("JOIN", "INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN")
        if kind == "CROSS JOIN":
            return both(left, right, f"{left.sql}{self.one(' CROSS JOIN ', ', ')}{inner}")
        wanted = self.one(NUMBER, NUMBER, TEXT)
        on = f"{self.aside(left, wanted)} = {self.aside(right, wanted)}"
        if self.grows(0.3):
            on += f" AND {self.condition(both(left, right, ''))}"
        elif self.chance(0.15):
            kind, on = "JOIN", f"{self.aside(left, NUMBER)} < {self.aside(right, NUMBER)}"
        return both(left, right, f"{left.sql} {kind} {inner} ON {on}")

    def _lateral(self) -> Source:
        """Join a subquery that looks at the row beside it."""
        left, name, kinds = self.base(), self.name(), self.kinds()
        inner = self.fill("SELECT {items} FROM {from:i} WHERE {c:b}", left, kinds)
        kind = self.one("CROSS JOIN", "LEFT JOIN")
        right = of_query(f"LATERAL ({inner}) AS {name}", name, named(kinds))
        on = " ON TRUE" if kind == "LEFT JOIN" else ""
        return both(left, right, f"{left.sql} {kind} {right.sql}{on}")

    def _using(self) -> Source | None:
        """Join two tables by a column of one name, which may be a masked one.

        It stands in a subquery, where its bare name is that of both.
        """
        left, right = self.base(), self.base()
        shared = [
            one
            for one in self.allowed(left.top)
            for same in self.allowed(right.top)
            if (one.sql, one.type) == (same.sql, same.type) and one.type in {TEXT, NUMBER}
        ]
        if not shared:
            return None
        column = self.random.choice(shared)
        self.mark(column)
        for joined in right.top:
            if joined.sql == column.sql:
                self.mark(joined)
        kind, name = self.one("JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"), self.name()
        sql = f"{left.sql} {kind} {right.sql} USING ({column.sql})"
        other = self.column(both(left, right, ""), TEXT)
        columns = [Column("u", column.type), Column("o", TEXT)]
        inner = f"SELECT {column.sql} AS u, {other} AS o FROM {sql}"
        return of_query(f"({inner}) AS {name}", name, columns)

    def _derived(self) -> Source:
        kinds, name = self.kinds(), self.name()
        return of_query(f"({self.select(kinds)}) AS {name}", name, named(kinds))

    def shaped(self) -> Source:
        """Turn rows and columns, or match rows."""
        shape, name = self.random.choice(clauses.SHAPES), self.name()
        inner = Source("", [Column("k", TEXT), Column("t", TEXT), Column("n", NUMBER)], [], [], [])
        sql = f"{self.fill(clauses.SHAPED)} {self.fill(shape.template, inner)}"
        return of_query(f"{sql} AS {name}", name, [Column(*one) for one in shape.columns])


def _without_commas(sql: str) -> str:
    """Spell comma joins out, which may not stand in every join."""
    return sql.replace(", UNNEST(", " CROSS JOIN UNNEST(")


def _joins(sql: str) -> bool:
    """Tell whether there is a join outside of all parentheses."""
    while (bare := _INNERMOST.sub("", sql)) != sql:
        sql = bare
    return " JOIN " in sql


_INNERMOST = re.compile(r"\([^()]*\)")
