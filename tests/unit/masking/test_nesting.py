# ruff: noqa: E501, S608 - queries read best on one line, and are no injections here
"""Queries as long and as deep as people write work; deeper ones end in a clear refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prove.shop import DATASET, MASKS, PROJECT, Shop
from prove.trial import Court

from keystile.analysis.statement import Statement
from keystile.app import TASKS
from keystile.config.settings import EngineLimits
from keystile.googlesql.engine import Engine
from keystile.googlesql.pool import EnginePool
from keystile.masking.rewrite import Rewritten
from keystile.model.errors import InvalidQueryError, KeystileError, RefusedError


async def rewrite(court: Court, sql: str) -> Rewritten:
    analysed = await court.analyst.analyse(Statement(sql, PROJECT, DATASET), Shop())
    assert not analysed.facts.opaque
    return await court.rewriter.rewrite(analysed, MASKS)


def around(opening: str, core: str, closing: str, times: int) -> str:
    return opening * times + core + closing * times


WRITTEN = {
    "200 terms": f"SELECT {'||'.join(['ssn'] * 200)} AS x FROM customers",
    "100 CASEs": f"SELECT {around('CASE WHEN age > 1 THEN ', 'ssn', ' END', 100)} AS x FROM customers",
    "100 subqueries": f"SELECT * FROM {around('(SELECT * FROM ', 'customers', ')', 100)}",
    "200 CTEs": "WITH c0 AS (SELECT ssn FROM customers)"
    + "".join(f", c{n} AS (SELECT * FROM c{n - 1})" for n in range(1, 200))
    + " SELECT * FROM c199",
    "200 conditions": "SELECT ssn FROM customers WHERE "
    + " AND ".join(f"age <> {n}" for n in range(200)),
}


@pytest.mark.parametrize("name", WRITTEN)
async def test_what_people_write_is_masked(court: Court, name: str) -> None:
    assert "'XXX-XX-XXXX'" in (await rewrite(court, WRITTEN[name])).sql


HOSTILE = {
    "calls": f"SELECT {around('UPPER(', 'ssn', ')', 20_000)} FROM customers",
    "types": f"SELECT CAST(NULL AS {around('STRUCT<a ', 'INT64', '>', 20_000)})",
    "JSON": f"SELECT JSON '{'[' * 100_000}{']' * 100_000}'",
    "blocks": f"{'BEGIN ' * 20_000}SELECT 1;{'END;' * 20_000}",
    "semicolons": "; " * 50_000,
    "digits": f"SELECT {'9' * 90_000}",
    "NUL": "SELECT 1\0, 2 FROM customers",
    "half a character": "SELECT '\ud800'",
    "too long": f"SELECT 1 IN ({'1,' * 500_000}1)",
}


@pytest.fixture
async def away() -> AsyncIterator[Court]:
    """A court whose texts are read in a process of its own, as in service."""
    pool = EnginePool(EngineLimits(workers=1), TASKS)
    await pool.start()
    yield Court(pool, Engine())
    await pool.close()


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_nobody_writes_is_an_error_of_ours(away: Court, name: str) -> None:
    with pytest.raises((InvalidQueryError, RefusedError)) as caught:
        await rewrite(away, HOSTILE[name])
    assert len(str(caught.value)) < 3_000


PIECES = st.sampled_from(
    """
    SELECT * FROM customers WHERE ssn IN ( ) , ; ' " ` [ ] < > @ @@ |> AS UNNEST ARRAY STRUCT BEGIN
    END DECLARE x SET = EXECUTE IMMEDIATE MERGE UPDATE DELETE \0 \ufeff 😀 /* */ -- # $ { } 1e999 -1
    b'\\xff' r''' NULL OVER PARTITION BY WITH RECURSIVE UNION ALL CREATE TEMP
    """.split()  # noqa: SIM905 - words read better as a text
)


async def answered(court: Court, sql: str) -> int:
    """Give the status of the answer."""
    try:
        analysed = await court.analyst.analyse(Statement(sql, PROJECT, DATASET), Shop())
        await court.rewriter.rewrite(analysed, MASKS)
    except KeystileError as error:
        return error.http_status
    return 200


@settings(max_examples=40)
@given(st.lists(PIECES | st.text(max_size=6), max_size=25).map(" ".join))
def test_any_text_is_an_answer_or_an_error_of_ours(court: Court, sql: str) -> None:
    assert asyncio.run(answered(court, sql)) in {200, 400, 403, 404}


@settings(max_examples=40)
@given(st.sampled_from(sorted(WRITTEN)), st.integers(0, 500), st.integers(0, 60), PIECES)
def test_a_query_cut_and_patched_is_an_answer_or_an_error_of_ours(
    court: Court, name: str, start: int, size: int, patch: str
) -> None:
    sql = WRITTEN[name][:1000]
    patched = f"{sql[:start]} {patch} {sql[start + size :]}"
    assert asyncio.run(answered(court, patched)) in {200, 400, 403, 404}
