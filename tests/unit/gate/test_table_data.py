from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.wire.requests import PageRequest
from keystile.wire.responses import JobFailedError

PLACE = ("acme-shop", "shop", "customers")
ALL = "SELECT * FROM `acme-shop`.`shop`.`customers`"


async def rows(bench: Any, replica: Any, *, who: str = "demo-agent", **page: Any) -> Any:
    return await replica.gate.rows(bench.principal(who), *PLACE, PageRequest(**page))


def asked(bench: Any) -> list[str]:
    """Give the queries on record."""
    return [event.body["sql"] for event in bench.events if event.kind in {"intent", "refused"}]


async def test_listing_a_table_is_a_query_on_record_like_any_other(bench: Any, one: Any) -> None:
    given = await rows(bench, one)
    assert [json.loads(bytes(row))["f"][0]["v"] for row in given.rows] == ["0", "1", "2"]
    assert given.job.total_rows == 3
    assert bench.kinds == ["intent", "outcome"]
    assert asked(bench) == [ALL]
    assert bench.bigquery.texts == [bench.rewritten]  # what the plan says, not what was asked


async def test_columns_come_in_the_order_of_the_schema(bench: Any, one: Any) -> None:
    await rows(bench, one, selected_fields=("age", "name"))
    assert asked(bench) == ["SELECT `Name`, `age` FROM `acme-shop`.`shop`.`customers`"]
    for odd in ("nobody", "age.part", "`", "id FROM x; --"):
        with pytest.raises(InvalidRequestError, match="no column"):
            await rows(bench, one, selected_fields=(odd,))


async def test_a_table_without_columns_has_no_rows(bench: Any, one: Any) -> None:
    plain = bench.bigquery.table

    async def bare(id_: Any) -> Any:
        return msgspec.structs.replace(await plain(id_), fields=())

    bench.bigquery.table = bare
    given = await rows(bench, one)
    assert given is None
    assert bench.events == []
    with pytest.raises(InvalidRequestError, match="no column"):
        await rows(bench, one, selected_fields=("id",))
    bench.policy = "rules: [{name: r, allow: [read], resources: {datasets: [acme-shop.other]}}]"
    with pytest.raises(NotFoundError):
        await rows(bench, one)


async def test_pages_are_of_one_result(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.reading.FIRST_PAGE_ROWS", 2)
    first = await rows(bench, one)
    second = await rows(bench, one, page_token=first.page_token)
    assert (len(first.rows), len(second.rows), second.page_token) == (2, 1, "")
    assert len(bench.bigquery.started) == 1
    assert len((await rows(bench, one, start_index=2)).rows) == 1
    assert (await rows(bench, one, max_results=0)).rows == ()


async def test_a_page_token_is_good_for_its_agent_and_its_listing(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.reading.FIRST_PAGE_ROWS", 2)
    token = (await rows(bench, one)).page_token
    for more in ({"who": "stranger"}, {"selected_fields": ("id",)}):
        with pytest.raises(InvalidRequestError, match="another table or other columns"):
            await rows(bench, one, page_token=token, **more)
    query = await one.query(bench.principal(), bench.request())
    page = PageRequest(page_token=token)
    with pytest.raises(InvalidRequestError, match="another job"):
        await one.gate.results(bench.principal(), "acme-shop", query.job_id, page)


async def test_what_a_query_would_be_refused_for_is_refused(bench: Any, one: Any) -> None:
    bench.planner.decide_fails = RefusedError("agents read no customers")
    with pytest.raises(RefusedError, match="agents read no customers"):
        await rows(bench, one)
    assert bench.kinds == ["refused"]


async def test_a_hidden_table_is_absent_and_leaves_no_trace(bench: Any, one: Any) -> None:
    bench.policy = "rules: [{name: r, allow: [read], resources: {datasets: [acme-shop.other]}}]"
    said = []
    for place in (PLACE, ("acme-shop", "other", "absent")):
        with pytest.raises(NotFoundError) as error:
            await one.gate.rows(bench.principal(), *place, PageRequest())
        said.append(str(error.value).replace(f"{place[1]}.{place[2]}", "NAME"))
    assert said[0] == said[1]
    assert bench.bigquery.started == []


@pytest.mark.parametrize("name", ["customers$20240101", "customers@0", "custom*"])
async def test_a_decorated_name_names_no_table(bench: Any, one: Any, name: str) -> None:
    with pytest.raises(NotFoundError):
        await one.gate.rows(bench.principal(), "acme-shop", "shop", name, PageRequest())


async def test_a_view_is_not_listed_in_bigquerys_words(bench: Any, one: Any) -> None:
    with pytest.raises(InvalidRequestError, match="Cannot list a table of type VIEW"):
        await one.gate.rows(bench.principal(), "acme-shop", "shop", "view", PageRequest())


async def test_a_listing_that_needs_approval_waits_for_it(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.by_statement._WAIT_SECONDS", 0.05)
    bench.planner.ask_people()
    for _ in range(2):  # asking again asks nobody again
        with pytest.raises(RefusedError, match="waits for approval as job"):
            await rows(bench, one)
    assert bench.kinds == ["intent", "approval_requested"]
    assert bench.bigquery.started == []
    await bench.vote()
    await one.watch()
    assert len((await rows(bench, one)).rows) == 3
    assert len(bench.bigquery.started) == 1


async def test_a_listing_that_was_denied_stays_denied_for_a_while(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.by_statement._WAIT_SECONDS", 0.05)
    bench.planner.ask_people()
    with pytest.raises(RefusedError):
        await rows(bench, one)
    await bench.vote(approve=False, comment="no")
    await one.watch()
    with pytest.raises(JobFailedError) as denied:
        await rows(bench, one)
    assert "denied by `operator`: no" in denied.value.error.message
    monkeypatch.setattr("keystile.gate.by_statement._KEPT_SECONDS", 0)
    with pytest.raises(RefusedError, match="waits for approval"):
        await rows(bench, one)


async def test_one_agents_approval_is_no_other_agents(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.by_statement._WAIT_SECONDS", 0.05)
    bench.planner.ask_people()
    with pytest.raises(RefusedError):
        await rows(bench, one)
    await bench.vote()
    await one.watch()
    with pytest.raises(RefusedError, match="waits for approval"):
        await rows(bench, one, who="stranger")


async def test_a_listing_without_approval_sees_what_has_changed(bench: Any, one: Any) -> None:
    await rows(bench, one)
    bench.bigquery.rows_of.append({"f": [{"v": "3"}]})
    assert len((await rows(bench, one)).rows) == 4


async def test_the_rows_of_a_result_are_listed_for_its_owner_alone(bench: Any, one: Any) -> None:
    job = await one.query(bench.principal(), bench.request())
    table = job.destination
    place = (table.project, table.dataset, table.table)
    told = await one.gate.table(bench.principal(), *place)
    assert (told["numRows"], told["tableReference"]["tableId"]) == ("3", table.table)
    page = PageRequest(max_results=2, selected_fields=("ID",))
    given = await one.gate.rows(bench.principal(), *place, page)
    assert [json.loads(bytes(row)) for row in given.rows] == bench.bigquery.rows_of[:2]
    rest = await one.gate.rows(
        bench.principal(), *place, msgspec.structs.replace(page, page_token=given.page_token)
    )
    assert len(rest.rows) == 1
    assert len(bench.bigquery.started) == 1
    said = []
    for name in (table.table, "anon0"):
        for ask in (
            one.gate.table(bench.principal("stranger"), *place[:2], name),
            one.gate.rows(bench.principal("stranger"), *place[:2], name, PageRequest()),
        ):
            with pytest.raises(NotFoundError) as error:
                await ask
            said.append(str(error.value).replace(name, "NAME"))
    assert len(set(said)) == 1


async def test_a_result_tells_whether_it_is_more_than_a_page(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes.FIRST_PAGE_ROWS", 2)
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 2)
    job = await one.query(bench.principal(), bench.request())
    assert (job.total_rows, job.several_pages) == (3, True)
    monkeypatch.setattr("keystile.gate.outcomes.FIRST_PAGE_ROWS", 3)
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 3)
    assert not (await one.query(bench.principal(), bench.request())).several_pages
