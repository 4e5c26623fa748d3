"""Random queries in pipe syntax."""

from __future__ import annotations

from prove.queries.columns import NUMBER, TEXT, Column, Source, both
from prove.queries.filling import named
from prove.queries.selects import Selects

_KEEPING: dict[str, int] = {
    "WHERE {c}": 4,
    "ORDER BY {by}": 3,
    "LIMIT {d}": 1,
    "ASSERT {c}, {t}": 1,
    "ASSERT {n} != 7, 'seven'": 1,
    "WHERE {asked}": 1,
}
"""Operators that keep the columns."""

_ADDING: dict[str, int] = {
    "EXTEND {t} AS {name}": 4,
    "EXTEND {wt} AS {name}": 3,
    "EXTEND IF({c}, {t}, NULL) AS {name}": 1,
    "WINDOW {wt} AS {name}": 1,
    "CROSS JOIN UNNEST({at}) AS {name}": 1,
    "LEFT JOIN UNNEST({at}) AS {name} ON TRUE": 1,
}
"""Operators that add one text."""

_ENDS: dict[str, int] = {
    "AGGREGATE {counted} AS n GROUP AND ORDER BY {k} AS a DESC": 3,
    "AGGREGATE {aggregated} AS t, {counted} AS n": 2,
    "AGGREGATE {summed} AS s GROUP BY {k} AS a, {k2} AS b |> ORDER BY a": 1,
    "AGGREGATE {counted} AS n GROUP BY ROLLUP({k}, {k2})": 1,
    "SELECT {raw} AS a, {t} AS b |> DISTINCT": 1,
    "SELECT {t} AS a, {n} AS b |> RENAME a AS z |> SELECT *": 1,
    "SELECT {t} AS a, {n} AS b |> AS z |> SELECT z.*": 1,
    "SELECT {t} AS a, {raw} AS b |> DROP a": 1,
    "SELECT {t} AS a, {n} AS b |> SET a = CAST(b AS STRING)": 1,
    "SELECT {t} AS a, {n} AS b |> WHERE b > 3 |> SELECT a": 1,
    "SELECT {t} AS k, {n} AS n |> PIVOT(COUNT(*) FOR k IN ('XXX', '1'))": 1,
    "SELECT {t} AS k, CONCAT({ct}, '') AS t |> UNPIVOT(v FOR w IN (k, t))": 1,
    "SELECT {t} AS t, {n} AS n |> MATCH_RECOGNIZE(ORDER BY n MEASURES MAX(t) AS m"
    " PATTERN (A B?) DEFINE A AS t > '3', B AS n > 3)": 1,
    "SELECT {t} AS t |> UNION ALL (SELECT {t:i} FROM {from:i})": 1,
    "SELECT {t} AS t |> EXCEPT DISTINCT (SELECT {t:i} FROM {from:i})": 1,
    "SELECT {t} AS t |> INTERSECT DISTINCT BY NAME (SELECT {t:i} AS t FROM {from:i})": 1,
    "SELECT {n} AS n |> WITH w AS (SELECT {n:i} AS m FROM {from:i}) |> JOIN w ON m = n"
    " |> SELECT n": 1,
    "SELECT DISTINCT {k} AS a |> AS z |> WHERE z.a IS NOT NULL": 1,
    "SELECT {row} AS r |> EXTEND TO_JSON_STRING(r) AS j |> SELECT j": 1,
    "SELECT {t} AS t, {wn} AS n |> WHERE n = 1 |> DROP n": 1,
}
"""Operators that make other columns, after which nothing comes."""


class Pipes(Selects):
    """Makes `FROM … |> …`."""

    def pipe(self) -> str:
        """Make a query of one to six operators."""
        source = self.source()
        steps = [f"FROM {source.sql}"]
        while self.grows(0.6):
            step, source = self._step(source)
            steps.append(step)
        if self.chance(0.75):
            return " |> ".join([*steps, self._chosen(_ENDS, source)])
        step, source = self._step(source)
        steps.append(step)
        if any(row.masked for row in source.rows):  # all of them are shown
            if self._open_only:
                steps.append(self._chosen(_ENDS, source))
            else:
                self.touched = True
        return " |> ".join(steps)

    def _chosen(self, each: dict[str, int], source: Source) -> str:
        template = self.random.choices([*each], [*each.values()])[0]
        return self.fill(template, source)

    def _step(self, source: Source) -> tuple[str, Source]:
        """Give an operator, and what there is after it."""
        if self.chance(0.15):
            return self._join_step(source)
        if self.chance(0.15):
            return self._aggregate_step(source)
        if source.top and self.chance(0.2) and (step := self._set_step(source)):
            return step, source
        if self.chance(0.4):
            name = self.name()
            added = Column(name, TEXT)
            extended = source._replace(columns=[*source.columns, added, added], top=[])
            return self._chosen(_ADDING, source).replace("{name}", name), extended
        return self._chosen(_KEEPING, source), source

    def _set_step(self, source: Source) -> str:
        texts = [one for one in self.allowed(source.top) if one.type == TEXT]
        if not texts:
            return ""
        chosen = self.mark(self.random.choice(texts))
        return f"SET {chosen.sql} = {self.value(source, TEXT)}"

    def _join_step(self, source: Source) -> tuple[str, Source]:
        inner = self.base()
        equal = f"{self.column(source, NUMBER)} = {self.column(inner, NUMBER)}"
        kind = self.one("JOIN", "LEFT JOIN", "FULL JOIN")
        joined = both(source, inner, "")._replace(arrays=source.arrays, top=[])
        return f"{kind} {inner.sql} ON {equal}", joined

    def _aggregate_step(self, source: Source) -> tuple[str, Source]:
        kinds = self.kinds()
        template = self.one(
            "AGGREGATE {aggregates} GROUP BY {any} AS g",
            "AGGREGATE {aggregates}",
            "SELECT {items}",
            "SELECT {windows}",
        )
        columns = named(kinds)
        return self.fill(template, source, kinds), Source("", columns, [], [], columns)
