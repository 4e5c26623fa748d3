"""A reproducible stream of queries over one schema."""

from __future__ import annotations

from typing import NamedTuple

from keystile.model.schema import SqlType
from prove.evaluator import Given
from prove.queries.columns import NUMBER, TEXT, Column, Source
from prove.queries.pipes import Pipes
from prove.queries.selects import listed

PARAMETERS = (Given("t", SqlType("STRING"), "4"), Given("n", SqlType("INT64"), 40))
"""What every generated query may use."""


class Query(NamedTuple):
    """A query; a `benign` one names nothing that is masked, whole rows included."""

    sql: str
    benign: bool


class Generator(Pipes):
    """Makes queries of all forms."""

    def query(self) -> Query:
        """Give the next query."""
        open_only = self.chance(0.3)
        self.start(open_only=open_only, aside=not open_only and self.chance(0.35))
        forms = [
            self._plain,
            self._star,
            self._with,
            self.pipe,
            self._recursive,
            self._as_struct,
            self._rollup,
        ]
        sql = self.random.choices(forms, [45, 12, 16, 15, 4, 5, 3])[0]()
        return Query(sql, not self.touched)

    def _plain(self) -> str:
        kinds = self.kinds()
        ordered = (
            f" ORDER BY {self.random.randint(1, len(kinds))}{self.direction()}"
            if self.chance(0.4)
            else ""
        )
        limit = f" LIMIT {self.random.randint(1, 5)}" if ordered and self.chance(0.3) else ""
        return self.select(kinds, 0) + ordered + limit

    def _star(self) -> str:
        """Make a query whose columns are those of the table, as they are."""
        source = self.source(1)
        top = self.top(source)
        if not top:
            columns = [one for _ in range(2) if (one := self.raw_column(source))]
            return f"SELECT {listed([one.sql for one in columns]) or '1'} FROM {source.sql}{self.where(source, 1)}"
        form = self.random.random()
        dropped = self.random.choice(top)
        if form < 0.4 and len(top) > 1:
            kept = [one for one in top if one is not dropped]
            star = f"* EXCEPT ({dropped.sql})"
        elif form < 0.6 and dropped.type in {TEXT, NUMBER}:
            kept = top
            star = f"* REPLACE ({self.value(source, dropped.type, 2)} AS {dropped.sql})"
        else:
            kept, star = (
                top,
                self.one("*", f"{source.rows[0].sql}.*") if len(source.rows) == 1 else "*",
            )
        for one in kept:
            self.mark(one)
        return f"SELECT {star} FROM {source.sql}{self.where(source, 1)}"

    def _with(self) -> str:
        heads = []
        for _ in range(self.random.randint(1, 2)):
            kinds = self.kinds()
            name = self._with_name()
            heads.append(f"{name} AS ({self.select(kinds, 1)})")
            self.named = [one for one in self.named if one[0] != name]
            self.named.append(
                (name, [Column(f"c{index}", kind) for index, kind in enumerate(kinds)])
            )
        return f"WITH {', '.join(heads)} {self.select(self.kinds(), 1)}"

    def _with_name(self) -> str:
        """Give a name, at times that of a table, which it then hides."""
        taken = {name.lower() for name, _ in self.named}
        names = ["w", "v"]
        if not self.schema.cased:
            names += [table.id.table for table in self.schema.tables]
        return self.random.choice([name for name in names if name.lower() not in taken])

    def _recursive(self) -> str:
        source = self.base()
        text = self.value(source, TEXT, 2)
        walk = Source("", [Column("q.n", NUMBER), Column("q.t", TEXT)], [], [], [])
        step = f"SELECT q.n + 1, {self.value(walk, TEXT, 1)} FROM q WHERE q.n < 3"
        if self.chance(0.5):
            step += f" AND {self.condition(walk, 2)}"
        operator = self.one("UNION ALL", "UNION ALL", "UNION DISTINCT")
        self.named = [("q", [Column("n", NUMBER), Column("t", TEXT)])]
        head = f"SELECT 1 AS n, {text} AS t FROM {source.sql}{self.where(source, 2)}"
        return f"WITH RECURSIVE q AS ({head} {operator} {step}) {self.select(self.kinds(), 1)}"

    def _as_struct(self) -> str:
        source = self.source(1)
        text, number = self.value(source, TEXT, 1), self.value(source, NUMBER, 1)
        where = self.where(source, 1)
        row = self.row(source)
        if row and self.chance(0.4):
            return self.one(
                f"SELECT AS VALUE {row} FROM {source.sql}{where}",
                f"SELECT {row} FROM {source.sql}{where}",
                f"SELECT AS STRUCT {row}, {number} AS n FROM {source.sql}{where}",
                f"SELECT ARRAY_AGG({row}) AS a FROM {source.sql}{where}",
                f"SELECT ANY_VALUE({row}).* FROM {source.sql}{where}",
            )
        return self.one(
            f"SELECT AS STRUCT {text} AS a, {number} AS b FROM {source.sql}{where}",
            f"SELECT AS VALUE STRUCT({text} AS a, {number} AS b) FROM {source.sql}{where}",
            f"SELECT ARRAY(SELECT AS STRUCT {text} AS a, {number} AS b) AS s FROM {source.sql}{where}",
        )

    def _rollup(self) -> str:
        """Group by everything there is, with the grouping told."""
        source = self.source(1)
        key, other = self.any_column(source).sql, self.any_column(source).sql
        value = self.aggregate(source, NUMBER, 2)
        if key == "1":
            return f"SELECT {value} AS v FROM {source.sql}"
        return f"SELECT {key} AS a, {other} AS b, GROUPING({key}) AS g, {value} AS v FROM {source.sql} GROUP BY ROLLUP({key}, {other})"
