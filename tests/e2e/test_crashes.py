"""`kill -9` at any moment: nothing accepted is lost, nothing runs twice or leaves unrecorded."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from tests.support.stack import Client, Stack

SLOW = "SELECT COUNT(*) AS n, {mark} AS mark FROM shop.customers, shop.tickets"
QUICK = "SELECT id, email, ssn, {mark} AS mark FROM shop.customers ORDER BY id LIMIT 7"
RAW = "SELECT ssn, {mark} AS mark FROM shop.customers WHERE id < 4 ORDER BY id"
KILLS = 5
_END_SECONDS = 120.0


class Asker(threading.Thread):
    """An agent that asks one query after the other, and keeps what came of each."""

    def __init__(
        self, stack: Stack, agent: str, texts: dict[int, str], *, at_once: bool = False
    ) -> None:
        """`at_once` asks by jobs.query, which is repeatable by `requestId`, else by jobs.insert."""
        super().__init__(daemon=True)
        self.ask = self.ask_at_once if at_once else self.ask_and_wait
        self.client: Client = stack.client(agent)
        self.texts = texts
        self.accepted: dict[int, str] = {}
        self.got: dict[int, list[tuple[Any, ...]]] = {}
        self.problems: list[str] = []

    def run(self) -> None:
        for mark, text in self.texts.items():
            try:
                self.ask(mark, text.format(mark=mark))
            except Exception as error:  # noqa: BLE001 - any of them fails the test, with its words
                self.problems.append(f"{mark}: {type(error).__name__} {error}")

    def ask_and_wait(self, mark: int, sql: str) -> None:
        job = self.client.query(sql)
        self.accepted[mark] = job.job_id
        self.got[mark] = [tuple(row) for row in job.result()]

    def ask_at_once(self, mark: int, sql: str) -> None:
        rows = self.client.query_and_wait(sql)
        self.accepted[mark] = rows.job_id
        self.got[mark] = [tuple(row) for row in rows]


def test_kills_at_random_moments_lose_nothing(own_stack: Stack) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    print(f"seed {seed}")  # noqa: T201 - to try a failure again
    chance = random.Random(seed)  # noqa: S311 - the same
    askers = [
        Asker(own_stack, "reader", dict.fromkeys(range(1000, 1010), QUICK)),
        Asker(own_stack, "reader", dict.fromkeys(range(2000, 2004), SLOW)),
        Asker(own_stack, "support", dict.fromkeys(range(3000, 3006), RAW)),
        Asker(own_stack, "reader", dict.fromkeys(range(6000, 6006), QUICK), at_once=True),
    ]
    over = threading.Event()
    approver = threading.Thread(target=approve_all, args=(own_stack, over, chance), daemon=True)
    for thread in (*askers, approver):
        thread.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 2.5))
        own_stack.kill()
        own_stack.start_gateway()
    deadline = time.monotonic() + _END_SECONDS
    for asker in askers:
        asker.join(max(0.0, deadline - time.monotonic()))
    over.set()
    approver.join()
    for asker in askers:
        assert asker.problems == []
        assert set(asker.got) == set(asker.texts)
        check_recorded(own_stack, asker)
    check_ran_once(own_stack, [mark for asker in askers for mark in asker.texts])
    assert own_stack.json("audit", "verify")["intact"]


def approve_all(stack: Stack, over: threading.Event, chance: random.Random) -> None:
    while not over.wait(chance.uniform(0.05, 0.5)):
        for request in stack.waiting():
            stack.approve(request.id)


def check_recorded(stack: Stack, asker: Asker) -> None:
    """Every row that the client got is in the recording, as it got it."""
    steps = {step.request["job_id"]: step for step in stack.steps(asker.client.session)}
    for mark, rows in asker.got.items():
        step = steps[asker.accepted[mark]]
        assert step.state == "done"
        assert [tuple(str(cell) for cell in row) for row in rows] == list(step.table)


def check_ran_once(stack: Stack, marks: list[int]) -> None:
    """BigQuery has exactly one job for each query, whoever asked how often."""
    texts = [job["configuration"]["query"]["query"] for job in stack.upstream_jobs()]
    for mark in marks:
        assert len([text for text in texts if str(mark) in text]) == 1


def test_kills_at_chosen_moments_lose_nothing(own_stack: Stack) -> None:
    stack = own_stack

    # While it waits for a person: it still waits, and can be approved.
    client = stack.client("support")
    waiting = client.query(RAW.format(mark=4000))
    restarted(stack)
    waiting.reload()
    assert waiting.state == "PENDING"
    (request,) = stack.waiting(client.session)

    # Right after the approval.
    stack.approve(request.id)
    restarted(stack)
    assert len(list(waiting.result(timeout=60))) == 3

    # While BigQuery runs it, and again while it is taken over.
    reader = stack.client("reader")
    running = reader.query(SLOW.format(mark=4001))
    until(lambda: upstream_has(stack, 4001))
    restarted(stack)
    restarted(stack)

    # After the record of the outcome, before the client has asked for the first row.
    done = reader.query(QUICK.format(mark=4002))
    until(done.done)
    restarted(stack)
    assert len(list(done.result(timeout=60))) == 7
    assert len(list(running.result(timeout=60))) == 1
    check_ran_once(stack, [4000, 4001, 4002])
    steps = (*stack.steps(client.session), *stack.steps(reader.session))
    assert [step.state for step in steps] == ["done", "done", "done"]


@pytest.mark.parametrize("after", ["dry run", "intent"])
def test_a_kill_while_bigquery_is_asked_loses_nothing(own_stack: Stack, after: str) -> None:
    stack = own_stack
    asker = Asker(stack, "reader", {5000: QUICK})
    list(asker.client.query_and_wait("SELECT id FROM shop.customers"))
    before = count_intents(stack)
    if after == "dry run":
        stack.pause("sandbox")
        asker.start()
        time.sleep(1.0)  # it is analysed by now and waits for the dry run
        assert count_intents(stack) == before
    else:
        asker.start()
        until(lambda: count_intents(stack) > before)
    stack.kill()
    if after == "dry run":
        stack.resume("sandbox")
    stack.start_gateway()
    asker.join(60)
    assert asker.problems == []
    assert len(asker.got[5000]) == 7
    check_recorded(stack, asker)
    check_ran_once(stack, [5000])


def count_intents(stack: Stack) -> int:
    files = stack.recordings.glob("*/*.jsonl")
    return sum(file.read_bytes().count(b'"kind":"intent"') for file in files)


def restarted(stack: Stack) -> None:
    stack.kill()
    stack.start_gateway()


def upstream_has(stack: Stack, mark: int) -> bool:
    jobs = stack.upstream_jobs()
    return any(str(mark) in job["configuration"]["query"]["query"] for job in jobs)


def until(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
