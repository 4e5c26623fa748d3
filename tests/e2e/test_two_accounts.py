"""Two agents, two accounts at BigQuery, one gateway: each query runs under its agent's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api_core import exceptions
from tests.support.stack import PROJECT, Stack, standing

DEFAULT = "keystile@acme-shop.iam.gserviceaccount.com"
NARROW = "narrow@acme-shop.iam.gserviceaccount.com"
SLOW = "SELECT COUNT(*) AS n FROM shop.tickets a, shop.tickets b WHERE a.id + b.id > 0"
PAGED = "SELECT id FROM shop.customers ORDER BY id"
RAW = "SELECT ssn AS raw_one FROM shop.customers WHERE id = 1"
DENIED = (
    f"Access Denied: Table {PROJECT}:analytics.events: Permission bigquery.tables.get denied on"
    f" table {PROJECT}:analytics.events (or it may not exist)"
)


SHOP_ALONE = f"""
rules:
  - name: agents-read-the-shop
    resources: {{datasets: [{PROJECT}.shop]}}
    allow: [read]
"""


@contextmanager
def two_accounts(folder: Path, rules: str = "") -> Iterator[Stack]:
    """Let `support` run as an account that may read the dataset `shop` alone."""
    stack = Stack(folder, rules=rules)
    stack.account("narrow", NARROW)
    runs_as_narrow(stack, "support")
    with standing(stack):
        readers = [{"role": "OWNER", "userByEmail": DEFAULT}]
        kept_out = stack.upstream("datasets/analytics", method="PATCH", body={"access": readers})
        assert kept_out.status_code == 200, kept_out.text
        yield stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with two_accounts(tmp_path_factory.mktemp("accounts")) as stack:
        yield stack


def runs_as_narrow(stack: Stack, *agents: str) -> None:
    entry = {"name": "as-narrow", "agents": {"names": [*agents]}, "connection": "narrow"}
    text = yaml.safe_dump({"connections": [entry]})
    (stack.folder / "policy" / "connections.yaml").write_text(text)


def accounts(stack: Stack, sql_part: str) -> set[str]:
    """Give whose jobs BigQuery has that have this in their text, by its own account."""
    jobs = stack.upstream_jobs()
    return {job["user_email"] for job in jobs if sql_part in str(job["configuration"])}


def until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_query_runs_as_its_agents_account_and_gets_what_that_may_read(stack: Stack) -> None:
    reader, support = stack.client("reader"), stack.client("support")
    reader.query_and_wait("SELECT COUNT(id) AS of_reader FROM shop.customers")
    support.query_and_wait("SELECT COUNT(id) AS of_support FROM shop.customers")
    assert accounts(stack, "of_reader") == {DEFAULT}
    assert accounts(stack, "of_support") == {NARROW}
    (step,) = stack.steps(support.session)
    assert (step.runs_as.connection, step.runs_as.account) == ("narrow", NARROW)
    assert len([*reader.query_and_wait("SELECT * FROM analytics.events LIMIT 2")]) == 2
    with pytest.raises(exceptions.Forbidden) as caught:
        support.query_and_wait("SELECT * FROM analytics.events LIMIT 2")
    assert DENIED in caught.value.message
    for _, answer in stack.answers():
        assert b"narrow-key" not in answer
        assert b"key-1" not in answer


def test_what_was_begun_goes_on_as_the_account_it_began_with(stack: Stack) -> None:
    reader, support = stack.client("reader"), stack.client("support")
    running = reader.query(SLOW)
    until(lambda: accounts(stack, "tickets"))
    pages = reader.query(PAGED).result(page_size=50).pages
    shown = [*next(pages)]
    begun = support.query("SELECT COUNT(id) AS begun FROM shop.customers")
    begun.result()
    waiting = support.query(RAW)
    (asked,) = stack.waiting(support.session)
    stack.kill()
    runs_as_narrow(stack, "reader")
    stack.start_gateway()
    assert next(iter(running.result())).n > 0
    assert accounts(stack, "tickets") == {DEFAULT}
    assert len([*shown, *(row for page in pages for row in page)]) == 200
    assert next(iter(support.get_job(begun.job_id).result())).begun > 0
    assert accounts(stack, "begun") == {NARROW}
    reader.query_and_wait("SELECT COUNT(id) AS anew FROM shop.customers")
    assert accounts(stack, "anew") == {NARROW}
    # The account is part of what was approved: people are asked once more, about the new one.
    stack.approve(asked.id)
    until(lambda: [one for one in stack.waiting(support.session) if one.id != asked.id])
    (again,) = stack.waiting(support.session)
    stack.approve(again.id)
    (row,) = waiting.result()
    assert "X" not in row.raw_one
    assert accounts(stack, "raw_one") == {DEFAULT}


def test_what_policy_hides_looks_absent_whatever_the_account_may_read(tmp_path: Path) -> None:
    with two_accounts(tmp_path, SHOP_ALONE) as stack:
        for agent in ("reader", "support"):
            client, texts = stack.client(agent), set[str]()
            client.query_and_wait("SELECT COUNT(*) FROM shop.orders")
            for table in ("analytics.events", "analytics.others", "others.events"):
                with pytest.raises(exceptions.NotFound) as caught:
                    client.query_and_wait(f"SELECT * FROM {table}")  # noqa: S608 - no input
                texts.add(caught.value.message.partition("Location:")[0].replace(table, "it"))
            assert len(texts) == 1, texts
