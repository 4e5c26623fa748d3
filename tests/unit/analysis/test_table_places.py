from __future__ import annotations

import pytest

from keystile.analysis.resolve import ResolveRequest, resolve
from keystile.analysis.scope import Scope, SpelledTable
from keystile.googlesql.engine import Engine
from keystile.model.schema import Field, Table, TableId, TableKind

TABLE = Table(TableId("p", "d", "t"), TableKind.TABLE, (Field("a", "INT64"),), "1")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM «d.t»",
        "SELECT a FROM «`d` . /* in between */ `t`» AS x",
        "FROM «d.t»",
        "FROM «d.t» |> RENAME a AS b",
        "FROM «d.t» |> WHERE a > 0 |> EXTEND 1 AS b |> DROP a",
        "SELECT 1 AS a |> UNION ALL (FROM «d.t»), (FROM «d.t»)",
        "WITH c AS ((FROM «d.t»)) SELECT x.a FROM c AS x, (FROM «d.t» AS y |> RENAME a AS b)",
        "SELECT a FROM (FROM /* `d.t` */ «d.t») WHERE a IN (SELECT a FROM «d.t»)",
    ],
)
def test_every_read_has_the_place_of_its_path(engine: Engine, sql: str) -> None:
    text = sql.replace("«", "").replace("»", "")
    scope = Scope((SpelledTable(("d", "t"), TABLE),))

    scans = resolve(engine, ResolveRequest(text, scope)).scans

    marked = text
    for scan in reversed(scans):
        path = f"«{marked[scan.start : scan.end]}»"
        marked = f"{marked[: scan.start]}{path}{marked[scan.end :]}"
    assert marked == sql
