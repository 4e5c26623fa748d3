"""Conditions on what a query reads, by the real client: refused, asked for, and asked for again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Stack, standing

RULES = """
rules:
  - {name: all, agents: {names: [reader, support]}, allow: [read, write, schema_change, script]}
  - {name: large, agents: {names: [reader]}, when: query.bytes > 100 * 1000, deny: [read]}
  - name: notes
    agents: {names: [support]}
    resources: {tables: [acme-shop.shop.notes]}
    require_approval: {from: [data-stewards]}
  - name: many-notes
    agents: {names: [support]}
    when: query.bytes > 1000
    require_approval: {from: [data-stewards]}
"""
NOTES = "SELECT id FROM shop.notes"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with standing(Stack(tmp_path_factory.mktemp("bytes"), rules=RULES)) as stack:
        yield stack


def grow(client: Any, rows: int) -> None:
    numbers = f"SELECT n FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n"  # noqa: S608 - a test's
    client.query_and_wait(f"INSERT INTO shop.notes (id) {numbers}")


def asked(stack: Stack, *rules: str) -> list[Any]:
    """Wait until exactly these rules wait for a person."""
    for _ in range(200):
        waiting = stack.waiting()
        if sorted(one.demand.rule for one in waiting) == sorted(rules):
            return waiting
        time.sleep(0.1)
    raise AssertionError([one.demand.rule for one in stack.waiting()])


def test_people_are_asked_again_where_a_query_has_grown_past_a_condition(stack: Stack) -> None:
    reader, support = stack.client("reader"), stack.client("support")
    reader.query_and_wait("CREATE TABLE shop.notes AS SELECT 1 AS id")
    job = support.query(NOTES)
    [request] = asked(stack, "notes")
    grow(reader, 500)
    stack.approve(request.id)
    several = asked(stack, "many-notes", "notes")
    assert all(one.summary.bytes == 501 * 8 for one in several)
    assert support.get_job(job.job_id).state != "DONE"
    for one in several:
        stack.approve(one.id)
    assert len(list(job.result(timeout=60))) == 501


def test_what_would_read_too_much_never_runs(stack: Stack) -> None:
    client = stack.client("reader")
    assert len(list(client.query_and_wait(NOTES))) == 501
    grow(client, 12_500)
    before = len(stack.upstream_jobs())
    for config in (None, bigquery.QueryJobConfig(dry_run=True)):
        with pytest.raises(exceptions.Forbidden, match=r"rule `large`.*would read 104\.008 KB"):
            client.query(NOTES, job_config=config)
    with pytest.raises(exceptions.Forbidden, match=r"not known before .*; send its statements one"):
        client.query(f"SELECT 1; {NOTES}")
    assert len(stack.upstream_jobs()) == before
    explained = stack.json(
        *("policy", "explain", "--agent", "reader", "--project", PROJECT, "--sql", NOTES)
    )
    assert (explained["effect"], explained["reasons"][0]["rule"]) == ("deny", "large")
    refused = [
        step
        for session in stack.sessions()
        for step in stack.steps(session)
        if step.state == "refused"
    ]
    assert [step.decision.effect for step in refused] == ["deny"] * 3
    assert [(step.rests_on.context or {})["bytes"] for step in refused] == [104_008, 104_008, None]
