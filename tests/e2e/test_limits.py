"""Limits by the real client, over two gateways on one store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Stack, standing

LEAST = 10 << 20
"""What BigQuery bills for a query of one small table."""

RULES = """
rules:
  - {name: read, agents: {names: [reader, support, hurried, modest]}, allow: [read]}
  - {name: scripts, agents: {names: [reader]}, allow: [script]}
  - {name: budget, agents: {names: [reader]}, limits: {bytes_per_day: 80MiB}}
  - {name: rate, agents: {names: [hurried]}, limits: {queries_per_minute: 3}}
  - name: once
    agents: {names: [support]}
    limits: {bytes_per_month: 1TB, concurrent_queries: 1}
  - name: rows
    agents: {names: [modest]}
    limits: {rows_per_query: 50, bytes_per_query: 15MiB}
"""
SQL = "SELECT id FROM shop.orders ORDER BY id LIMIT 60"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose agents each have a limit of another kind."""
    with standing(Stack(tmp_path_factory.mktemp("limits"), rules=RULES)) as stack:
        yield stack


def sent(stack: Stack) -> list[Any]:
    """Give the bounds of all queries that BigQuery ran."""
    queries = [job["configuration"]["query"] for job in stack.upstream_jobs()]
    return [int(query["maximumBytesBilled"]) for query in queries]


def test_two_gateways_spend_one_budget_and_no_more(stack: Stack) -> None:
    clients = [stack.client("reader"), stack.client("reader", endpoint=stack.start_replica())]
    done: list[int] = []
    refused: list[str] = []

    def ask(client: bigquery.Client) -> None:
        for _ in range(6):
            try:
                done.append(len(list(client.query_and_wait(SQL))))
            except exceptions.Forbidden as error:
                refused.append(error.errors[0]["reason"] + error.message)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # A reservation may be more than what is billed, so that the last ones take turns.
    while not refused and len(done) < 8:
        ask(clients[0])
    assert set(done) == {60}
    assert len(done) <= 8
    assert all(text.startswith("quotaExceeded") for text in refused)
    assert "`bytes_per_day` of rule `budget` is" in refused[-1]
    [budget] = stack.json("limits", "--agent", "reader")
    assert budget["bytes_per_day"]["used"] == len(done) * LEAST
    while budget["bytes_per_day"]["left"]:  # what demand allows is spent to the last byte
        assert len(list(clients[1].query_and_wait(SQL))) == 60
        [budget] = stack.json("limits", "--agent", "reader")
    assert budget["bytes_per_day"]["used"] == 8 * LEAST
    with pytest.raises(exceptions.Forbidden, match="0 B are left; it resets at"):
        clients[0].query_and_wait(SQL)
    with pytest.raises(exceptions.Forbidden, match="loop"):
        clients[0].query("LOOP SELECT 1; END LOOP")
    assert all(most <= 8 * LEAST for most in sent(stack))


def test_clients_send_again_by_themselves_what_comes_too_often(stack: Stack) -> None:
    client = stack.client("hurried")
    for _ in range(3):
        client.query_and_wait("SELECT 1")
    with pytest.raises(exceptions.Forbidden) as refused:
        client.query("SELECT 1", retry=None, job_retry=None)
    assert refused.value.errors[0]["reason"] == "rateLimitExceeded"
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60
    begun = time.monotonic()
    assert len(list(client.query_and_wait("SELECT 1"))) == 1
    assert time.monotonic() - begun < 120


def test_rows_beyond_the_limit_are_refused_and_never_left_out(stack: Stack) -> None:
    client = stack.client("modest")
    assert len(list(client.query_and_wait(SQL.replace("60", "50")))) == 50
    with pytest.raises(
        exceptions.Forbidden, match=r"has 60 rows, and `rows_per_query`.*`LIMIT 50`"
    ):
        list(client.query_and_wait(SQL))
    job = client.query(SQL)
    assert len(list(job.result(max_results=50))) == 50
    with pytest.raises(exceptions.Forbidden, match="rows_per_query"):
        job.to_arrow(create_bqstorage_client=False)
    table = f"{PROJECT}.shop.customers"
    assert len(list(client.list_rows(table, max_results=20))) == 20
    with pytest.raises(exceptions.Forbidden, match="rows_per_query"):
        list(client.list_rows(table))


def test_a_query_that_is_too_large_never_runs_and_tells_no_masked_size(stack: Stack) -> None:
    client = stack.client("modest")
    both = "SELECT o.id FROM shop.orders AS o JOIN analytics.events AS c ON c.customer_id = o.id"
    masked = "SELECT o.id FROM shop.orders AS o JOIN shop.customers AS c ON c.id = o.id"
    # Two small tables are billed twice ten mebibytes, which the bound at BigQuery refuses.
    with pytest.raises(exceptions.GoogleAPICallError, match="billed") as refused:
        client.query_and_wait(both)
    assert str(20 << 20) in str(refused.value)
    with pytest.raises(exceptions.GoogleAPICallError, match="billed") as refused:
        client.query_and_wait(masked)
    assert str(20 << 20) not in str(refused.value)
    assert 15 << 20 in sent(stack)


def test_a_killed_gateway_leaves_no_part_of_a_budget_taken(stack: Stack) -> None:
    client, slow = stack.client("support"), "SELECT COUNT(*) FROM shop.orders, analytics.events"
    before = len(sent(stack))
    running = client.query(slow)
    while len(sent(stack)) == before:
        time.sleep(0.05)
    stack.kill()
    stack.start_gateway()
    assert len(list(running.result(timeout=60))) == 1
    [budget] = stack.json("limits", "--agent", "support")
    assert budget["bytes_per_month"]["used"] == running.total_bytes_billed > 0
    assert budget["concurrent_queries"]["left"] == 1
    assert len(list(client.query_and_wait(SQL, retry=None, job_retry=None))) == 60


def test_where_no_limit_is_the_gateways_own_bound_holds(stack: Stack) -> None:
    list(stack.client("support").query_and_wait(SQL))
    assert max(sent(stack)) <= 1 << 40
    client = stack.client("hurried")
    client.query("SELECT 1").result()
    assert 1 << 40 in sent(stack)
