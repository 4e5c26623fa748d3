"""Random queries of every form."""

from __future__ import annotations

from random import Random

from keystile.model.schema import Mode, Table
from prove.queries.clauses import DECIDING, SELECTS, WHOLES
from prove.queries.columns import NUMBER, TEXT, Column, Source, of_table
from prove.queries.filling import Kinds, named
from prove.queries.sources import Sources
from prove.worlds import Schema

_SELECTS, _SELECT_WEIGHTS = [*SELECTS], [*SELECTS.values()]
_TRIES = 3


class Selects(Sources):
    """Makes whole queries."""

    def __init__(self, random: Random, schema: Schema) -> None:
        """Ask about `schema`."""
        super().__init__(random, schema)
        self._deciding: list[str] = []
        """The forms of `deciding` whose turn is still to come."""

    def select(self, kinds: Kinds) -> str:
        """Make a query with columns `c0`, `c1` … of these kinds."""
        template = _SELECTS[0]
        if self.grows(0.5):
            template = self.random.choices(_SELECTS, _SELECT_WEIGHTS)[0]
        return self.fill(template, kinds=kinds)

    def whole(self) -> str:
        """Make a query with columns of any type."""
        return self.fill(self.random.choices([*WHOLES], [*WHOLES.values()])[0])

    def deciding(self) -> str:
        """Make a query in which something masked decides, in turn of each form."""
        if not self._deciding:
            self._deciding = [form for form, count in DECIDING.items() for _ in range(count)]
            self.random.shuffle(self._deciding)
        form = self._deciding.pop()
        for _ in range(_TRIES):
            sql = self.fill(form)
            if self.touched:
                break
        return sql

    def plain(self) -> str:
        """Make a query with columns of known kinds, in an order or not."""
        kinds = self.kinds()
        sql = self.fill(self.random.choices(_SELECTS, _SELECT_WEIGHTS)[0], kinds=kinds)
        if not self.chance(0.3) or " LIMIT " in sql:
            return sql
        limit = f" LIMIT {self.random.randint(1, 5)}" if self.chance(0.3) else ""
        return f"SELECT * FROM ({sql}) ORDER BY {self.random.randint(1, len(kinds))}{limit}"

    def star(self) -> str:
        """Make a query whose columns are those of the table, as they are."""
        source = self.source()
        top = self.top(source)
        if not top:
            return self.fill("SELECT {raw} AS a, {raw} AS b FROM {from}")
        form, dropped = self.random.random(), self.random.choice(top)
        kept, star = top, "*"
        if form < 0.4 and len(top) > 1:
            kept = [one for one in top if one is not dropped]
            star = f"* EXCEPT ({dropped.sql})"
        elif form < 0.6 and dropped.type in {TEXT, NUMBER}:
            star = f"* REPLACE ({self.value(source, dropped.type)} AS {dropped.sql})"
        elif len(source.rows) == 1:
            star = self.one("*", f"{source.rows[0].sql}.*")
        for one in kept:
            self.mark(one)
        return f"SELECT {star} FROM {source.sql}{self.where(source)}"

    def with_names(self) -> str:
        """Make a query with common table expressions."""
        heads = []
        for _ in range(1 if self._left <= 1 else 2):
            kinds, name = self.kinds(), self._with_name()
            heads.append(f"{name} AS ({self.select(kinds)})")
            self.named = [one for one in self.named if one[0] != name]
            self.named.append((name, named(kinds)))
        return f"WITH {', '.join(heads)} {self.select(self.kinds())}"

    def write(self) -> str:
        """Make a statement that fills an open table, or deletes from any.

        It names every column: the evaluator has no values for others.
        """
        tables = [one for one in self.schema.base_tables if one in self.tables]
        targets = [one for one in tables if _is_simple(one) and not self.schema.hides(one.id, ())]
        if targets and self.chance(0.9):
            table = self.random.choice(targets)
            names = ", ".join(field.name for field in table.fields)
            query = self.select([field.type for field in table.fields])
            return f"INSERT INTO {self.spelled(table)} ({names}) {query}"
        table = self.random.choice(tables)
        self.touched = self.touched or self.schema.tells(table.id)
        source = of_table(self.schema, table, self.name(), self.spelled(table))
        return f"DELETE FROM {source.sql} WHERE {self.condition(source)}"

    def recursive(self) -> str:
        """Make a query that walks."""
        source = self.base()
        text = self.value(source, TEXT)
        walk = Source("", [Column("q.n", NUMBER), Column("q.t", TEXT)], [], [], [])
        step = f"SELECT q.n + 1, {self.value(walk, TEXT)} FROM q WHERE q.n < 3"
        if self.grows(0.5):
            step += f" AND {self.condition(walk)}"
        operator = self.one("UNION ALL", "UNION ALL", "UNION DISTINCT")
        head = f"SELECT 1 AS n, {text} AS t FROM {source.sql}{self.where(source)}"
        self.named = [("q", [Column("n", NUMBER), Column("t", TEXT)])]
        return f"WITH RECURSIVE q AS ({head} {operator} {step}) {self.select(self.kinds())}"

    def _with_name(self) -> str:
        """Give a name, at times that of a table, which it then hides."""
        taken = {name.lower() for name, _ in self.named}
        names = ["w", "v"]
        if not self.schema.cased:
            names += [table.id.table for table in self.schema.tables]
        return self.random.choice([name for name in names if name.lower() not in taken])


def _is_simple(table: Table) -> bool:
    return all(
        field.type in {TEXT, NUMBER} and field.mode is not Mode.REPEATED for field in table.fields
    )
