"""A disabled agent is out on every replica within five seconds, and so is what it left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import Client, Stack

SLOW = "SELECT COUNT(*) AS n FROM shop.customers a, shop.tickets b, shop.tickets c, shop.tickets d"
RAW = "SELECT ssn FROM shop.customers WHERE id = 1"
SECONDS = 5.0


def wait_for(holds: Callable[[], Any], seconds: float = 30.0) -> float:
    """Wait until something holds, and give how long that took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds
        time.sleep(0.05)
    return time.monotonic() - started


def slow_ones(stack: Stack) -> list[str]:
    """Give the states of the slow queries that BigQuery has, by its own account."""
    jobs = stack.upstream_jobs()
    return [job["status"]["state"] for job in jobs if "tickets" in str(job["configuration"])]


def is_out(client: Client) -> bool:
    """Ask once, and tell whether the answer is that the agent is disabled."""
    client.seen.clear()
    with suppress(exceptions.GoogleAPICallError):
        client.query_and_wait("SELECT 1", retry=None, job_retry=None)
    (*_, last) = client.seen
    return last.status == 403 and "is disabled" in last.text


def test_calls_end_on_every_replica_and_running_jobs_are_cancelled(own_stack: Stack) -> None:
    stack, other = own_stack, own_stack.start_replica()
    clients = [stack.client("support"), stack.client("support", endpoint=other)]
    for client in clients:
        client.query_and_wait("SELECT 1")
    waiting = clients[1].query(RAW)
    assert waiting.state == "PENDING"
    running = [client.query(SLOW) for client in clients]
    wait_for(lambda: slow_ones(stack).count("RUNNING") == 2)
    at = stack.disable("support")
    out = [wait_for(lambda client=client: is_out(client)) for client in clients]
    stopped = wait_for(lambda: set(slow_ones(stack)) == {"DONE"})
    took = time.monotonic() - at
    print(f"out after {out}, stopped after {stopped}, all in {took:.1f} s")  # noqa: T201
    assert took < SECONDS
    assert stack.waiting() == []
    stack.client("reader").query_and_wait("SELECT 1")
    left = stack.json("agent", "show", "support")[0]
    assert (left["running"], left["waiting"], left["approvals"]) == ([], [], [])
    ended = [step for client in clients for step in stack.steps(client.session)]
    by_job = {step.request["job_id"]: step for step in ended}
    assert [by_job[job.job_id].state for job in (*running, waiting)] == ["cancelled"] * 3
    assert "was disabled by" in by_job[waiting.job_id].error.message


def test_it_works_while_bigquery_does_not_answer(own_stack: Stack) -> None:
    stack, other = own_stack, own_stack.start_replica()
    clients = [stack.client("reader"), stack.client("reader", endpoint=other)]
    for client in clients:
        client.query_and_wait("SELECT 1")
    clients[0].query(SLOW)
    wait_for(lambda: slow_ones(stack) == ["RUNNING"])
    stack.pause("sandbox")
    try:
        at = stack.disable("reader")
        # Rounds pass in which nothing is answered; what is let in until then waits for BigQuery.
        time.sleep(4)
        assert all(is_out(client) for client in clients)
        assert time.monotonic() - at < SECONDS
    finally:
        stack.resume("sandbox")
    wait_for(lambda: slow_ones(stack) == ["DONE"])


def test_a_waiting_call_of_a_disabled_agent_ends_with_the_reason(own_stack: Stack) -> None:
    client, said = own_stack.client("support"), list[str]()

    def ask() -> None:
        with pytest.raises(exceptions.Forbidden) as error:
            client.query(RAW).result(retry=None)
        said.append(str(error.value))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: own_stack.waiting(client.session))
    done = own_stack.run("agent", "disable", "support")
    assert done.returncode == 0, done.stderr
    asking.join(30)
    assert "disabled" in said[0]


def test_the_replica_that_carries_a_job_may_be_dead(own_stack: Stack) -> None:
    stack, other = own_stack, own_stack.start_replica()
    client = stack.client("reader", endpoint=other)
    job = client.query(SLOW)
    wait_for(lambda: slow_ones(stack) == ["RUNNING"])
    stack.kill("replica")
    at = stack.disable("reader")
    wait_for(lambda: slow_ones(stack) == ["DONE"])
    assert time.monotonic() - at < SECONDS
    wait_for(lambda: [s.state for s in stack.steps(client.session)] == ["cancelled"], 60)
    assert job.job_id


def test_a_session_at_bigquery_ends_with_its_agent(own_stack: Stack) -> None:
    stack, client = own_stack, own_stack.client("support")
    config = bigquery.QueryJobConfig(create_session=True)
    client.query("SELECT 1", job_config=config).result()
    (begun,) = [
        job["statistics"]["sessionInfo"]["sessionId"]
        for job in stack.upstream_jobs()
        if "sessionInfo" in job["statistics"] and "createSession" in str(job["configuration"])
    ]

    def in_it(sql: str) -> int:
        same = [{"key": "session_id", "value": begun}]
        body = {"query": sql, "useLegacySql": False, "connectionProperties": same}
        return stack.upstream("queries", method="POST", body=body).status_code

    assert in_it("SELECT 1") == 200
    at = stack.disable("support")
    wait_for(lambda: in_it("SELECT 1") == 404)
    assert time.monotonic() - at < SECONDS
    aborts = [job for job in stack.upstream_jobs() if "ABORT_SESSION" in str(job["configuration"])]
    assert [job["status"].get("errorResult") for job in aborts] == [None]
