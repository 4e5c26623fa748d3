"""What the proof passes over in a tree holds nothing that it looks for."""

from __future__ import annotations

from typing import Any

import pytest

from keystile.analysis.holding import Holding
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.protos import analyzer_options, builtin_catalog, type_proto, unwrapped
from keystile.masking.masked_reads import TO_CHANGE, normal
from keystile.masking.messages import held_messages, messages
from keystile.masking.proof import TELLING
from keystile.model.schema import SqlType

QUERIES = [
    "SELECT a, UPPER(b) FROM t WHERE s.x = 1 ORDER BY RANK() OVER (PARTITION BY b ORDER BY a)",
    "SELECT ARRAY(SELECT AS STRUCT u.a, (SELECT MAX(b) FROM t WHERE a = u.a) m FROM t u) FROM t",
    "WITH w AS (SELECT s FROM t) SELECT w.s.x, COUNT(*) FROM w GROUP BY ROLLUP (1)",
    "SELECT * FROM t PIVOT (SUM(a) FOR b IN ('x', 'y'))",
    "SELECT ARRAY_TRANSFORM([a], e -> e + s.x), CAST(b AS DATE FORMAT 'YYYY') FROM t",
    "UPDATE t SET b = (SELECT MIN(b) FROM t v WHERE v.a = t.a), s.x = 2 WHERE a IN (SELECT 1)",
    "MERGE t USING (SELECT * FROM t) n ON t.a = n.a WHEN MATCHED THEN UPDATE SET b = n.b",
    "SELECT a FROM t TABLESAMPLE SYSTEM (10 PERCENT) |> AGGREGATE COUNT(*) GROUP BY a",
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def resolved(engine: Engine, sql: str) -> Any:
    catalog = builtin_catalog(engine)
    table = catalog.table.add(name="t")
    inner = SqlType("STRUCT", fields=(("x", SqlType("INT64")),))
    for name, kind in (("a", SqlType("INT64")), ("b", SqlType("STRING")), ("s", inner)):
        table.column.add(name=name, type=type_proto(kind), is_writable_column=True)
    request = service.AnalyzeRequest(
        options=analyzer_options(engine),
        registered_catalog_id=engine.registered(catalog),
        sql_statement=sql,
    )
    answer = engine.call("Analyze", request, service.AnalyzeResponse)
    return unwrapped(answer.resolved_statement)


def found(passing: Any, holding: Holding) -> list[str]:
    names = holding._names
    return sorted(
        f"{name} {message}" for message in passing if (name := message.DESCRIPTOR.name) in names
    )


@pytest.mark.parametrize("sql", QUERIES)
@pytest.mark.parametrize("holding", [TELLING, TO_CHANGE], ids=["telling", "to change"])
def test_nothing_that_is_looked_for_is_passed_over(
    engine: Engine, sql: str, holding: Holding
) -> None:
    tree = resolved(engine, sql)
    assert found(held_messages(tree, holding), holding) == found(messages(tree), holding) != []
    passed = len([*held_messages(tree, holding)])
    assert passed < len([*messages(tree)])


def test_equal_queries_have_one_normal_form_wherever_they_stand(engine: Engine) -> None:
    one, other = (resolved(engine, sql) for sql in ("SELECT a, b FROM t", "SELECT  a,  b FROM  t"))
    assert normal(one) == normal(other)
    assert normal(one) != normal(resolved(engine, "SELECT b, a FROM t"))
