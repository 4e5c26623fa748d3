from __future__ import annotations

import pytest
from bench.sets import queries

from keystile.analysis.parsing import _paths, statement_tree
from keystile.analysis.table_paths import table_paths
from keystile.analysis.tree import descendants
from keystile.googlesql.engine import Engine

PLAIN = (
    "SELECT 1",
    "SELECT * FROM shop.customers AS c JOIN p.shop.orders AS o ON c.id = o.id",
    "SELECT * FROM `p.shop.orders`, Shop.orders, shop.Orders",
    "SELECT (SELECT MAX(a) FROM x.y WHERE y.b = z.b) FROM x.z, UNNEST(z.items) AS i",
    "WITH a AS (SELECT * FROM t), b AS (SELECT * FROM a) SELECT * FROM A, b, c, d.a",
    "WITH a AS (SELECT * FROM a1) SELECT * FROM (SELECT * FROM a) AS x, s.a1",
    "SELECT * FROM d.t FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP() TABLESAMPLE SYSTEM (1 PERCENT)",
    "SELECT * FROM d.t PIVOT (SUM(x) FOR y IN (1)) UNION ALL SELECT * FROM d.u",
    "SELECT * FROM d.t WHERE x IN (SELECT y FROM e.u) QUALIFY ROW_NUMBER() OVER () = 1",
    "SELECT ARRAY(SELECT x FROM UNNEST(t.xs) AS x) FROM my-project.d.t AS t",
)
ASK = (
    "SELECT * FROM d.t AS d, d.items",
    "SELECT * FROM customers, customers.orders",
    "SELECT (SELECT 1 FROM T.items) FROM d.t",
    "WITH t AS (SELECT * FROM t) SELECT * FROM t",
    "WITH b AS (SELECT * FROM a), a AS (SELECT 1) SELECT * FROM b",
    "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a",
    "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a), a",
    "WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b) SELECT * FROM a, b",
    "WITH a AS (SELECT [1] AS xs) SELECT * FROM a, a.xs",
    "FROM d.t |> JOIN d.u ON TRUE",
    "SELECT * FROM d.f(TABLE e.t)",
    "SELECT * FROM ML.PREDICT(MODEL d.m, TABLE d.t)",
    "TABLE d.t",
    "INSERT INTO d.t SELECT * FROM d.u",
    "DROP TABLE d.t",
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def seen(engine: Engine, sql: str) -> tuple[tuple[str, ...], ...] | None:
    tree = statement_tree(engine, sql)
    return table_paths(tree, descendants(tree))


@pytest.mark.parametrize("sql", PLAIN)
def test_what_is_plain_is_what_the_engine_says(engine: Engine, sql: str) -> None:
    assert seen(engine, sql) == _paths(engine, sql)


@pytest.mark.parametrize("sql", ASK)
def test_what_may_be_read_in_two_ways_is_for_the_engine(engine: Engine, sql: str) -> None:
    assert seen(engine, sql) is None


@pytest.mark.parametrize("name", ["reports", "adversarial"])
def test_most_queries_that_people_write_are_plain(engine: Engine, name: str) -> None:
    found = {query: seen(engine, query.sql) for query in queries(name)}
    plain = {query: paths for query, paths in found.items() if paths is not None}
    assert len(plain) > len(found) * 0.8
    for query, paths in plain.items():
        assert paths == _paths(engine, query.sql), query.name
