"""Random SELECTs of every form."""

from __future__ import annotations

from prove.queries.columns import NUMBER, TEXT, Source
from prove.queries.expressions import DEEPEST
from prove.queries.sources import Kinds, Sources


class Selects(Sources):
    """Makes whole queries."""

    def select(self, kinds: Kinds, depth: int) -> str:
        """Make a query with columns `c0`, `c1` … of these kinds."""
        if depth < 3 and self.chance(0.1):
            return self.set_operation(kinds, depth)
        source = self.source(depth)
        if self.chance(0.3):
            return self.grouped(source, kinds, depth)
        items = [self._item(source, kind, depth) for kind in kinds]
        distinct = self.one("DISTINCT ", "") if self.chance(0.2) else ""
        sql = f"SELECT {distinct}{listed(items)} FROM {source.sql}{self.where(source, depth)}"
        if not distinct and self.chance(0.12):
            sql += f" QUALIFY {self.window(source, NUMBER)} {self.one('= 1', '> 1', '< 3')}"
        if depth and not distinct and self.chance(0.1):
            sql += f" ORDER BY {self.any_column(source).sql}{self.direction()}, 1 LIMIT {self.random.randint(1, 4)}"
        return sql

    def set_operation(self, kinds: Kinds, depth: int) -> str:
        """Combine two queries of the same kinds."""
        first, second = (self.select(kinds, depth + 2) for _ in range(2))
        operator = self.one("UNION ALL", "UNION DISTINCT", "INTERSECT DISTINCT", "EXCEPT DISTINCT")
        if self.chance(0.2):
            operator += self.one(" BY NAME", " CORRESPONDING")
        return f"({first}) {operator} ({second})"

    def where(self, source: Source, depth: int) -> str:
        """Give a WHERE clause or nothing."""
        return f" WHERE {self.condition(source, depth)}" if self.chance(0.45) else ""

    def direction(self) -> str:
        """Give which way to order."""
        return self.one("", "", " DESC", " DESC NULLS LAST", " NULLS LAST")

    def grouped(self, source: Source, kinds: Kinds, depth: int) -> str:
        """Make a query that groups."""
        items = [self.aggregate(source, kind, depth) for kind in kinds]
        having = ""
        if self.chance(0.4):
            having = " HAVING " + self.one(
                f"COUNT(*) > {self.random.randint(0, 2)}",
                f"MAX({self.value(source, TEXT, depth + 1)}) > '4'",
                f"COUNT(DISTINCT {self.column(source, TEXT)}) > 1",
            )
        where = self.where(source, depth)
        return f"SELECT {listed(items)} FROM {source.sql}{where}{self._group_by(source)}{having}"

    def _group_by(self, source: Source) -> str:
        key, other = self.any_column(source).sql, self.any_column(source).sql
        if "1" in {key, other}:
            return ""
        form = self.random.random()
        if form < 0.1:
            return f" GROUP BY ROLLUP({key}, {other})"
        if form < 0.2:
            return f" GROUP BY CUBE({key}, {other})"
        if form < 0.3:
            return f" GROUP BY GROUPING SETS(({key}, {other}), {key}, ())"
        return f" GROUP BY {key}, {other}" if form < 0.4 else f" GROUP BY {key}"

    def aggregate(self, source: Source, kind: str, depth: int) -> str:
        """Give an aggregate that is a text or a number."""
        v, o = self.value(source, kind, depth + 1), self.aside(source, TEXT)
        by = self.any_column(source).sql
        if self._aside and self.chance(0.5):
            last = f"ARRAY_AGG({v} IGNORE NULLS ORDER BY {by} LIMIT 1)[SAFE_OFFSET(0)]"
            return self.one(f"ANY_VALUE({v} HAVING {self.one('MAX', 'MIN')} {o})", last)
        if kind == NUMBER:
            return self.one(
                f"SUM({v})",
                "COUNT(*)",
                f"COUNT({v})",
                f"COUNTIF({v} > 40)",
                f"COUNT(DISTINCT {self.column(source, TEXT)})",
                f"MAX({v})",
                f"MIN({v})",
                f"BIT_XOR({v})",
                f"CAST(AVG(MOD({v}, 100)) AS INT64)",
                f"ARRAY_LENGTH(ARRAY_AGG(DISTINCT {self.column(source, TEXT)} IGNORE NULLS))",
                f"ANY_VALUE({v} HAVING MAX {o})",
                f"CAST(LOGICAL_OR({self.condition(source, DEEPEST)}) AS INT64)",
            )
        choices = [
            f"MAX({v})",
            f"MIN({v})",
            f"STRING_AGG({v} ORDER BY {by})",
            f"STRING_AGG(DISTINCT {v}, '+')",
            f"STRING_AGG({v}, '' ORDER BY {by} LIMIT 2)",
            f"ANY_VALUE({v} HAVING MIN {o})",
            f"ANY_VALUE({v})",
            f"ARRAY_AGG({v} IGNORE NULLS ORDER BY {by} LIMIT 1)[SAFE_OFFSET(0)]",
            f"TO_JSON_STRING(ARRAY_AGG(STRUCT({v} AS a) ORDER BY {by}))",
            f"MAX(IF({self.condition(source, DEEPEST)}, {v}, NULL))",
        ]
        if row := self.row(source):
            choices.append(f"TO_JSON_STRING(ARRAY_AGG({row} ORDER BY {by}))")
            choices.append(f"TO_JSON_STRING(ANY_VALUE({row}))")
        return self.one(*choices)

    def window(self, source: Source, kind: str) -> str:
        """Give a window function that is a text or a number."""
        parts = [f"PARTITION BY {self.any_column(source).sql}"] if self.chance(0.5) else []
        order = f"ORDER BY {self.any_column(source).sql}{self.direction()}"
        v = self.value(source, kind, DEEPEST)
        if self.chance(0.5):
            over = f"OVER ({' '.join([*parts, order])})"
            call = self.one(
                f"RANK() {over}",
                f"DENSE_RANK() {over}",
                f"ROW_NUMBER() {over}",
                f"NTILE(2) {over}",
                f"CAST(CUME_DIST() {over} * 10 AS INT64)",
                f"CAST(PERCENT_RANK() {over} * 10 AS INT64)",
            )
            return call if kind == NUMBER else f"CAST({call} AS STRING)"
        if self.chance(0.4):
            function = self.one(f"LAG({v})", f"LEAD({v}, 1)")
            return f"{function} OVER ({' '.join([*parts, order])})"
        frame = self.one(
            "",
            " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING",
            " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        )
        function = self.one(
            f"MAX({v})", f"MIN({v})", f"FIRST_VALUE({v})", f"LAST_VALUE({v})", f"NTH_VALUE({v}, 2)"
        )
        return f"{function} OVER ({' '.join([*parts, order + frame])})"

    def _item(self, source: Source, kind: str, depth: int) -> str:
        if self.chance(0.12):
            return self.window(source, kind)
        return self.value(source, kind, depth)


def listed(items: list[str]) -> str:
    """Name items `c0`, `c1` …."""
    return ", ".join(f"{item} AS c{index}" for index, item in enumerate(items))
