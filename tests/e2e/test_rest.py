# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""Reading without SQL: tables, results, jobs, projects and routines by the real client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack, standing

CUSTOMERS = f"{PROJECT}.shop.customers"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: a person unlocks a whole column here, which others look for as a leak."""
    stack = Stack(tmp_path_factory.mktemp("rest"))
    with standing(stack):
        yield stack


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Client:
    client = stack.client("reader")
    client.query_and_wait("SELECT 1")
    return client


def test_a_listed_table_is_masked_as_a_query_of_it_is(stack: Stack, reader: Client) -> None:
    table = reader.get_table(CUSTOMERS)
    listed = [tuple(row) for row in reader.list_rows(table, page_size=64)]
    asked = [tuple(row) for row in reader.query_and_wait(f"SELECT * FROM `{CUSTOMERS}`")]
    assert sorted(map(str, listed)) == sorted(map(str, asked))
    assert len(listed) == 200
    assert "XXX-XX-XXXX" in listed[0]
    steps = [step for step in stack.steps(reader.session) if step.tables == (CUSTOMERS,)]
    assert [step.state for step in steps] == ["done", "done"]
    assert len(steps[0].rows) == 200
    assert steps[0].masked == steps[1].masked != ()


def test_chosen_columns_come_masked_in_the_order_of_the_schema(reader: Client) -> None:
    fields = {field.name: field for field in reader.get_table(CUSTOMERS).schema}
    chosen = [fields["id"], fields["ssn"]]
    rows = list(reader.list_rows(CUSTOMERS, selected_fields=chosen, max_results=3))
    assert [row.ssn for row in rows] == ["XXX-XX-XXXX"] * 3
    assert all(isinstance(row.id, int) for row in rows)


def test_times_are_listed_as_a_query_gives_them(reader: Client) -> None:
    listed = sorted(str(tuple(row)) for row in reader.list_rows(f"{PROJECT}.shop.orders"))
    asked = reader.query_and_wait(f"SELECT * FROM `{PROJECT}.shop.orders`")
    assert listed == sorted(str(tuple(row)) for row in asked)


@pytest.mark.parametrize("name", ["payroll.salaries", "shop.nothing"])
def test_a_hidden_table_is_listed_as_an_absent_one_is(reader: Client, name: str) -> None:
    schema = [bigquery.SchemaField("amount", "INTEGER")]
    with pytest.raises(exceptions.NotFound, match=rf"Table acme-shop:{name} was not found"):
        list(reader.list_rows(f"{PROJECT}.{name}", selected_fields=schema))


def test_a_listing_that_needs_approval_waits_until_somebody_has_approved(
    stack: Stack, customers: list[dict[str, Any]]
) -> None:
    client = stack.client("support")
    schema = [bigquery.SchemaField("ssn", "STRING")]

    def listed() -> list[str]:
        return [row[0] for row in client.list_rows(CUSTOMERS, selected_fields=schema)]

    with ThreadPoolExecutor(1) as pool:
        rows = pool.submit(listed)
        deadline = time.monotonic() + 30
        while not (waiting := stack.waiting(client.session)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        stack.approve(waiting[0].id)
        assert sorted(rows.result()) == sorted(customer["ssn"] for customer in customers)
    (step,) = stack.steps(client.session)
    assert step.approvers == ("operator",)


def test_a_result_has_a_table_that_its_owner_alone_can_read(stack: Stack, reader: Client) -> None:
    job = reader.query(f"SELECT id, ssn FROM `{CUSTOMERS}` ORDER BY id LIMIT 3")
    job.result()
    table = reader.get_table(job.destination)
    assert [field.name for field in table.schema] == ["id", "ssn"]
    assert [row.ssn for row in reader.list_rows(table)] == ["XXX-XX-XXXX"] * 3
    stranger = stack.client("stranger")
    for read in (stranger.get_table, lambda at: list(stranger.list_rows(at, table.schema))):
        with pytest.raises(exceptions.NotFound):
            read(job.destination)
    sql = f"SELECT ssn FROM `{job.destination}`"
    assert [row.ssn for row in reader.query_and_wait(sql)] == ["XXX-XX-XXXX"] * 3
    with pytest.raises(exceptions.NotFound):
        stranger.query_and_wait(sql)
    with pytest.raises(exceptions.Forbidden):
        reader.query_and_wait(f"DROP TABLE `{job.destination}`")


def test_an_agent_lists_its_own_jobs_alone(stack: Stack, reader: Client) -> None:
    job = reader.query("SELECT 41 + 1")
    job.result()
    mine = list(reader.list_jobs(all_users=True, state_filter="done"))
    assert job.job_id in [one.job_id for one in mine]
    assert {one.user_email for one in mine} == {"reader"}
    assert len(list(reader.list_jobs(page_size=1))) == len(list(reader.list_jobs()))
    assert list(reader.list_jobs(parent_job=job)) == []
    stranger = stack.client("stranger")
    assert "reader" not in {one.user_email for one in stranger.list_jobs(all_users=True)}
    with pytest.raises(exceptions.NotFound):
        list(stranger.list_jobs(parent_job=job))


def test_the_projects_and_routines_that_policy_shows_are_listed(
    stack: Stack, reader: Client
) -> None:
    assert [one.project_id for one in reader.list_projects()] == [PROJECT]
    made = "CREATE OR REPLACE FUNCTION shop.twice(x INT64) AS (2 * x)"
    body = {"query": made, "useLegacySql": False}
    answer = requests.post(
        f"{stack.sandbox_url}/bigquery/v2/projects/{PROJECT}/queries",
        json=body,
        headers={"Authorization": f"Bearer {stack.bearer()}"},
        timeout=30,
    )
    assert answer.ok, answer.text
    (routine,) = reader.list_routines(f"{PROJECT}.shop")
    told = reader.get_routine(routine.reference)
    assert [(one.name, one.data_type.type_kind) for one in told.arguments] == [("x", "INT64")]
    assert told.body is None
    with pytest.raises(exceptions.NotFound):
        list(reader.list_routines(f"{PROJECT}.payroll"))
    assert list(reader.list_models(f"{PROJECT}.shop")) == []
    with pytest.raises(exceptions.NotFound):
        list(reader.list_models(f"{PROJECT}.payroll"))


def test_what_is_not_served_says_so(reader: Client) -> None:
    for refused in (
        lambda: reader.delete_job_metadata("x"),
        lambda: reader.get_iam_policy(CUSTOMERS),
        lambda: reader.get_model(f"{PROJECT}.shop.m"),
    ):
        with pytest.raises(exceptions.Forbidden, match="is not served by this gateway"):
            refused()
