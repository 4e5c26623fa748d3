# ruff: noqa: E501 - queries read best on one line
"""Pseudo columns of masked tables: what they choose and show is what they would without masks."""

from __future__ import annotations

import pytest
from prove.evaluator import Answer, Content, World, runnable
from prove.shop import DATASET, ORDERS, PROJECT, world
from prove.trial import Court
from prove.worlds import SchemaSource

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking import task
from keystile.model.decision import ColumnMask
from keystile.model.errors import RefusedError
from keystile.model.masks import PatternMask
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind

VISITS = Table(
    TableId(PROJECT, DATASET, "visits"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("ssn", "STRING"), Field("place", "STRING")),
    "1",
    pseudo_columns=(Field("_PARTITIONDATE", "DATE"), Field("_FILE_NAME", "STRING")),
)
LOG = Table(
    TableId(PROJECT, DATASET, "log"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("text", "STRING")),
    "1",
    pseudo_columns=(Field("_PARTITIONDATE", "DATE"),),
)
VIEW = Table(
    TableId(PROJECT, DATASET, "recent"),
    TableKind.VIEW,
    (Field("id", "INT64"), Field("ssn", "STRING"), Field("place", "STRING"), Field("d", "DATE")),
    "1",
    "SELECT *, _PARTITIONDATE AS d FROM `shop.visits` WHERE _PARTITIONDATE > '2024-01-02'",
)
TABLES = (ORDERS, VISITS, LOG)
MASK = ColumnMask(ColumnRef(VISITS.id, ("ssn",)), "pii", PatternMask("X"))
FIRST_DAY = 19723  # 2024-01-01 in days since 1970


def contents(secret: str) -> list[Content]:
    visits = [
        (n, None if n == 2 else f"{secret}{n}", "ab"[n % 2], FIRST_DAY + n % 4, f"f{n % 3}")
        for n in range(8)
    ]
    log = [(n, f"t{n}", FIRST_DAY + n % 3) for n in range(4)]
    return [world(1)[1], Content(VISITS, visits), Content(LOG, log)]


class Bench:
    def __init__(self, runner: InlineRunner, engine: Engine) -> None:
        self.analyst = Analyst(runner, 262_144)
        self.source = SchemaSource((*TABLES, VIEW))
        # Of the last world nothing is masked: it holds what masks make of the others.
        self.worlds = [World(engine, contents(secret)) for secret in ("a", "b")]
        masked = contents("")
        for row in masked[1].rows:
            masked[1].rows[masked[1].rows.index(row)] = (row[0], row[1] and "X", *row[2:])
        self.masked = World(engine, masked)

    async def rewritten(self, court: Court, sql: str) -> str:
        analysed = await self.analyst.analyse(Statement(sql, PROJECT, DATASET), self.source)
        return (await court.rewriter.rewrite(analysed, (MASK,))).sql

    def run(self, one: World, sql: str) -> Answer:
        return one.run(runnable(sql, TABLES))


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(InlineRunner(), Engine())


SERVED = [
    "SELECT * FROM visits WHERE _PARTITIONDATE = '2024-01-02'",
    "SELECT *, _PARTITIONDATE AS d FROM visits ORDER BY _PARTITIONDATE DESC, id",
    "SELECT _partitiondate AS d, ssn FROM visits WHERE _file_name = 'f1'",
    "SELECT _PARTITIONDATE, COUNT(*) FROM visits GROUP BY _PARTITIONDATE ORDER BY 1",
    "SELECT _PARTITIONDATE, COUNT(*) FROM visits GROUP BY 1 HAVING COUNT(*) > 1",
    "SELECT * EXCEPT (id), v._FILE_NAME AS f FROM visits AS v",
    "SELECT * REPLACE (UPPER(ssn) AS ssn) FROM visits WHERE _FILE_NAME = 'f0'",
    "SELECT * EXCEPT (place) REPLACE (1 AS id) FROM visits WHERE _FILE_NAME = 'f0'",
    "SELECT v.* FROM visits AS v WHERE v._PARTITIONDATE > '2024-01-02'",
    "SELECT V.* EXCEPT (id) FROM visits AS v WHERE _PARTITIONDATE > '2024-01-02'",
    "SELECT * FROM visits AS a JOIN visits AS b USING (id) WHERE a._PARTITIONDATE = b._PARTITIONDATE",
    "SELECT * FROM visits AS v JOIN log AS l ON v._PARTITIONDATE = l._PARTITIONDATE ORDER BY v.id, l.id",
    "SELECT l.*, v.ssn FROM log AS l LEFT JOIN visits AS v ON l._PARTITIONDATE < v._PARTITIONDATE",
    "SELECT * FROM visits, orders WHERE orders.id = visits.id AND _FILE_NAME = 'f2'",
    "SELECT COUNT(*) FROM visits WHERE _PARTITIONDATE IN (SELECT _PARTITIONDATE FROM log)",
    "SELECT (SELECT MAX(w._PARTITIONDATE) FROM visits AS w WHERE w.place = v.place) FROM visits AS v",
    "SELECT id FROM log AS l WHERE EXISTS (SELECT * FROM visits AS v WHERE v._PARTITIONDATE = l._PARTITIONDATE)",
    "WITH v AS (SELECT *, _PARTITIONDATE AS d FROM visits) SELECT * FROM v WHERE d > '2024-01-02'",
    "SELECT * FROM (SELECT * FROM visits WHERE _PARTITIONDATE > '2024-01-02') ORDER BY id",
    "SELECT id FROM visits WHERE _FILE_NAME = 'f0' UNION ALL SELECT id FROM log WHERE _PARTITIONDATE IS NULL",
    "SELECT id, RANK() OVER (PARTITION BY _PARTITIONDATE ORDER BY id) FROM visits",
    "SELECT DISTINCT * FROM visits WHERE _PARTITIONDATE IS NOT NULL",
    "SELECT (SELECT AS STRUCT v.*) AS s FROM visits AS v WHERE v._PARTITIONDATE > '2024-01-01'",
    "SELECT * FROM recent",
    "SELECT r.ssn, v._FILE_NAME AS f FROM recent AS r JOIN visits AS v ON v._PARTITIONDATE = r.d",
    "FROM visits |> WHERE _PARTITIONDATE > '2024-01-02' |> SELECT id, ssn",
    "FROM visits |> AGGREGATE COUNT(*) AS n GROUP BY _PARTITIONDATE |> SELECT n",
]


@pytest.mark.parametrize("sql", SERVED)
async def test_rows_are_those_of_the_query_apart_from_masks(
    bench: Bench, court: Court, sql: str
) -> None:
    text = await bench.rewritten(court, sql)
    shown = runnable(sql, TABLES)
    if "recent" in sql:
        shown = shown.replace("FROM recent", f"FROM ({VIEW.view_query}) AS recent", 1)
        shown = shown.replace("AS recent AS r", "AS r").replace("`shop.visits`", "visits")

    first, second = (bench.run(one, text) for one in bench.worlds)

    assert not first.error
    assert first.same(second)
    expected = bench.masked.run(shown)
    assert expected.rows, "nothing is shown, so nothing is compared"
    assert sorted(first.columns) == sorted(expected.columns)
    assert first.same(expected)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT v FROM visits AS v WHERE _PARTITIONDATE IS NULL",
        "SELECT TO_JSON_STRING(v) FROM visits AS v WHERE _PARTITIONDATE IS NOT NULL",
        "FROM visits |> WHERE _PARTITIONDATE IS NOT NULL",
        "SELECT v.id FROM visits AS v JOIN log USING (_PARTITIONDATE)",
        "WITH v AS (SELECT 1 AS _PARTITIONDATE FROM visits) SELECT _PARTITIONDATE FROM v",
        "DELETE FROM log WHERE _PARTITIONDATE IN (SELECT _PARTITIONDATE FROM visits)",
    ],
)
async def test_what_would_change_the_query_is_refused_with_the_way_out(
    bench: Bench, court: Court, sql: str
) -> None:
    with pytest.raises(RefusedError, match="in a subquery beside"):
        await bench.rewritten(court, sql)


async def test_a_star_that_gains_a_column_is_found_out(
    bench: Bench, court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody would see it: in a subquery that another column is taken from."""
    sql = "SELECT COUNT(DISTINCT TO_JSON_STRING(x)) FROM (SELECT * FROM visits WHERE _FILE_NAME > '') AS x"
    honest = await bench.rewritten(court, sql)
    forged = honest.replace("* EXCEPT (keystile_file_name, keystile_partitiondate)", "*")
    assert forged != honest

    monkeypatch.setattr(task, "spliced", lambda *_: forged)
    with pytest.raises(RefusedError, match="in a subquery beside"):
        await bench.rewritten(court, sql)


async def test_without_a_mention_they_are_not_read(bench: Bench, court: Court) -> None:
    assert "_PARTITIONDATE" not in await bench.rewritten(court, "SELECT * FROM visits")
