"""A key is replaced, and the old one revoked at BigQuery, while agents go on asking."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives import serialization
from google.cloud import bigquery
from google.cloud.bigquery import client as bigquery_client
from tests.support.google import write_key_file
from tests.support.stack import PROJECT, Stack

from keystile.identity.agents import Agents

ACCOUNT = "keystile@acme-shop.iam.gserviceaccount.com"
QUERY = f"SELECT id FROM `{PROJECT}.shop.customers` ORDER BY id LIMIT 3"  # noqa: S608 - no input
AGENTS = ("reader", "support", "hurried")
RULES = """
rules:
  - name: askers
    agents: {groups: [coding-agents]}
    resources: {datasets: [acme-shop.shop]}
    allow: [read]
  - name: loaders
    agents: {names: [loader]}
    resources: {datasets: [acme-shop.lab]}
    allow: [read, write, schema_change]
"""
CHUNK = 256 << 10
"""The smallest that the protocol knows; the client's own are larger than what tests should send."""


def running(stack: Stack) -> Iterator[Stack]:
    """Start and stop it. What BigQuery refuses is sent twice, so strays are not looked for."""
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose default connection was added by command, and one more agent, that uploads."""
    stack = Stack(tmp_path_factory.mktemp("rotation"), rules=RULES)
    stack.with_store(lambda store: Agents(store).create("loader", [], {}, "tests"))
    stack.configure(upstream={"service_account_file": ""})
    added = stack.run("connection", "add", "default", "--key-file", str(stack.key_file))
    assert added.returncode == 0, added.stderr
    yield from running(stack)


@pytest.fixture
def with_file(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose settings name the file of the key."""
    yield from running(Stack(tmp_path))


class Load:
    """Agents that ask one query after the other until told to stop."""

    def __init__(self, stack: Stack, agents: tuple[str, ...]) -> None:
        self.answered, self.failures = 0, list[str]()
        self._stop = threading.Event()
        self._clients = [stack.client(agent) for agent in agents]
        self._threads = [threading.Thread(target=self._ask, args=(one,)) for one in self._clients]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def statuses(self) -> set[int]:
        """Every status that a client had, those that it tried again after too."""
        return {seen.status for client in self._clients for seen in client.seen}

    def _ask(self, client: Any) -> None:
        while not self._stop.is_set():
            try:
                rows = list(client.query_and_wait(QUERY, retry=None, job_retry=None))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                self.failures.append(str(error))
            else:
                assert len(rows) == 3
                self.answered += 1

    def more(self, queries: int) -> None:
        """Wait until so many more queries were answered."""
        wanted, deadline = self.answered + queries, time.monotonic() + 60
        while self.answered < wanted and not self.failures and time.monotonic() < deadline:
            time.sleep(0.05)


def new_key(stack: Stack, id_: str) -> tuple[Path, bytes]:
    """Make a key of the same account; gives its file and its public half."""
    file = stack.folder / f"{id_}.json"
    public = write_key_file(file, ACCOUNT, id_).raw_value.public_key()
    return file, public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def know(stack: Stack, *public: bytes) -> None:
    """Have BigQuery know these keys and no others from now on."""
    half = stack.folder / "public.half"
    half.write_bytes(b"".join(public))
    half.rename(stack.folder / "public.pem")


def listed(stack: Stack) -> dict[str, str]:
    return {one["key"]: one["state"] for one in stack.json("connection", "list")}


def test_no_query_fails_while_a_key_is_rotated_and_the_old_one_revoked(stack: Stack) -> None:
    old = (stack.folder / "public.pem").read_bytes()
    file, public = new_key(stack, "key-2")
    with Load(stack, AGENTS) as load:
        load.more(10)
        # Google does not know the new key yet: it waits.
        early = stack.run("connection", "rotate", "default", "--key-file", str(file))
        assert early.returncode == 1
        assert "Google does not take the key `key-2`" in early.stderr
        assert listed(stack) == {"key-1": "active", "key-2": "next"}
        know(stack, old, public)
        rotated = stack.run("connection", "rotate", "default")
        assert rotated.returncode == 0, rotated.stderr
        assert listed(stack) == {"key-2": "active", "key-1": "retiring"}
        know(stack, public)
        load.more(30)
    assert load.failures == []
    assert load.statuses == {200}
    assert load.answered >= 40
    tried = stack.run("connection", "test", "default", "--project", PROJECT)
    assert f"{ACCOUNT} by key key-2: BigQuery answers" in tried.stdout
    assert "Google does not take the key `key-1`" in tried.stdout


class Turning(io.BytesIO):
    """A file that does something once half of it is read."""

    def __init__(self, data: bytes, then: Callable[[], None]) -> None:
        super().__init__(data)
        self._half, self._then = len(data) // 2, [then]

    def read(self, size: int | None = -1, /) -> bytes:
        if self._then and self.tell() >= self._half:
            self._then.pop()()
        return super().read(size)


def test_an_upload_goes_on_while_a_key_is_rotated_and_the_old_one_revoked(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bigquery_client, "_DEFAULT_CHUNKSIZE", CHUNK)
    old = (stack.folder / "public.pem").read_bytes()
    file, public = new_key(stack, "key-3")

    def rotate() -> None:
        know(stack, old, public)
        rotated = stack.run("connection", "rotate", "default", "--key-file", str(file))
        assert rotated.returncode == 0, rotated.stderr
        know(stack, public)

    client = stack.client("loader")
    client.create_dataset("lab")
    lines = [f"{number},{'x' * 90}" for number in range(12_000)]
    config = bigquery.LoadJobConfig(
        source_format="CSV",
        schema=[bigquery.SchemaField("n", "INTEGER"), bigquery.SchemaField("text", "STRING")],
    )
    data = Turning("\n".join(lines).encode(), rotate)
    job = client.load_table_from_file(data, f"{PROJECT}.lab.uploaded", job_config=config)
    assert job.result().output_rows == len(lines)
    counted = f"SELECT COUNT(*), COUNT(DISTINCT n) FROM `{PROJECT}.lab.uploaded`"  # noqa: S608
    (row,) = client.query_and_wait(counted)
    assert tuple(row.values()) == (len(lines), len(lines))
    assert listed(stack)["key-3"] == "active"
    pieces = [seen.status for seen in client.seen if seen.method == "PUT"]
    assert pieces.count(308) == len(data.getvalue()) // CHUNK > 3
    assert set(pieces) <= {200, 308, 503}  # upon a 503 the client sends the piece again


def test_no_query_fails_while_the_file_of_the_settings_is_replaced(with_file: Stack) -> None:
    file, public = new_key(with_file, "key-2")
    with Load(with_file, AGENTS) as load:
        load.more(10)
        # Both in the same moment: the gateway hears of the new key from BigQuery's refusal.
        os.replace(file, with_file.key_file)  # noqa: PTH105 - in one step, as a mount does it
        know(with_file, public)
        load.more(30)
    assert load.failures == []
    assert load.statuses == {200}
    assert listed(with_file) == {"key-2": "active", "key-1": "retiring"}
    log = with_file.log.read_text()
    pem = json.loads(with_file.key_file.read_text())["private_key"].splitlines()[1]
    assert pem not in log
    told = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert "credential_rotated" in {line["event"] for line in told}
