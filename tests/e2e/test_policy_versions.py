"""A policy is published while two gateways serve agents from one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
import requests
from google.api_core.exceptions import Forbidden
from tests.support.stack import PROJECT, Stack

from keystile.gate.policy_versions import Draft, PolicyVersions
from keystile.store.database import Database

QUERY = f"SELECT ssn FROM `{PROJECT}.shop.customers` ORDER BY id LIMIT 1"  # noqa: S608 - no input
MASKS = ("XXX-XX-XXXX", "NNN-NN-NNNN", "hidden")
SECONDS = 5.0


class Asked(NamedTuple):
    """A query: when it was sent, and which mask it had in its answer."""

    at: float
    mask: str


class Load:
    """An agent at each gateway that asks one query after the other until told to stop."""

    def __init__(self, stack: Stack, *urls: str) -> None:
        self.failures: list[str] = []
        self.asked: dict[str, list[Asked]] = {url: [] for url in urls}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(stack, url)) for url in urls]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, stack: Stack, url: str) -> None:
        client: Any = stack.client("reader", endpoint=url)
        while not self._stop.is_set():
            at = time.time()
            try:
                (row,) = client.query_and_wait(QUERY, retry=None, job_retry=None)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                self.failures.append(str(error))
            else:
                self.asked[url].append(Asked(at, row["ssn"]))

    def wait(self, mask: str) -> None:
        """Wait until every gateway has answered with a mask."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not self.failures:
            if all(any(one.mask == mask for one in asked) for asked in self.asked.values()):
                return
            time.sleep(0.05)
        raise AssertionError(self.failures or f"nobody answers with {mask}")

    def lag(self, mask: str, since: float) -> float:
        """Give how long after `since` a query was sent that was answered with an older mask."""
        every = [one for asked in self.asked.values() for one in asked]
        late = [one.at - since for one in every if one.mask != mask and one.at > since]
        return max(late, default=0.0)


def draft(stack: Stack, mask: str) -> Path:
    """Write the stack's policy with another mask of the numbers."""
    folder = stack.folder / f"draft-{mask}"
    folder.mkdir(exist_ok=True)
    for file in (stack.folder / "policy").glob("*.yaml"):
        if not file.name.endswith(".test.yaml"):
            text = file.read_text(encoding="utf-8").replace(MASKS[0], mask)
            (folder / file.name).write_text(text, encoding="utf-8")
    return folder


def publish(stack: Stack, mask: str) -> dict[str, Any]:
    """Publish it, and give its version."""
    done = stack.run("policy", "apply", str(draft(stack, mask)), "--message", f"now {mask}")
    assert done.returncode == 0, done.stderr
    newest: dict[str, Any] = stack.json("policy", "history")["versions"][0]
    assert newest["message"] == f"now {mask}"
    return newest


def published_events(stack: Stack) -> list[dict[str, Any]]:
    """Give what is on record of publications."""
    lines = (
        line
        for file in stack.recordings.glob("*/*.jsonl")
        for line in file.read_bytes().splitlines()
    )
    return [json.loads(one)["event"]["body"] for one in lines if b'"policy_published"' in one]


def test_a_version_holds_on_every_gateway_within_five_seconds_and_no_query_fails(
    own_stack: Stack,
) -> None:
    other = own_stack.start_replica()
    with Load(own_stack, own_stack.url, other) as load:
        load.wait(MASKS[0])
        lags = []
        for mask in MASKS[1:]:
            version = publish(own_stack, mask)
            load.wait(mask)
            time.sleep(1)
            lags.append(load.lag(mask, version["at"]))
    assert load.failures == []
    late = f"the last old decision {max(lags):.2f} s after publishing"
    print(f"{sum(map(len, load.asked.values()))} queries on two gateways; {late}")  # noqa: T201
    assert max(lags) < SECONDS
    known = own_stack.json("policy", "history")
    assert [one["version"] for one in known["versions"]] == [3, 2, 1]
    assert [one["version"] for one in known["gateways"]] == [3, 3]
    assert {one["digest"] for one in known["gateways"]} == {known["versions"][0]["digest"]}
    for url in (own_stack.url, other):
        assert "keystile_policy_version 3.0" in requests.get(f"{url}/metrics", timeout=30).text
    recorded = published_events(own_stack)
    assert sorted(one["version"] for one in recorded) == [1, 2, 3]
    assert {one["digest"] for one in recorded} == {one["digest"] for one in known["versions"]}


_DIES = """
import os, signal
from keystile.gate import policy_versions
add = policy_versions._add
async def dying(*given):
    await add(*given)
    os.kill(os.getpid(), signal.SIGKILL)
policy_versions._add = dying
from keystile.cli import main
main()
"""


def test_an_apply_that_is_killed_leaves_the_old_version_or_the_new_one(own_stack: Stack) -> None:
    publish(own_stack, MASKS[1])
    new = draft(own_stack, MASKS[2])
    arguments = ["policy", "apply", str(new), "-m", "killed", "--config", str(own_stack.config)]
    killed = subprocess.run(
        [sys.executable, "-c", _DIES, *arguments], capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert own_stack.json("policy", "history")["active"] == 2
    for delay in (0.5, 1.0, 1.5, 2.0, 2.5):
        process = subprocess.Popen(
            [sys.executable, "-m", "keystile", *arguments],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"NO_COLOR": "1"},
        )
        time.sleep(delay)
        process.kill()
        process.wait()
        known = own_stack.json("policy", "history")
        assert known["active"] in {2, 3}
        digests = {one["version"]: one["digest"] for one in known["versions"]}
        assert digests[known["active"]] != digests[1]
        (gateway,) = known["gateways"]
        assert gateway["problem"] == ""
    client: Any = own_stack.client("reader")
    (row,) = client.query_and_wait(QUERY)
    assert row["ssn"] in MASKS[1:]


def test_what_waits_for_a_person_is_decided_by_what_holds_when_it_is_released(
    own_stack: Stack,
) -> None:
    client: Any = own_stack.client("support")
    job = client.query(QUERY)
    deadline = time.monotonic() + 30
    while not (waiting := own_stack.waiting(client.session)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    folder = draft(own_stack, MASKS[1])
    (folder / "frozen.yaml").write_text(
        "rules:\n- {name: frozen, agents: {names: [support]}, deny: [read], message: not today}\n",
        encoding="utf-8",
    )
    done = own_stack.run("policy", "apply", str(folder), "--message", "freeze")
    assert done.returncode == 0, done.stderr
    time.sleep(2)
    own_stack.approve(waiting[0].id)
    with pytest.raises(Forbidden, match="not today"):
        job.result(timeout=60)


async def _publish_what_nobody_reads(database: Database) -> None:
    later = Draft({"rules.yaml": "of_later: 1"}, "d", "bob", "a word of a later release", "cli")
    await PolicyVersions(database).publish(later, expect=None, first=None)


def test_a_gateway_that_cannot_read_the_version_refuses_and_says_so(own_stack: Stack) -> None:
    publish(own_stack, MASKS[1])
    client: Any = own_stack.client("reader")
    assert list(client.query_and_wait(QUERY))
    own_stack.with_store(_publish_what_nobody_reads)
    deadline = time.monotonic() + SECONDS
    while (ready := requests.get(f"{own_stack.url}/readyz", timeout=30)).ok:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "unknown word `of_later`" in ready.json()["checks"]["policy"]
    with pytest.raises(Forbidden, match="cannot read version 3 of its policy"):
        client.query_and_wait(QUERY, retry=None, job_retry=None)
    rolled = own_stack.run("policy", "rollback", "2", "--message", "back")
    assert rolled.returncode == 0, rolled.stderr
    deadline = time.monotonic() + SECONDS
    while not requests.get(f"{own_stack.url}/readyz", timeout=30).ok:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (row,) = client.query_and_wait(QUERY)
    assert row["ssn"] == MASKS[1]
