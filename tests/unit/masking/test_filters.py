# ruff: noqa: E501, S608 - queries read best on one line, and are no injections here
"""Row filters: what is filtered out is as if it were not there, and nothing but the filter does it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

import pytest
from prove.evaluator import Answer, Content, World, runnable
from prove.shop import CUSTOMERS, DATASET, MASKS, ORDERS, PROJECT, TABLES, Shop, world
from prove.trial import Court

from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.masking import task
from keystile.masking.filters import Predicates, problems
from keystile.masking.splice import ProtectedTable
from keystile.model.decision import ColumnMask, RowFilter
from keystile.model.errors import RefusedError
from keystile.model.masks import KeyedHashMask, PatternMask
from keystile.model.schema import ColumnRef

hostile = importlib.import_module("tests.unit.masking.test_hostile")

MINE = RowFilter(
    CUSTOMERS.id, "mine", "name = agent.attributes.name", (("attributes.name", "Ada"),)
)
WORLDS = ((6, 1), (3, 2), (0, 1))
YOUNG = RowFilter(CUSTOMERS.id, "young", "age < 50")


async def rewrite(
    court: Court,
    sql: str,
    filters: Iterable[RowFilter] = (MINE,),
    masks: tuple[ColumnMask, ...] = (),
) -> str:
    analysed = await court.analyst.analyse(Statement(sql, PROJECT, DATASET), Shop())
    return (await court.rewriter.rewrite(analysed, masks, tuple(filters))).sql


def contents(others: int, secret: int) -> list[Content]:
    """Give the same three rows named Ada, and so many others, which the secret says all of."""
    (customers, orders), hidden = world(1, rows=9), world(secret, rows=9)[0].rows
    rows = []
    for row, other in zip(customers.rows, hidden, strict=True):
        if row[0] in {2, 4, 5}:
            rows.append((row[0], "Ada", *row[2:]))
        elif others:
            rows.append((other[0], "Bo", *other[2:]))
            others -= 1
    return [Content(customers.table, rows), orders]


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    """Two that differ in filtered-out rows, and one that has none."""
    engine = Engine()
    return [World(engine, contents(others, secret)) for others, secret in WORLDS]


def run(one: World, sql: str) -> Answer:
    return one.run(runnable(sql, TABLES))


PROBES = [
    "SELECT COUNT(*) FROM customers",
    "SELECT COUNT(*) FROM customers AS a CROSS JOIN customers AS b",
    "SELECT id FROM orders WHERE customer_id IN (SELECT id FROM customers) ORDER BY id",
    "SELECT o.id, c.name FROM orders AS o LEFT JOIN customers AS c ON c.id = o.customer_id ORDER BY 1",
    "SELECT o.id FROM orders AS o RIGHT JOIN customers AS c ON c.id = o.customer_id ORDER BY 1",
    "SELECT * FROM orders FULL JOIN customers USING (id)",
    "SELECT name, COUNT(*) FROM customers GROUP BY ROLLUP (name)",
    "SELECT IF(name = 'Bo', ERROR('there is one'), 1) FROM customers",
    "SELECT id FROM customers WHERE IF(name = 'Bo', ERROR(ssn), TRUE)",
    "SELECT id FROM customers WHERE IF(name IS NULL, ERROR('hidden'), TRUE) AND name > ''",
    "SELECT 10 / (id - 1) FROM customers",
    "SELECT MAX(id), MIN(age), APPROX_COUNT_DISTINCT(ssn) FROM customers",
    "SELECT ROW_NUMBER() OVER (ORDER BY ssn) FROM customers",
    "SELECT id FROM customers TABLESAMPLE SYSTEM (100 PERCENT)",
    "SELECT NOT EXISTS (SELECT 1 FROM customers WHERE name = 'Bo')",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < (SELECT COUNT(*) FROM customers)) SELECT * FROM r",
    "FROM customers |> AGGREGATE COUNT(*) AS n",
]


@pytest.mark.parametrize("sql", [*PROBES, *hostile.ATTACKS, *hostile.ERRORS])
async def test_rows_that_are_filtered_out_tell_nothing(
    court: Court, worlds: list[World], sql: str
) -> None:
    text = await rewrite(court, sql)

    first, second, without = (run(one, text) for one in worlds)

    assert first.same(second), text
    assert first.same(without), "as if the rows were not there"
    if not first.error:
        assert first.same(run(worlds[2], sql)), "and all others are"


def test_the_worlds_differ() -> None:
    assert [len(contents(*one)[0].rows) for one in WORLDS] == [9, 6, 3]


async def test_masks_and_filters_together(court: Court, worlds: list[World]) -> None:
    sql = "SELECT name, ssn, age FROM customers ORDER BY id"

    text = await rewrite(court, sql, (MINE, YOUNG), MASKS)

    first, second = (run(one, text) for one in worlds[:2])
    assert first.same(second)
    assert all(b"XXX-XX-XXXX" in row.SerializeToString() for row in first.rows)
    # The predicate is the operator's: it goes by ages that the agent sees masked.
    young = [row for row in contents(*WORLDS[0])[0].rows if row[1] == "Ada" and row[4] < 50]
    assert len(first.rows) == len(young)


async def test_all_filters_of_a_table_hold(court: Court) -> None:
    text = await rewrite(court, "SELECT id FROM customers", (MINE, YOUNG))
    assert "(name = 'Ada') AND (age < 50)" in text


async def test_a_value_of_the_agent_stays_a_value(court: Court, worlds: list[World]) -> None:
    for value in ("' OR TRUE OR name = '", "\\' OR TRUE --", "'''", "x\n) OR (TRUE", "a\\", "`"):
        one = RowFilter(CUSTOMERS.id, "f", MINE.where, (("attributes.name", value),))
        text = await rewrite(court, "SELECT COUNT(*) FROM customers", (one,))
        assert run(worlds[0], text).rows[0].cell[0].int64_value == 0


async def test_groups_of_the_agent(court: Court, worlds: list[World]) -> None:
    for groups, count in ((("x", "Ada"), 3), ((), 0), (("Ada", "Bo"), 9)):
        one = RowFilter(
            CUSTOMERS.id, "f", "name IN UNNEST(agent.groups) # mine", (("groups", groups),)
        )
        text = await rewrite(court, "SELECT COUNT(*) FROM customers", (one,))
        assert run(worlds[0], text).rows[0].cell[0].int64_value == count


BAD = {
    "a) OR (b": "no single condition",
    "TRUE) UNION ALL SELECT 1 FROM t WHERE (TRUE": "no single condition",
    "TRUE) GROUP BY (1": "no single condition",
    "TRUE) LIMIT (1": "no single condition",
    "TRUE; SELECT 1": "Syntax error",
    "TRUE /*": "Unclosed comment|Syntax error|Unexpected",
    "id IN (SELECT 1)": "no subquery",
    "EXISTS (SELECT 1 FROM UNNEST(tags))": "no subquery",
    "name = @p": "parameter",
    "name = @@x.y": "variable",
    "RAND() > 0.5": "RAND",
    "GENERATE_UUID() = name": "GENERATE_UUID",
    "ERROR(name) IS NULL": "ERROR",
    "shop.f(name)": "routine `shop.f`",
}
BAD_FOR_THE_TABLE = {
    "name": "BOOL",
    "nope = 1": "Unrecognized name",
    "SESSION_USER() = name": "SESSION_USER",
    "COUNT(*) > 1": "Aggregate",
    "name = agent.attributes.region": "there is no `agent.attributes.region`",
    "name = agent": "there is no `agent`",
    "orders.note = 'x'": "Unrecognized name",
}


@pytest.mark.parametrize(("where", "words"), [*BAD.items(), *BAD_FOR_THE_TABLE.items()])
async def test_a_predicate_that_is_none_refuses(court: Court, where: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        await rewrite(court, "SELECT id FROM customers", (RowFilter(CUSTOMERS.id, "f", where),))
    assert "row filter `f`" in str(refused.value)


def test_what_needs_no_table_is_found_before_any_query() -> None:
    engine = Engine()
    found = problems(engine, Predicates((*BAD, *BAD_FOR_THE_TABLE, MINE.where))).found
    assert all(found[: len(BAD)])
    assert not found[-1]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE customers SET name = 'x' WHERE id = 1", "`UPDATE` might change others"),
        ("DELETE FROM customers WHERE id = 1", "`DELETE` might change others"),
        ("TRUNCATE TABLE customers", "might change others"),
        ("CREATE OR REPLACE TABLE customers AS SELECT 1 AS id", "might change others"),
        (
            "MERGE customers AS c USING orders AS o ON c.id = o.id WHEN MATCHED THEN DELETE",
            "`MERGE` might change others",
        ),
        ("CREATE TABLE shop.x CLONE shop.customers", "CREATE TABLE AS SELECT"),
        ("CREATE TABLE shop.x COPY shop.customers", "CREATE TABLE AS SELECT"),
        ("CREATE SNAPSHOT TABLE shop.x CLONE shop.customers", "CREATE TABLE AS SELECT"),
        ("ALTER TABLE customers RENAME COLUMN name TO other", "may be renamed"),
        ("BEGIN DELETE FROM customers WHERE id = 1; END", "might change others"),
    ],
)
async def test_statements_that_use_rows_without_reading_them_are_refused(
    court: Court, sql: str, words: str
) -> None:
    with pytest.raises(RefusedError, match=words):
        await rewrite(court, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO orders (id) SELECT id FROM customers",
        "UPDATE orders AS o SET note = c.name FROM customers AS c WHERE c.id = o.customer_id",
        "DELETE FROM orders WHERE customer_id IN (SELECT id FROM customers)",
        "MERGE orders AS o USING customers AS c ON c.id = o.id WHEN NOT MATCHED THEN INSERT (id) VALUES (c.id)",
        "CREATE TABLE shop.x AS SELECT * FROM customers",
        "CREATE OR REPLACE VIEW shop.v AS SELECT * FROM customers",
        "EXPORT DATA OPTIONS (uri = 'gs://b/*', format = 'CSV') AS SELECT * FROM customers",
        "DECLARE n INT64 DEFAULT (SELECT COUNT(*) FROM customers); SELECT n",
        "EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM customers'",
        "SELECT * FROM customers FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00+00'",
    ],
)
async def test_every_statement_that_reads_reads_filtered(court: Court, sql: str) -> None:
    text = await rewrite(court, sql)
    assert text.count("WHERE (name = ") + text.count("WHERE (name = \\'Ada") >= 1
    assert text.count("FROM customers") == 0


FILTERED = ProtectedTable(CUSTOMERS, {}, where="(name = 'Ada')").subquery()
ROW = "`acme-shop`.`shop`.`customers`"


@pytest.mark.parametrize(
    "forged",
    [
        "SELECT id FROM customers",
        f"SELECT id FROM ({FILTERED.removesuffix(' WHERE (name = ' + chr(39) + 'Ada' + chr(39) + ')')})",
        f"SELECT id FROM ({FILTERED} OR TRUE)",
        f"SELECT id FROM ({FILTERED.replace('Ada', 'Bo')})",
        f"SELECT id FROM ({ProtectedTable(CUSTOMERS, {}).subquery()})",
        f"SELECT id FROM ({ProtectedTable(CUSTOMERS, {}).subquery()} WHERE (name = 'Ada'))",
        f"SELECT id FROM ({FILTERED}) UNION ALL SELECT id FROM ({ProtectedTable(CUSTOMERS, {}).subquery()})",
        f"SELECT id FROM ({FILTERED}) LIMIT (SELECT COUNT(*) FROM {ROW})",
    ],
)
async def test_proof_insists_on_the_exact_filter(
    court: Court, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    sql = "SELECT id FROM customers"
    monkeypatch.setattr(task, "spliced", lambda *_: f"SELECT id FROM ({FILTERED})")
    await rewrite(court, sql)  # the honest form passes

    monkeypatch.setattr(task, "spliced", lambda *_: forged)
    with pytest.raises(RefusedError):
        await rewrite(court, sql)


async def test_agents_with_other_rows_never_share_a_cached_result(court: Court) -> None:
    texts = {
        await rewrite(
            court,
            "SELECT 1 FROM customers",
            (RowFilter(CUSTOMERS.id, "f", MINE.where, ((MINE.agent[0][0], name),)),),
        )
        for name in ("Ada", "ada", "Bo")
    }
    assert len(texts) == 3


async def test_a_filter_of_another_table_changes_nothing(court: Court) -> None:
    assert await rewrite(court, "SELECT id FROM orders") == "SELECT id FROM orders"
    hash_ = ColumnMask(ColumnRef(ORDERS.id, ("note",)), "l", KeyedHashMask())
    text = await rewrite(court, "SELECT note FROM orders", (MINE,), (hash_,))
    assert "Ada" not in text


def test_no_value_of_a_row_that_is_filtered_out_is_handed_on() -> None:
    """BigQuery may look at conditions in any order, and an error would tell what it saw."""
    masked = ProtectedTable(CUSTOMERS, {("ssn",): PatternMask("x")}, where="(p)").subquery()
    assert masked.count("IF((p), ") == len(CUSTOMERS.fields)
