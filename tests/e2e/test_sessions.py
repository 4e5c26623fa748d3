# ruff: noqa: S608 - the statements are built of this file's own words
"""Sessions by the real client: what one query leaves, later ones of the same agent go on from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack, standing

POLICY = """
rules:
  - name: sitters
    agents: {names: [support, reader]}
    resources: {datasets: [acme-shop.lab, acme-shop.shop]}
    allow: [read]
  - name: sitters-have-sessions
    agents: {names: [support, reader]}
    allow: [session, script]
  - name: sitters-write
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab]}
    allow: [write, schema_change]
  - name: raw-names-need-people
    agents: {names: [support]}
    when: query.touches("pii.ssn")
    require_approval: {from: [data-stewards], count: 1, expires: 30m, unmask: [pii.ssn]}
"""
CUSTOMERS = f"{PROJECT}.shop.customers"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose agents may have sessions."""
    with standing(Stack(tmp_path_factory.mktemp("sessions"), rules=POLICY)) as stack:
        yield stack


class Session:
    """A session of one client, begun by a query."""

    def __init__(self, client: Client, sql: str = "SELECT 1") -> None:
        self.client = client
        config = bigquery.QueryJobConfig(create_session=True)
        self.first = client.query(sql, job_config=config)
        self.first.result()
        self.id = self.first.session_info.session_id

    def query(self, sql: str, **more: Any) -> list[tuple[Any, ...]]:
        return values(self.job(sql, **more).result())

    def job(self, sql: str, who: Client | None = None, **more: Any) -> Any:
        same = [bigquery.ConnectionProperty("session_id", self.id)]
        config = bigquery.QueryJobConfig(connection_properties=same, **more)
        return (who or self.client).query(sql, job_config=config)


def values(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows]


def test_what_a_query_leaves_the_next_one_finds(stack: Stack) -> None:
    session = Session(stack.client("reader"), "CREATE TEMP TABLE kept AS SELECT 42 AS x")
    assert session.first.statement_type == "CREATE_TABLE_AS_SELECT"
    job = session.job("SELECT x FROM kept")
    assert values(job.result()) == [(42,)]
    assert (job.statement_type, job.session_info.session_id) == ("SELECT", session.id)
    session.query("INSERT INTO kept (x) VALUES (43)")
    assert sorted(session.query("SELECT x FROM _SESSION.kept")) == [(42,), (43,)]
    session.query("CREATE TEMP FUNCTION twice(n INT64) AS (2 * n);")
    assert session.query("SELECT SUM(twice(x)) FROM kept -- all of it") == [(170,)]
    assert session.query("SELECT COUNT(*) FROM kept WHERE x = @x", **asked("x", 42)) == [(1,)]
    session.query("DROP TABLE kept")
    with pytest.raises(exceptions.BadRequest, match="kept"):
        session.query("SELECT x FROM kept")


def asked(name: str, value: int) -> dict[str, Any]:
    return {"query_parameters": [bigquery.ScalarQueryParameter(name, "INT64", value)]}


def test_what_a_session_holds_is_masked(stack: Stack) -> None:
    reader = stack.client("reader")
    session = Session(reader, f"CREATE TEMP TABLE kept AS SELECT id, ssn AS s FROM {CUSTOMERS}")
    found = session.query("SELECT s FROM kept")
    assert found
    assert {row[0] for row in found} == {"XXX-XX-XXXX"}
    joined = f"SELECT DISTINCT s = ssn FROM kept JOIN {CUSTOMERS} USING (id)"
    assert session.query(joined) == [(True,)]
    step = stack.steps(reader.session)[-1]
    assert step.request["session"] == session.id


def test_variables_stay(stack: Stack) -> None:
    session = Session(stack.client("reader"), "DECLARE n INT64 DEFAULT 7")
    assert session.query("SELECT n") == [(7,)]
    session.query("SET n = n + 1")
    assert session.query("SELECT n") == [(8,)]


def test_another_agents_session_is_as_if_absent(stack: Stack) -> None:
    session = Session(stack.client("reader"), "CREATE TEMP TABLE kept AS SELECT 42 AS x")
    other = stack.client("support")
    said = []
    for id_ in (session.id, "0" * len(session.id)):
        same = [bigquery.ConnectionProperty("session_id", id_)]
        config = bigquery.QueryJobConfig(connection_properties=same)
        job = other.query("SELECT x FROM kept", job_config=config)
        with pytest.raises(exceptions.NotFound) as error:
            job.result()
        (problem,) = error.value.errors
        said.append(problem["message"].replace(id_, "ID"))
    assert said[0] == said[1]
    assert session.query("SELECT x FROM kept") == [(42,)]


def test_people_unlock_nothing_for_a_session(stack: Stack) -> None:
    support = stack.client("support")
    with pytest.raises(exceptions.Forbidden, match="for which a session does not wait"):
        Session(support, f"CREATE TEMP TABLE kept AS SELECT ssn FROM {CUSTOMERS}")
    assert stack.waiting(support.session) == []


def test_a_session_ends_where_it_is_not_known_what_it_holds(stack: Stack) -> None:
    session = Session(stack.client("reader"), "CREATE TEMP TABLE kept AS SELECT 42 AS x")
    with pytest.raises(exceptions.BadRequest):
        session.query("SELECT 1 / (x - 42) FROM kept")
    assert session.query("SELECT x FROM kept") == [(42,)]  # that one can have left nothing
    with pytest.raises(exceptions.BadRequest):
        session.query("CREATE TEMP TABLE more AS SELECT 1 AS y; SELECT ERROR('no')")
    with pytest.raises(exceptions.Forbidden, match="it is not known what is there"):
        session.query("SELECT x FROM kept")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("BEGIN TRANSACTION", "transaction"),
        ("SELECT @@row_count", "system variable"),
        ("SET @@time_zone = 'UTC'", "not understood"),
        ("CALL BQ.ABORT_SESSION()", "not understood"),
    ],
)
def test_what_is_not_followed_is_refused(stack: Stack, sql: str, said: str) -> None:
    session = Session(stack.client("reader"))
    with pytest.raises(exceptions.Forbidden, match=said):
        session.query(sql)
    assert session.query("SELECT 1") == [(1,)]


def test_a_dry_run_in_a_session_leaves_nothing(stack: Stack) -> None:
    session = Session(stack.client("reader"), "CREATE TEMP TABLE kept AS SELECT 42 AS x")
    job = session.job("CREATE TEMP TABLE more AS SELECT x FROM kept", dry_run=True)
    assert job.state == "DONE"
    with pytest.raises(exceptions.BadRequest, match="more"):
        session.query("SELECT * FROM more")
    config = bigquery.QueryJobConfig(create_session=True, dry_run=True)
    with pytest.raises(exceptions.Forbidden, match="`dryRun` begins no session"):
        session.client.query("SELECT 1", job_config=config)


DIES = """
import os, signal
from keystile.cli import main
from keystile.gate.job_store import JobStore

add = JobStore.add

async def dies(self, job, *more):
    if "-- before" in job.request.sql:
        os.kill(os.getpid(), signal.SIGKILL)
    kept = await add(self, job, *more)
    if "-- after" in job.request.sql:
        os.kill(os.getpid(), signal.SIGKILL)
    return kept

JobStore.add = dies
main()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_session_was_busy_for_good_after_a_kill_on_the_way_in(
    tmp_path_factory: pytest.TempPathFactory, when: str
) -> None:
    stack = Stack(tmp_path_factory.mktemp("dies"), rules=POLICY, planted=DIES)
    with standing(stack):
        session = Session(stack.client("support"), "CREATE TEMP TABLE t AS SELECT 1 AS x")
        same = [bigquery.ConnectionProperty("session_id", session.id)]
        config = bigquery.QueryJobConfig(connection_properties=same)
        alone: dict[str, Any] = {"retry": None, "job_retry": None, "timeout": 10}
        with pytest.raises((exceptions.GoogleAPICallError, requests.ConnectionError)):
            session.client.query(f"SELECT x -- {when}\nFROM t", config, **alone)
        stack.kill()  # it is dead already
        stack.start_gateway()
        assert free_again(session) == [(1,)]


def free_again(session: Session) -> list[tuple[Any, ...]]:
    """Ask until the job that the kill has left is over, which another takes on after its lease."""
    for _ in range(60):
        try:
            return session.query("SELECT x FROM t")
        except exceptions.Forbidden:
            time.sleep(1)
    raise AssertionError("the session stays busy")
