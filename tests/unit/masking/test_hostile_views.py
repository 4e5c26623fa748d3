# ruff: noqa: E501 - queries read best on one line, and are no injections here
"""Attack shapes through views: what lies beneath them is masked, however they are named."""

from __future__ import annotations

import re

import pytest
from prove import trial
from prove.evaluator import runnable
from prove.schemas import SHOP
from prove.shop import DATASET, PROJECT, TABLES
from prove.trial import Court, Outcome
from prove.worlds import SchemaSource

from keystile.analysis.expansion import Expansion
from keystile.analysis.objects import Objects
from keystile.analysis.places import Translation
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.model.schema import Field, Table, TableId, TableKind

TEXTS = {
    "people": "#standardSQL\nSELECT id, ssn AS number, age FROM shop.customers -- all of them\n;",
    "adults": "SELECT id, name FROM `acme-shop.shop.customers` AS t WHERE t.age > 50 ORDER BY t.ssn",
    "totals": "SELECT name, SUM(age) AS ages, MAX(ssn) AS most FROM shop.customers GROUP BY name",
    "ranked": "SELECT id, RANK() OVER (ORDER BY age) AS place FROM shop.customers",
    "listed": "SELECT ssn, age FROM shop.customers",  # CREATE VIEW listed (a, b) AS …
    "on_people": "SELECT p.number AS n, p.id AS k FROM v.people AS p",
    "on_both": "SELECT a.n, b.age, a.k FROM v.on_people AS a JOIN `v.people` AS b ON a.k = b.id",
    "shadow": "WITH customers AS (SELECT ssn AS s FROM shop.customers) SELECT s FROM customers",
    "rows": "SELECT AS STRUCT id, ssn FROM shop.customers",
    "united": "(SELECT ssn FROM shop.customers) UNION ALL (SELECT name FROM shop.customers);",
    "nested": "SELECT id, address, contacts FROM shop.customers",
    "piped": "FROM shop.customers |> WHERE age > 50 |> AGGREGATE COUNT(*) AS n",
}
STORED = {
    "people": "id INT64, number STRING, age INT64",
    "adults": "id INT64, name STRING",
    "totals": "name STRING, ages INT64, most STRING",
    "ranked": "id INT64, place INT64",
    "listed": "a STRING, b INT64",
    "on_people": "n STRING, k INT64",
    "on_both": "n STRING, age INT64, k INT64",
    "shadow": "s STRING",
    "rows": "id INT64, ssn STRING",
    "united": "ssn STRING",
    "piped": "n INT64",
}


def _fields(name: str) -> tuple[Field, ...]:
    if name == "nested":
        wanted = {"id", "address", "contacts"}
        return tuple(field for field in TABLES[0].fields if field.name in wanted)
    columns = [column.split() for column in STORED[name].split(", ")]
    return tuple(Field(column, type_) for column, type_ in columns)


VIEWS = {
    TableId(PROJECT, "v", name): Table(
        TableId(PROJECT, "v", name), TableKind.VIEW, _fields(name), "1", text
    )
    for name, text in TEXTS.items()
}


SHOP_WITH_VIEWS = SHOP._replace(tables=(*TABLES, *VIEWS.values()))


ATTACKS = [
    "SELECT * FROM v.people ORDER BY id",
    "SELECT number FROM `acme-shop.v.people`",
    "SELECT p FROM v.people AS p",
    "SELECT TO_JSON_STRING(p) FROM v.people p",
    "SELECT COUNT(*) FROM v.adults",
    "SELECT * FROM v.adults",
    "SELECT name FROM v.totals WHERE ages > 110",
    "SELECT ages FROM v.totals ORDER BY name",
    "SELECT most FROM v.totals ORDER BY name",
    "SELECT id FROM v.ranked WHERE place <= 2 ORDER BY id",
    "SELECT a FROM v.listed",
    "SELECT COUNTIF(b > 50) FROM v.listed",
    "SELECT n FROM v.on_people",
    "SELECT n, age FROM v.on_both ORDER BY k",
    "SELECT s FROM v.shadow",
    "WITH customers AS (SELECT 1 AS ssn) SELECT s, ssn FROM v.shadow, customers",
    "WITH people AS (SELECT number FROM v.people) SELECT * FROM people",
    "WITH p AS (SELECT * FROM v.people) SELECT x.number FROM p AS x JOIN p AS y ON x.id = y.id",
    "SELECT x.number FROM v.people AS x JOIN v.people AS y ON x.age < y.age",
    "SELECT x.number, c.name FROM v.people AS x JOIN customers AS c ON x.age > c.id",
    "SELECT id FROM orders WHERE customer_id IN (SELECT id FROM v.people WHERE age > 50) ORDER BY id",
    "SELECT o.id, (SELECT number FROM v.people AS p WHERE p.id = o.customer_id) FROM orders AS o ORDER BY 1",
    "SELECT ARRAY(SELECT number FROM v.people ORDER BY id)",
    "SELECT ssn FROM v.rows",
    "SELECT ssn FROM v.united",
    "SELECT number FROM v.people UNION ALL SELECT n FROM v.on_people",
    "SELECT address.street, address.geo.zone FROM v.nested",
    "SELECT k.value FROM v.nested AS t, t.contacts AS k",
    "SELECT n FROM v.piped",
    "FROM v.people |> AGGREGATE MAX(number) AS m",
    "SELECT * FROM (SELECT id, number FROM v.people) UNPIVOT (x FOR y IN (number))",
]


@pytest.fixture(scope="module")
def court() -> Court:
    return Court(InlineRunner(), Engine(), SHOP_WITH_VIEWS)


@pytest.fixture
def with_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "runnable", lambda sql, _: runnable(_as_bigquery(sql), TABLES))


def _as_bigquery(sql: str) -> str:
    """Put a view's raw text where a name of it was left, as BigQuery would."""

    def raw(match: re.Match[str]) -> str:
        text = TEXTS[match[1]].replace("shop.customers", f"`{PROJECT}.shop.customers`")
        text = text.replace(f"`{PROJECT}.`{PROJECT}", f"`{PROJECT}").replace("``", "`")
        return f"({_as_bigquery(text.split(' --')[0].rstrip(';'))}\n)"

    return re.sub(rf"`?(?:{PROJECT}\.)?\bv\.(\w+)`?", raw, sql)


@pytest.mark.usefixtures("with_views")
@pytest.mark.parametrize("sql", ATTACKS)
async def test_what_lies_beneath_a_view_is_masked(court: Court, sql: str) -> None:
    analysed = await court.analyst.analyse(
        Statement(sql, PROJECT, DATASET), SchemaSource(SHOP_WITH_VIEWS.tables)
    )
    assert not analysed.facts.opaque
    raw = [world.run(runnable(analysed.sql, TABLES)) for world in court.worlds]
    assert raw[0] != raw[1], "this is no attack"

    tried = await court.try_query(sql)

    assert tried.outcome is Outcome.SAME, tried
    assert not tried.answers[0].error


@pytest.mark.usefixtures("with_views")
async def test_a_view_that_is_not_expanded_would_leak(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def skipped(_: Objects, statement: Expansion, __: Translation) -> Expansion:
        return statement

    monkeypatch.setattr(Objects, "expanded", skipped)

    leaks = [(await court.try_query(sql)).outcome is Outcome.LEAK for sql in ATTACKS]

    assert sum(leaks) > len(ATTACKS) / 2


@pytest.mark.usefixtures("with_views")
async def test_open_columns_of_a_view_keep_their_values(court: Court) -> None:
    tried = await court.try_query("SELECT id, address.city FROM v.nested ORDER BY id")

    direct = court.worlds[0].run("SELECT id, address.city FROM customers ORDER BY id")
    assert tried.outcome is Outcome.SAME
    assert tried.answers[0].rows == direct.rows
