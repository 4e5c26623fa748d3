from __future__ import annotations

import pytest

from keystile.analysis.scope import Scope, SpelledTable
from keystile.googlesql.engine import Engine
from keystile.masking.moved import MoveRequest, Place, moved
from keystile.model.schema import Field, Table, TableId, TableKind

NAMED = TableId("acme-shop", "_ours", "anon1")
AT = TableId("acme-shop", "_theirs", "anon2")
ORDERS = TableId("acme-shop", "shop", "orders")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def table(id_: TableId) -> Table:
    fields = (Field("id", "INT64"), Field("total", "FLOAT64"))
    return Table(id_, TableKind.TABLE, fields, "e1")


SCOPE = Scope(
    (
        SpelledTable(("acme-shop", "_ours", "anon1"), table(NAMED)),
        SpelledTable(("shop", "orders"), table(ORDERS)),
    )
)
OURS, THEIRS = "`acme-shop`._ours.anon1", "`acme-shop`.`_theirs`.`anon2`"


def move(engine: Engine, sql: str) -> str:
    return moved(engine, MoveRequest(sql, SCOPE, (Place(NAMED, AT),))).sql


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT id FROM {}", "SELECT id FROM {} AS `anon1`"),
        ("SELECT anon1.id FROM {}", "SELECT anon1.id FROM {} AS `anon1`"),
        ("SELECT t.id FROM {} AS t", None),
        ("SELECT t.id FROM {} t JOIN shop.orders USING (id)", None),
        ("WITH w AS (SELECT * FROM {} AS t) SELECT COUNT(*) FROM w", None),
        ("SELECT (SELECT MAX(total) FROM {} AS t) FROM shop.orders", None),
        ("FROM {} |> WHERE id > 1 |> SELECT id", "FROM {} AS `anon1` |> WHERE id > 1 |> SELECT id"),
        ("SELECT a.id FROM {0} AS a, {0} AS b", None),
        ("SELECT 'x' AS said FROM {} AS t", None),
    ],
)
def test_only_the_name_of_the_table_changes(engine: Engine, sql: str, wanted: str | None) -> None:
    given = sql.replace("{0}", OURS).replace("{}", OURS)
    expected = (wanted or sql).replace("{0}", THEIRS).replace("{}", THEIRS)
    assert move(engine, given) == expected


def test_a_query_that_reads_other_tables_stays_as_it_is(engine: Engine) -> None:
    assert move(engine, "SELECT id FROM shop.orders") == "SELECT id FROM shop.orders"
