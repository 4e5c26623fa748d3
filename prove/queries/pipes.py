"""Random queries in pipe syntax."""

from __future__ import annotations

from prove.queries.columns import NUMBER, TEXT, Column, Source, of_query
from prove.queries.selects import Selects


class Pipes(Selects):
    """Makes `FROM … |> …`."""

    def pipe(self) -> str:
        """Make a query of one to five operators."""
        source = self.source(1)
        steps = [f"FROM {source.sql}"]
        for _ in range(self.random.randint(1, 3)):
            step, source = self._row_step(source)
            steps.append(step)
        if self.chance(0.7):
            step, source = self._shape_step(source)
            steps.append(step)
            if self.chance(0.4):
                step, source = self._row_step(source)
                steps.append(step)
        if any(row.masked for row in source.rows):  # all of them are shown
            if self._open_only:
                steps.append(self._shape_step(source)[0])
            else:
                self.touched = True
        return " |> ".join(steps)

    def _row_step(self, source: Source) -> tuple[str, Source]:
        """Give an operator that keeps or adds columns."""
        name = self.name()
        added = Column(name, TEXT)
        extended = source._replace(columns=[*source.columns, added, added], top=[])
        choices = [
            (f"WHERE {self.condition(source, 1)}", source),
            (f"EXTEND {self.value(source, TEXT, 1)} AS {name}", extended),
            (f"ORDER BY {self.any_column(source).sql}{self.direction()}", source),
            (f"LIMIT {self.random.randint(1, 5)}", source),
            (f"EXTEND {self.window(source, TEXT)} AS {name}", extended),
            (f"ASSERT {self.condition(source, 2)}, {self.value(source, TEXT, 2)}", source),
        ]
        weights = [4, 4, 2, 1, 2, 1]
        if source.top and (named := [one for one in self._allowed(source.top) if one.type == TEXT]):
            chosen = self.random.choice(named)
            self.mark(chosen)
            choices.append((f"SET {chosen.sql} = {self.value(source, TEXT, 2)}", source))
            weights.append(2)
        inner = self.base()
        equal = f"{self.column(source, NUMBER)} = {self.column(inner, NUMBER)}"
        joined = Source(
            "", source.columns + inner.columns, source.rows + inner.rows, source.arrays, []
        )
        choices.append((f"{self.one('JOIN', 'LEFT JOIN')} {inner.sql} ON {equal}", joined))
        weights.append(1)
        return self.random.choices(choices, weights)[0]

    def _shape_step(self, source: Source) -> tuple[str, Source]:
        """Give an operator that makes other columns."""
        kinds = self.kinds()
        columns = [Column(f"c{index}", kind) for index, kind in enumerate(kinds)]
        if self.chance(0.4):
            items = ", ".join(
                f"{self.aggregate(source, kind, 1)} AS c{index}" for index, kind in enumerate(kinds)
            )
            after = Source("", columns, [], [], [])
            return f"AGGREGATE {items} GROUP BY {self.any_column(source).sql} AS g", after
        items = ", ".join(
            f"{self.value(source, kind, 1)} AS c{index}" for index, kind in enumerate(kinds)
        )
        after = Source("", columns, [], [], columns)
        if self.chance(0.2):
            return (
                f"SELECT {items} |> {self.one('DISTINCT', 'RENAME c0 AS z0 |> SELECT *', 'AS z |> SELECT z.*', 'EXTEND 1 AS e |> DROP c0')}",
                Source("", [], [], [], []),
            )
        if self.chance(0.2):
            other = self.select(kinds, 2)
            operator = self.one(
                "UNION ALL", "UNION DISTINCT", "INTERSECT DISTINCT", "EXCEPT DISTINCT"
            )
            return f"SELECT {items} |> {operator} ({other})", after
        return f"SELECT {items}", of_query("", "", [])._replace(columns=columns, rows=[])
