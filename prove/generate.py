# ruff: noqa: E501, PLR2004, S608 - chances and depths are plain numbers, and SQL is what it makes
"""Makes valid SELECTs over the shop at random, with every kind of clause."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from keystile.model.schema import SqlType
from prove.evaluator import Given

TEXT, NUMBER = "text", "number"
_LITERALS = {TEXT: "'1'", NUMBER: "1"}

_CUSTOMER_COLUMNS = {
    "id": NUMBER,
    "name": TEXT,
    "ssn": TEXT,
    "email": TEXT,
    "age": NUMBER,
    "address.city": TEXT,
    "address.street": TEXT,
    "address.geo.zone": TEXT,
    "contacts[SAFE_OFFSET(0)].value": TEXT,
    "nicknames[SAFE_OFFSET(0)]": TEXT,
    "tags[SAFE_OFFSET(0)]": TEXT,
    "(SELECT STRING_AGG(n, '-' ORDER BY n) FROM UNNEST({}.nicknames) AS n)": TEXT,
    "(SELECT COUNT(*) FROM UNNEST({}.contacts) AS k WHERE k.value > '4')": NUMBER,
}
_ORDER_COLUMNS = {
    "id": NUMBER,
    "customer_id": NUMBER,
    "note": TEXT,
    "CAST({}.amount AS INT64)": NUMBER,
}

PARAMETERS = (Given("t", SqlType("STRING"), "4"), Given("n", SqlType("INT64"), 40))
"""What every generated query may use."""


class Column(NamedTuple):
    """An expression that names a column, and whether it is text or a number."""

    sql: str
    kind: str


class Source(NamedTuple):
    """What stands after FROM, the columns that it gives, and whole rows that may be named."""

    sql: str
    columns: list[Column]
    rows: list[str]


class Generator:
    """A reproducible stream of queries."""

    def __init__(self, random: Random) -> None:
        """Take the source of chance; the same state of it gives the same queries."""
        self._random = random
        self._names = 0
        self._tables: list[tuple[str, list[str]]] = []

    def query(self) -> str:
        """Give one query."""
        self._names, self._tables = 0, []
        if self._chance(0.25):
            return self._with()
        if self._chance(0.1):
            return self._pipe()
        kinds = self._kinds()
        ordered = f" ORDER BY {self._random.randint(1, len(kinds))}" if self._chance(0.4) else ""
        return self._select(kinds, 0) + ordered

    def _with(self) -> str:
        kinds = self._kinds()
        name = self._random.choice(["customers", "w", "orders"])
        inner = self._select(kinds, 1)
        self._tables.append((name, kinds))
        return f"WITH {name} AS ({inner}) {self._select(self._kinds(), 1)}"

    def _pipe(self) -> str:
        source = self._source(1)
        steps = [f"WHERE {self._condition(source, 1)}"] if self._chance(0.6) else []
        if self._chance(0.5):
            steps.append(
                f"AGGREGATE COUNT(*) AS c, MAX({self._value(source, TEXT, 1)}) AS m"
                f" GROUP BY {self._any_column(source)} AS g"
            )
        else:
            steps.append(f"SELECT {self._value(source, TEXT, 1)} AS a")
        return " |> ".join([f"FROM {source.sql}", *steps])

    def _kinds(self) -> list[str]:
        return [self._random.choice([TEXT, NUMBER]) for _ in range(self._random.randint(1, 3))]

    def _select(self, kinds: list[str], depth: int) -> str:
        if depth < 3 and self._chance(0.12):
            operator = self._random.choice(
                ["UNION ALL", "UNION DISTINCT", "INTERSECT DISTINCT", "EXCEPT DISTINCT"]
            )
            first, second = (self._select(kinds, depth + 2) for _ in range(2))
            return f"({first}) {operator} ({second})"
        source = self._source(depth)
        where = f" WHERE {self._condition(source, depth)}" if self._chance(0.5) else ""
        if self._chance(0.3):
            return self._grouped(source, kinds, where, depth)
        items = [self._item(source, kind, depth) for kind in kinds]
        listed = ", ".join(f"{item} AS c{index}" for index, item in enumerate(items))
        distinct = "DISTINCT " if self._chance(0.1) else ""
        limit = ""
        if depth and self._chance(0.1):
            limit = f" ORDER BY {self._any_column(source)}, 1 LIMIT 2" if not distinct else ""
        return f"SELECT {distinct}{listed} FROM {source.sql}{where}{limit}"

    def _grouped(self, source: Source, kinds: list[str], where: str, depth: int) -> str:
        key = self._any_column(source)
        items = []
        for index, kind in enumerate(kinds):
            value = self._value(source, kind, depth + 1)
            texts = [f"MAX({value})", f"MIN({value})", f"STRING_AGG({value} ORDER BY {value})"]
            numbers = [f"SUM({value})", "COUNT(*)", f"COUNTIF({value} > 40)", f"MAX({value})"]
            aggregate = self._random.choice(texts if kind == TEXT else numbers)
            items.append(f"{aggregate} AS c{index}")
        having = f" HAVING COUNT(*) > {self._random.randint(0, 2)}" if self._chance(0.3) else ""
        if self._chance(0.3):
            having = f" HAVING MAX({self._value(source, TEXT, depth + 1)}) > '4'"
        return f"SELECT {', '.join(items)} FROM {source.sql}{where} GROUP BY {key}{having}"

    def _item(self, source: Source, kind: str, depth: int) -> str:
        if self._chance(0.15):
            over = f"OVER (PARTITION BY {self._any_column(source)} ORDER BY {self._any_column(source)})"
            function = {
                TEXT: f"MAX({self._value(source, TEXT, 3)})",
                NUMBER: self._random.choice(["RANK()", "DENSE_RANK()", "COUNT(*)"]),
            }[kind]
            return f"{function} {over}"
        if kind == TEXT and source.rows and self._chance(0.15):
            row = self._random.choice(source.rows)
            return self._random.choice([f"TO_JSON_STRING({row})", f"FORMAT('%T', {row})"])
        return self._value(source, kind, depth)

    def _source(self, depth: int) -> Source:
        pick = self._random.random()
        if pick < 0.2 and depth < 3:
            left, right = self._source(depth + 2), self._source(depth + 2)
            kind = self._random.choice(["JOIN", "LEFT JOIN", "FULL JOIN", "CROSS JOIN"])
            both = Source("", left.columns + right.columns, left.rows + right.rows)
            equal = f"{self._column(left, NUMBER)} = {self._column(right, NUMBER)}"
            on = "" if kind == "CROSS JOIN" else f" ON {equal}"
            inner = f"({right.sql})" if " JOIN " in right.sql else right.sql
            return both._replace(sql=f"{left.sql} {kind} {inner}{on}")
        if pick < 0.35 and depth < 3:
            kinds = self._kinds()
            name = self._name()
            return self._named(f"({self._select(kinds, depth + 1)}) AS {name}", name, kinds)
        if self._tables and pick < 0.6:
            table, kinds = self._random.choice(self._tables)
            name = self._name()
            return self._named(f"{table} AS {name}", name, kinds)
        return self._base(pick)

    def _base(self, pick: float) -> Source:
        name = self._name()
        shadowed = {table for table, _ in self._tables}
        if pick < 0.75:
            spelled = "`acme-shop.shop.customers`"
            table = "customers" if "customers" not in shadowed and self._chance(0.5) else spelled
            columns = [_of(name, sql, kind) for sql, kind in _CUSTOMER_COLUMNS.items()]
            source = Source(f"{table} AS {name}", columns, [name])
            return self._unnested(source, name) if self._chance(0.2) else source
        table = "orders" if "orders" not in shadowed else "`acme-shop.shop.orders`"
        columns = [_of(name, sql, kind) for sql, kind in _ORDER_COLUMNS.items()]
        return Source(f"{table} AS {name}", columns, [name])

    def _unnested(self, source: Source, name: str) -> Source:
        item, place = self._name(), self._name()
        columns = [
            Column(f"{item}.value", TEXT),
            Column(f"{item}.kind", TEXT),
            Column(place, NUMBER),
        ]
        array = f"UNNEST({name}.contacts) AS {item} WITH OFFSET AS {place}"
        return Source(f"{source.sql} CROSS JOIN {array}", [*columns, *source.columns], [item, name])

    def _named(self, sql: str, name: str, kinds: list[str]) -> Source:
        columns = [Column(f"{name}.c{index}", kind) for index, kind in enumerate(kinds)]
        return Source(sql, columns, [name])

    def _column(self, source: Source, kind: str) -> str:
        """Give a column of this kind, or a literal where the source has none."""
        fitting = [column.sql for column in source.columns if column.kind == kind]
        return self._random.choice(fitting or [_LITERALS[kind]])

    def _any_column(self, source: Source) -> str:
        return self._random.choice(source.columns).sql

    def _value(self, source: Source, kind: str, depth: int) -> str:
        column = self._column(source, kind)
        pick = self._random.random()
        if depth >= 3 or pick < 0.35:
            return column
        return self._text(source, depth) if kind == TEXT else self._number(source, depth)

    def _text(self, source: Source, depth: int) -> str:
        value = self._value(source, TEXT, depth + 1)
        other = self._value(source, TEXT, 3)
        return self._random.choice(
            [
                f"UPPER({value})",
                f"SUBSTR({value}, {self._random.randint(1, 4)}, 2)",
                f"CONCAT({value}, {other})",
                f"REVERSE({value})",
                f"TO_HEX(SHA256({value}))",
                f"IF({self._condition(source, depth + 1)}, {value}, 'no')",
                f"CASE WHEN {self._condition(source, depth + 1)} THEN {other} ELSE {value} END",
                f"COALESCE({value}, {other})",
                f"REGEXP_REPLACE({value}, r'[0-4]', 'x')",
                f"CAST({self._value(source, NUMBER, depth + 1)} AS STRING)",
                f"ARRAY_TO_STRING([{value}, {other}], '|')",
                f"FORMAT('%t', {value})",
                self._scalar_subquery(TEXT, depth),
            ]
        )

    def _number(self, source: Source, depth: int) -> str:
        value = self._value(source, TEXT, depth + 1)
        number = self._value(source, NUMBER, 3)
        return self._random.choice(
            [
                f"CHAR_LENGTH({value})",
                f"({number} + 1)",
                f"MOD({number}, 7)",
                f"STRPOS({value}, '4')",
                f"FARM_FINGERPRINT({value})",
                f"SAFE_CAST({value} AS INT64)",
                f"CAST(SUBSTR({value}, 1, 1) AS INT64)",
                f"IF({self._condition(source, depth + 1)}, 1, 0)",
                f"DIV({number}, 2)",
                self._scalar_subquery(NUMBER, depth),
            ]
        )

    def _scalar_subquery(self, kind: str, depth: int) -> str:
        if depth > 1:
            return _LITERALS[kind]
        source = self._source(depth + 2)
        return f"(SELECT MAX({self._value(source, kind, depth + 2)}) FROM {source.sql})"

    def _condition(self, source: Source, depth: int) -> str:
        text, number = self._value(source, TEXT, depth + 2), self._value(source, NUMBER, depth + 2)
        choices = [
            f"{text} LIKE '%{self._random.randint(0, 9)}%'",
            f"{text} > @t",
            f"{number} > @n",
            f"{number} BETWEEN 30 AND 60",
            f"{text} IS NULL",
            f"{text} < {self._value(source, TEXT, 3)}",
            f"STARTS_WITH({text}, '4')",
        ]
        if depth < 2 and self._chance(0.3):
            inner = self._source(depth + 2)
            correlated = f"{self._column(inner, NUMBER)} = {self._column(source, NUMBER)}"
            wanted = f"{self._value(inner, TEXT, 3)} > '4'"
            choices = [
                f"EXISTS (SELECT 1 FROM {inner.sql} WHERE {correlated} AND {wanted})",
                f"{number} IN (SELECT {self._column(inner, NUMBER)} FROM {inner.sql} WHERE {wanted})",
                f"{text} IN (SELECT {self._value(inner, TEXT, 3)} FROM {inner.sql})",
            ]
        negation = "NOT " if self._chance(0.15) else ""
        return f"{negation}({self._random.choice(choices)})"

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _name(self) -> str:
        self._names += 1
        return f"r{self._names}"


def _of(name: str, sql: str, kind: str) -> Column:
    return Column(sql.format(name) if "{}" in sql else f"{name}.{sql}", kind)
