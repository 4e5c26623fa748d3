from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from keystile.gate.jobs import JobOutcome
from keystile.gate.result_tables import result_table
from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.schema import Field, TableId
from keystile.upstream.values import UpstreamQuery
from keystile.wire.read_sessions import SESSION_SECONDS, ReadRequest
from keystile.wire.requests import PageRequest
from keystile.wire.responses import JobFailedError
from keystile.wire.transfers import transfer_of

TABLE = TableId("acme-shop", "shop", "customers")
_PLACE = {"projectId": "acme-shop", "datasetId": "shop", "tableId": "customers"}
ALL = "SELECT * FROM `acme-shop`.`shop`.`customers`"


async def opened(bench: Any, replica: Any, *, who: str = "demo-agent", **more: Any) -> Any:
    asked = ReadRequest("acme-shop", more.pop("table", TABLE), **more)
    return await replica.reads.create(bench.principal(who), asked)


async def rows(bench: Any, replica: Any, name: str, start: int = 0, who: str = "demo-agent") -> Any:
    found = await replica.reads.rows(bench.principal(who), name, start)
    return [[cell["v"] for cell in json.loads(bytes(row))["f"]] for row in found]


def asked(bench: Any) -> list[str]:
    """Give the queries on record."""
    return [event.body["sql"] for event in bench.events if event.kind in {"intent", "refused"}]


def changed(name: str, **values: Any) -> str:
    """Write other things into a session's name."""
    before, _, token = name.rpartition("/")
    said = json.loads(base64.urlsafe_b64decode(token)) | values
    return f"{before}/{base64.urlsafe_b64encode(json.dumps(said).encode()).decode()}"


async def test_a_session_is_a_query_on_record_like_any_other(bench: Any, one: Any) -> None:
    session = await opened(bench, one)
    assert asked(bench) == [ALL]
    assert bench.bigquery.texts == [bench.rewritten]  # what the plan says, not what was asked
    assert (session.rows, [field.name for field in session.fields]) == (3, ["id"])
    assert await rows(bench, one, session.name) == [["0"], ["1"], ["2"]]
    assert await rows(bench, one, session.name, 2) == [["2"]]


async def test_rows_are_on_record_before_they_are_given(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes.FIRST_PAGE_ROWS", 1)
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 1)
    monkeypatch.setattr("keystile.gate.reading.FIRST_PAGE_ROWS", 1)
    session = await opened(bench, one)
    assert bench.kinds == ["intent", "outcome"]
    await rows(bench, one, session.name, 1)
    assert bench.kinds == ["intent", "outcome", "page"]
    await one.log.close()
    with pytest.raises(RefusedError):
        await rows(bench, one, session.name, 2)


async def test_a_condition_stands_in_the_query_that_is_decided_on(bench: Any, one: Any) -> None:
    await opened(bench, one, selected=("age", "NAME"), restriction="id = 1 -- x")
    columns = "SELECT `Name`, `age` FROM `acme-shop`.`shop`.`customers`"
    assert asked(bench) == [f"{columns} WHERE (id = 1 -- x\n)"]
    assert bench.conditions.looked_at == ["id = 1 -- x"]


async def test_a_condition_that_is_none_reaches_nothing(bench: Any, one: Any) -> None:
    bench.conditions.problem = "it is no single condition"
    with pytest.raises(InvalidRequestError, match="`row_restriction` is not served: it is no"):
        await opened(bench, one, restriction="TRUE) OR (TRUE")
    assert bench.kinds == []


async def test_columns_are_the_tables_own(bench: Any, one: Any) -> None:
    for odd in ("nobody", "age.part", "`", "id FROM x; --"):
        with pytest.raises(InvalidRequestError, match="no column"):
            await opened(bench, one, selected=(odd,))


async def test_a_session_goes_on_at_any_replica(bench: Any, one: Any) -> None:
    session = await opened(bench, one)
    await one.die()
    other = await bench.replica()
    assert await rows(bench, other, session.name, 1) == [["1"], ["2"]]
    again = await other.reads.session(bench.principal(), session.name)
    assert again == session


async def test_another_agents_session_is_absent_in_the_same_words(bench: Any, one: Any) -> None:
    session = await opened(bench, one)
    absent = changed(session.name, job="0" * 32)
    said = []
    for who, name in (("stranger", session.name), ("demo-agent", absent)):
        for ask in (one.reads.session(bench.principal(who), name), rows(bench, one, name, who=who)):
            with pytest.raises(NotFoundError) as error:
                await ask
            said.append(str(error.value).replace(name[:100], "NAME"))
    assert len(set(said)) == 1


@pytest.mark.parametrize(
    "values",
    [{"until": int(time.time()) - 1}, {"columns": "ff"}, {"columns": "x"}, {"more": 1}, {"job": 7}],
)
async def test_a_name_that_is_too_old_or_nobodys_is_absent(
    bench: Any, one: Any, values: dict[str, Any]
) -> None:
    session = await opened(bench, one)
    assert SESSION_SECONDS - 60 < session.expires - time.time() <= SESSION_SECONDS
    with pytest.raises(NotFoundError):
        await rows(bench, one, changed(session.name, **values))


@pytest.mark.parametrize("name", ["", "projects/p/locations/us/sessions/x", "x/sessions/e30="])
async def test_a_name_that_is_no_sessions_is_absent(bench: Any, one: Any, name: str) -> None:
    with pytest.raises(NotFoundError):
        await rows(bench, one, name)
    session = await opened(bench, one)
    with pytest.raises(NotFoundError):
        await rows(bench, one, session.name.replace("acme-shop", "other"))


async def test_a_result_is_read_by_its_name_without_another_query(bench: Any, one: Any) -> None:
    job = await one.query(bench.principal(), bench.request())
    session = await opened(bench, one, table=job.destination)
    assert await rows(bench, one, session.name) == [["0"], ["1"], ["2"]]
    assert len(bench.bigquery.started) == 1
    with pytest.raises(NotFoundError):
        await opened(bench, one, table=job.destination, who="stranger")
    with pytest.raises(InvalidRequestError, match="put the condition into the query"):
        await opened(bench, one, table=job.destination, restriction="id = 1")


async def test_columns_of_a_result_come_in_its_order(bench: Any, one: Any) -> None:
    job = bench.a_job()
    await one.jobs.add(job)
    fields = tuple(Field(name, "INT64") for name in ("a", "b", "c"))
    bench.bigquery.rows_of = [{"f": [{"v": "1"}, {"v": "2"}, {"v": "3"}]}]
    bench.bigquery._begin(UpstreamQuery(project="acme-shop", sql=""), job.upstream_id)
    outcome = JobOutcome(fields, 1, 10, cache_hit=False, recorded_rows=1)
    await one.jobs.finish(job, 9.0, error=None, outcome=outcome)
    session = await opened(bench, one, table=result_table(job), selected=("C", "a"))
    assert [field.name for field in session.fields] == ["a", "c"]
    assert await rows(bench, one, session.name) == [["1", "3"]]
    again = await one.reads.session(bench.principal(), session.name)
    assert again.fields == session.fields


async def test_a_load_has_no_rows_to_read(bench: Any, one: Any) -> None:
    session = await opened(bench, one)
    load = {"sourceUris": ["gs://in/a.csv"], "destinationTable": _PLACE}
    request = bench.request(transfer=transfer_of("acme-shop", "load", load))
    job = bench.a_job(request=request)
    await one.jobs.add(job)
    await one.jobs.finish(
        job, 9.0, error=None, outcome=JobOutcome((), 0, 0, cache_hit=False, recorded_rows=0)
    )
    with pytest.raises(NotFoundError):
        await rows(bench, one, changed(session.name, job=job.id))


async def test_a_read_that_needs_approval_waits_for_it(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.by_statement._WAIT_SECONDS", 0.05)
    bench.planner.ask_people()
    for _ in range(2):  # asking again asks nobody again
        with pytest.raises(RefusedError, match="waits for approval as job"):
            await opened(bench, one)
    assert bench.bigquery.started == []
    await bench.vote()
    await one.watch()
    assert (await opened(bench, one)).rows == 3
    assert len(bench.bigquery.started) == 1


async def test_what_a_query_would_be_refused_for_is_refused(bench: Any, one: Any) -> None:
    bench.planner.decide_fails = RefusedError("agents read no customers")
    with pytest.raises(RefusedError, match="agents read no customers"):
        await opened(bench, one)
    assert bench.kinds == ["refused"]


async def test_a_query_that_fails_says_why(bench: Any, one: Any) -> None:
    bench.bigquery.error = InvalidRequestError("division by zero")
    with pytest.raises(JobFailedError) as failed:
        await opened(bench, one)
    assert failed.value.error.message == "division by zero"


@pytest.mark.parametrize("name", ["customers$20240101", "customers@0", "custom*", "absent"])
async def test_what_is_no_plain_table_is_absent(bench: Any, one: Any, name: str) -> None:
    with pytest.raises(NotFoundError):
        await opened(bench, one, table=TableId("acme-shop", "shop", name))


async def test_a_view_is_not_read_as_in_bigquery(bench: Any, one: Any) -> None:
    with pytest.raises(InvalidRequestError, match="type VIEW"):
        await opened(bench, one, table=TableId("acme-shop", "shop", "view"))


async def test_rows_without_sql_over_http_are_the_same(bench: Any, one: Any) -> None:
    given = await one.gate.rows(bench.principal(), *_parts(), PageRequest())
    session = await opened(bench, one)
    assert [json.loads(bytes(row))["f"][0]["v"] for row in given.rows] == [
        row[0] for row in await rows(bench, one, session.name)
    ]


def _parts() -> tuple[str, str, str]:
    return TABLE.project, TABLE.dataset, TABLE.table
