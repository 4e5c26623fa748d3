from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate.own_jobs import OwnJobs
from keystile.gate.own_tables import OwnTables
from keystile.gate.result_tables import own_dataset, result_table
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.schema import Field, TableId
from keystile.upstream.values import Account
from keystile.wire.requests import PageRequest

PROJECT = "acme-shop"


@pytest.fixture
def tables(bench: Any) -> OwnTables:
    return OwnTables(OwnJobs(bench.database))


def named(owner: str, table: str = "frame") -> TableId:
    return TableId(PROJECT, own_dataset(owner, PROJECT), table)


async def queried(bench: Any, one: Any, who: str = "demo-agent") -> str:
    """Have an agent's query end well; gives the agent's key."""
    principal = bench.principal(who)
    await one.gate.query(principal, bench.request(), PageRequest())
    return str(principal.key)


async def test_each_owners_name_leads_elsewhere(bench: Any, one: Any, tables: OwnTables) -> None:
    mine, theirs = await queried(bench, one), await queried(bench, one, "stranger")
    places = [
        (await tables.place(owner, bench.bigquery, named(owner, table))).at
        for owner in (mine, theirs)
        for table in ("frame", "other")
    ]
    assert len(set(places)) == 4
    assert {at.dataset for at in places} == {"_hidden"}  # where BigQuery keeps results
    assert all(at.table.startswith("keystile_") for at in places)
    again = (await tables.place(mine, bench.bigquery, named(mine))).at
    assert again == places[0]


async def test_nobody_is_led_to_anothers(bench: Any, one: Any, tables: OwnTables) -> None:
    mine, theirs = await queried(bench, one), await queried(bench, one, "stranger")
    for id_ in (
        named(theirs),
        TableId(PROJECT, "_hidden", "frame"),
        TableId("other", named(mine).dataset, "frame"),
        TableId(PROJECT, "shop", "frame"),
    ):
        assert not tables.may_be(mine, id_)
        assert await tables.table(mine, bench.bigquery, id_) is None
        with pytest.raises(NotFoundError):
            await tables.place(mine, bench.bigquery, id_)


@pytest.mark.parametrize("name", ["anon", "anonymous", "a$1", "a@1", "a*", "_a", "a b", "a.b", ""])
async def test_only_plain_names_are_names(
    bench: Any, one: Any, tables: OwnTables, name: str
) -> None:
    owner = await queried(bench, one)
    assert not tables.may_be(owner, named(owner, name))


async def test_a_result_is_no_such_table(bench: Any, tables: OwnTables) -> None:
    job = bench.a_job()
    assert not tables.may_be(job.principal.key, result_table(job))


async def test_without_a_result_nobody_knows_where_it_lies(
    bench: Any, one: Any, tables: OwnTables
) -> None:
    owner = bench.principal().key
    with pytest.raises(RefusedError, match="run any query first"):
        await tables.place(owner, bench.bigquery, named(owner))
    await queried(bench, one)
    bench.bigquery.jobs.clear()  # BigQuery has forgotten it
    with pytest.raises(RefusedError, match="run any query first"):
        await tables.place(owner, bench.bigquery, named(owner))


async def test_results_that_lie_where_policy_rules_lead_nowhere(
    bench: Any, one: Any, tables: OwnTables
) -> None:
    owner, plain = await queried(bench, one), bench.bigquery.wait

    async def written(job: Any, timeout_seconds: float, *, rows: int = 0) -> Any:
        status = await plain(job, timeout_seconds, rows=rows)
        return msgspec.structs.replace(status, result=TableId(PROJECT, "shop", "customers"))

    bench.bigquery.wait = written
    with pytest.raises(RefusedError):
        await tables.place(owner, bench.bigquery, named(owner))


async def test_its_columns_are_those_that_it_has_now(
    bench: Any, one: Any, tables: OwnTables
) -> None:
    owner, asked = await queried(bench, one), list[TableId]()

    async def get_table(id_: TableId) -> dict[str, Any]:
        asked.append(id_)
        if len(asked) > 1:
            raise NotFoundError("BigQuery's own words")
        return {"schema": {"fields": [{"name": "a", "type": "INTEGER"}]}}

    bench.bigquery.get_table = get_table
    found = await tables.table(owner, bench.bigquery, named(owner))
    assert found
    assert (found[0].id, found[0].fields, found[1]) == (
        named(owner),
        (Field("a", "INT64"),),
        asked[0],
    )
    assert await tables.table(owner, bench.bigquery, named(owner)) is None


async def test_what_one_account_keeps_is_not_looked_for_by_another(
    bench: Any, one: Any, tables: OwnTables
) -> None:
    owner = await queried(bench, one)
    bench.bigquery.account = Account("other", "other@acme-shop.iam.gserviceaccount.com")
    with pytest.raises(RefusedError, match="run any query first"):
        await tables.place(owner, bench.bigquery, named(owner))
