"""The desk, and by any sequence of its steps: a connection is never without a key that works."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.support.google import write_key_file

from keystile.config.settings import Settings
from keystile.config.upstream import Connection, Upstream
from keystile.model.errors import (
    DuplicateError,
    InUseError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    RefusedError,
)
from keystile.store.database import Database
from keystile.store.notes import Notes
from keystile.tls.from_settings import secrets_of
from keystile.upstream import connections as module
from keystile.upstream.connections import Connections
from keystile.upstream.desk import Desk, Tried
from keystile.upstream.key_files import KeyFiles
from keystile.upstream.stored import KeyState, StoredConnections
from keystile.upstream.values import Account

ResultT = TypeVar("ResultT")
WHO = "reports@acme-shop.iam.gserviceaccount.com"
REPORTS = Account("reports", WHO)


class Process:
    """A gateway or a command on a store. Google knows the keys of `google`."""

    def __init__(self, folder: Path, database: Database, google: set[str]) -> None:
        found = Settings(
            upstream=Upstream(connections={"other": Connection(metadata_server=True)}),
            data="data",
            folder=folder,
        )
        self.connections = Connections(found, database, secrets_of(found))
        self.desk = Desk(found, database, self.connections)
        self._google = google
        self.desk._tried = self._tried  # type: ignore[method-assign]

    async def _tried(self, way: Any, _project: str) -> Tried:
        problem = "" if way.id in self._google else f"Google does not take the key `{way.id}`"
        return Tried(way.id, WHO, problem)

    async def close(self) -> None:
        await self.connections.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'keystile.db'}")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def process(tmp_path: Path, database: Database) -> AsyncIterator[Process]:
    process = Process(tmp_path, database, {"a", "b"})
    yield process
    await process.close()


def key(folder: Path, id_: str, account: str = WHO) -> Path:
    file = folder / f"{id_}.json"
    file.write_text(_content(id_, account))
    file.chmod(0o600)
    return file


@cache
def _content(id_: str, account: str) -> str:
    """Make a key once: that takes long."""
    with tempfile.TemporaryDirectory() as folder:
        write_key_file(Path(folder) / "key", account, id_)
        return (Path(folder) / "key").read_text()


async def states(database: Database) -> dict[str, str]:
    return {one.id: one.state.value for one in await StoredConnections(database).keys()}


async def test_a_key_signs_from_when_google_takes_it(
    process: Process, database: Database, tmp_path: Path
) -> None:
    assert await process.desk.add("reports", Connection(), key(tmp_path, "a")) == WHO
    process._google.discard("b")
    with pytest.raises(RefusedError, match="does not take the key `b`"):
        await process.desk.rotate("reports", key(tmp_path, "b"))
    assert await states(database) == {"a": "active", "b": "next"}
    process._google.add("b")
    assert await process.desk.rotate("reports", None) == "b"
    assert await states(database) == {"a": "retiring", "b": "active"}
    told = [one.body["action"] for one in await Notes(database).take(0.0)]
    assert told == ["add", "rotate"]


async def test_what_cannot_be_is_refused(process: Process, tmp_path: Path) -> None:
    desk = process.desk
    await desk.add("reports", Connection(), key(tmp_path, "a"))
    with pytest.raises(DuplicateError):
        await desk.add("reports", Connection(), key(tmp_path, "b"))
    with pytest.raises(DuplicateError, match="the settings have"):
        await desk.add("other", Connection(), key(tmp_path, "b"))
    with pytest.raises(InvalidRequestError, match="add another connection"):
        await desk.rotate("reports", key(tmp_path, "c", "else@x.iam.gserviceaccount.com"))
    with pytest.raises(NotFoundError):
        await desk.rotate("gone", None)
    with pytest.raises(NotFoundError):
        await desk.remove("gone", [])
    with pytest.raises(InvalidRequestError, match="stands in the settings"):
        await desk.remove("other", [])


async def test_what_is_needed_is_not_removed_and_all_else_goes_whole(
    process: Process, database: Database, tmp_path: Path
) -> None:
    desk = process.desk
    await desk.add("reports", Connection(), key(tmp_path, "a"))
    with pytest.raises(InUseError, match="in use by 1, 2, 3, 4, 5 and 2 more"):
        await desk.remove("reports", [*"1234567"])
    assert await states(database) == {"a": "active"}
    await desk.remove("reports", [])
    assert await states(database) == {}
    assert [*(tmp_path / "data" / "connections" / "reports").iterdir()] == []
    await process.connections.load()
    with pytest.raises(RefusedError, match="no connection `reports`"):
        await process.connections.bearer(REPORTS)


class Crash(BaseException):
    """Ends a command between two of its steps."""


class KeyStates(RuleBasedStateMachine):
    """Two gateways, and commands that may die between steps, on one store and data folder."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._place = tempfile.TemporaryDirectory()
        self.folder = Path(self._place.name)
        self.google = {"k0"}
        self.ahead = 0.0
        self.made = 0
        self.began: float | None = None
        self.began_with = ""
        self._clock = patch.object(module.time, "time", lambda: _REAL() + self.ahead)
        self._clock.start()
        self.database = Database(f"sqlite+aiosqlite:///{self.folder / 'keystile.db'}")
        self.run(self.database.open())
        self.gateways = [self.process() for _ in range(2)]
        self.command(lambda desk: desk.add("reports", Connection(), key(self.folder, "k0")))

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self._loop.run_until_complete(work)

    def process(self) -> Process:
        return Process(self.folder, self.database, self.google)

    def command(self, work: Any, dies_in: str = "") -> None:
        process = self.process()

        async def done() -> None:
            await process.connections.load()
            try:
                if dies_in:
                    with patch.object(StoredConnections, dies_in, side_effect=Crash):
                        await work(process.desk)
                else:
                    await work(process.desk)
            except (KeystileError, Crash):
                pass
            finally:
                await process.close()

        self.run(done())

    @precondition(lambda self: self.made < 6)
    @rule(known=st.booleans(), dies_in=st.sampled_from(["", "add_key", "promote"]))
    def rotate(self, *, known: bool, dies_in: str) -> None:
        self.made += 1
        id_ = f"k{self.made}"
        if known:
            self.google.add(id_)
        file = key(self.folder, id_)
        self.command(lambda desk: desk.rotate("reports", file), dies_in)

    @rule(dies_in=st.sampled_from(["", "promote"]))
    def rotate_what_waits(self, dies_in: str) -> None:
        self.command(lambda desk: desk.rotate("reports", None), dies_in)

    @rule()
    def google_hears_of_all(self) -> None:
        self.google |= {f"k{number}" for number in range(self.made + 1)}

    @rule(which=st.integers(0, 1), seconds=st.sampled_from([0.0, 300.0, 700.0]))
    def time_goes_by(self, which: int, seconds: float) -> None:
        self.ahead += seconds
        gateway = self.gateways[which].connections
        self.run(gateway.load())
        self.run(gateway._drop_retired(self.began))

    @precondition(lambda self: self.began is None)
    @rule()
    def a_job_begins(self) -> None:
        self.began, self.began_with = module.time.time(), self.active()

    @precondition(lambda self: self.began is not None)
    @rule()
    def the_job_ends(self) -> None:
        self.began = None

    def active(self) -> str:
        known = self.run(StoredConnections(self.database).keys())
        (active,) = [one.id for one in known if one.state is KeyState.ACTIVE]
        return active

    @invariant()
    def the_key_that_a_running_job_began_with_can_be_fallen_back_on(self) -> None:
        if self.began is not None:
            known = [one.id for one in self.run(StoredConnections(self.database).keys())]
            assert self.began_with in known
            assert KeyFiles(self.folder / "data").read("reports", self.began_with)

    @rule(which=st.integers(0, 1))
    def a_gateway_starts_anew(self, which: int) -> None:
        self.run(self.gateways[which].close())
        self.gateways[which] = self.process()

    @invariant()
    def there_is_one_key_that_signs_and_google_takes_it(self) -> None:
        known = self.run(StoredConnections(self.database).keys())
        active = [one.id for one in known if one.state is KeyState.ACTIVE]
        assert len(active) == 1
        assert active[0] in self.google

    @invariant()
    def every_gateway_has_it_first_and_no_key_that_is_gone(self) -> None:
        known = {one.id: one for one in self.run(StoredConnections(self.database).keys())}
        (active,) = [id_ for id_, one in known.items() if one.state is KeyState.ACTIVE]
        for gateway in self.gateways:
            self.run(gateway.connections.load())
            ids = [way.id for way in gateway.connections.ways("reports")]
            assert ids[0] == active
            assert set(ids) == set(known)

    def teardown(self) -> None:
        for gateway in self.gateways:
            self.run(gateway.close())
        self.run(self.database.close())
        self._loop.close()
        self._clock.stop()
        self._place.cleanup()


_REAL = time.time
TestKeyStates = KeyStates.TestCase
TestKeyStates.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
