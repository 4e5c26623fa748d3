from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from keystile.gate import policy_source
from keystile.gate.policy_source import PolicySource
from keystile.gate.policy_versions import Draft, PolicyVersions
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import (
    OverloadedError,
    PolicyUnreadableError,
    RefusedError,
    UnsafeConfigurationError,
)
from keystile.policy.compile import compile_policy
from keystile.store.database import Database
from keystile.telemetry.metrics import Metrics

FILTER = "row_filters:\n- {{name: f, tables: [p.d.t], where: '{}'}}\n"
RULES = "rules:\n- {name: a, allow: [read]}\n"
OTHER = RULES.replace("read", "write")


class Bench:
    """A store, and gateways that follow it, each with the folder of its settings."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite+aiosqlite:///{folder / 'store.db'}")
        self.versions = PolicyVersions(self.database)
        self.folder = folder / "policy"
        self.folder.mkdir()
        self.metrics = Metrics()
        self.write(RULES)

    def write(self, text: str) -> None:
        (self.folder / "rules.yaml").write_text(text, encoding="utf-8")

    def source(self, runner: Any = None, keys: tuple[str, ...] = ()) -> PolicySource:
        return PolicySource(
            self.folder, runner or InlineRunner(), self.versions, self.metrics.policy, keys
        )

    async def opened(self) -> PolicySource:
        source = self.source()
        await source.open()
        return source

    async def publish(self, text: str) -> int:
        draft = Draft({"rules.yaml": text}, "d", "ann", "why", "cli")
        return await self.versions.publish(draft, expect=None, first=None)

    def shown(self, name: str) -> list[str]:
        lines = self.metrics.text().decode().splitlines()
        return [line.removeprefix(name) for line in lines if line.startswith(name)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.database.open()
    yield made
    await made.database.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_source, "_FOLDER_SECONDS", 0.0)
    monkeypatch.setattr(policy_source, "_TICK_SECONDS", 0.01)


def digest(text: str) -> str:
    return compile_policy({"rules.yaml": text}).digest


async def test_a_changed_folder_takes_its_place_and_a_broken_one_does_not(bench: Bench) -> None:
    source = await bench.opened()
    following = asyncio.ensure_future(source.follow("r1", "here"))
    try:
        bench.write("rules: [nonsense")
        await asyncio.sleep(0.1)
        assert source.current().digest == digest(RULES)
        bench.write(f"{RULES}{FILTER.format('a) OR (b')}")
        await asyncio.sleep(0.2)
        assert source.current().digest == digest(RULES)
        bench.write(OTHER)
        async with asyncio.timeout(5):
            while source.current().digest == digest(RULES):  # noqa: ASYNC110 - a file, no event
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert source.current().digest == digest(OTHER)


async def test_half_a_file_that_is_being_written_is_no_policy(bench: Bench) -> None:
    source = await bench.opened()
    after = f"{RULES}{FILTER.format('TRUE')}"
    for written in ("", OTHER, after):
        bench.write(written)
        await source.look()
        assert source.current().digest == digest(RULES)
    await source.look()
    assert source.current().digest == digest(after)


async def test_a_row_filter_that_is_no_condition_stops_the_gateway(bench: Bench) -> None:
    bench.write(f"{RULES}{FILTER.format('a) OR (b')}")
    with pytest.raises(
        UnsafeConfigurationError, match=r"`rules.yaml` line \d: row filter `f`: it is no single"
    ):
        await bench.opened()


KEYED = """labels: [{label: pii, columns: [ssn]}]
masks: [{label: pii, mask: {kind: token, key: sales}}]
rules: [{name: a, allow: [read]}]
"""


async def test_a_policy_with_a_masking_key_that_is_not_there_never_holds(bench: Bench) -> None:
    source = await bench.opened()
    bench.write(KEYED)
    await source.look()
    with pytest.raises(UnsafeConfigurationError, match="no masking key `sales`"):
        await source.look()
    assert source.current().digest == digest(RULES)
    with pytest.raises(UnsafeConfigurationError, match="no masking key `sales`"):
        await bench.opened()
    await bench.publish(KEYED)
    for one in (source, await bench.opened()):
        await one.look()
        with pytest.raises(PolicyUnreadableError):
            one.current()
        assert "no masking key `sales`" in one.holding.problem
    has_it = bench.source(keys=("sales",))
    await has_it.open()
    assert has_it.current().digest == digest(KEYED)


async def test_a_published_version_holds_everywhere_and_the_folder_no_more(bench: Bench) -> None:
    running = await bench.opened()
    assert running.holding.version == 0
    assert await bench.publish(OTHER) == 1
    await running.look()
    started = await bench.opened()
    for source in (running, started):
        assert source.current().digest == digest(OTHER)
        assert source.holding.version == 1
    assert bench.shown("keystile_policy_version ") == ["1.0"]
    assert bench.shown("keystile_policy_info") == [f'{{digest="{digest(OTHER)}"}} 1.0']
    bench.write("rules: []")
    for _ in range(3):
        await running.look()
    assert running.current().digest == digest(OTHER)


async def test_who_asked_before_goes_on_with_the_policy_that_held_then(bench: Bench) -> None:
    source = await bench.opened()
    policy = source.current()
    await bench.publish(OTHER)
    await source.look()
    assert policy.digest == digest(RULES)
    assert source.current() is not policy


async def test_a_folder_that_says_something_else_is_told_once(bench: Bench) -> None:
    await bench.publish(OTHER)
    with capture_logs() as logs:
        source = await bench.opened()
        for _ in range(5):
            await source.look()
    told = [line for line in logs if line["event"] == "policy_folder_not_published"]
    assert [line["version"] for line in told] == [1]
    assert "keystile policy apply" in told[0]["hint"]
    with capture_logs() as logs:
        bench.write(RULES + "# edited\n")
        for _ in range(5):
            await source.look()
        bench.write(OTHER)
        for _ in range(5):
            await source.look()
    assert [line["event"] for line in logs] == ["policy_folder_not_published"]


async def test_a_folder_that_is_gone_is_no_matter_once_something_is_published(
    bench: Bench,
) -> None:
    (bench.folder / "rules.yaml").unlink()
    with pytest.raises(UnsafeConfigurationError, match="there is no policy"):
        await bench.opened()
    await bench.publish(OTHER)
    source = await bench.opened()
    await source.look()
    assert source.current().digest == digest(OTHER)


@pytest.mark.parametrize(
    "text", ["rules: [nonsense", f"{RULES}{FILTER.format('a) OR (b')}", "of_later: 1"]
)
async def test_a_version_that_cannot_be_read_leaves_no_policy(bench: Bench, text: str) -> None:
    running = await bench.opened()
    await bench.publish(text)
    await running.look()
    started = await bench.opened()
    for source in (running, started):
        with pytest.raises(RefusedError, match="cannot read version 1 of its policy"):
            source.current()
        with pytest.raises(RefusedError, match=r"version 1 of the policy cannot .*`rules.yaml`"):
            source.check()
    assert bench.shown("keystile_policy_unreadable ") == ["1.0"]
    assert bench.shown("keystile_policy_info{") == []
    await bench.publish(OTHER)
    await running.look()
    running.check()
    assert running.current().digest == digest(OTHER)
    assert bench.shown("keystile_policy_unreadable ") == ["0.0"]


class Busy:
    """An engine that has no time while it is told so."""

    def __init__(self) -> None:
        self.busy = True
        self._runner = InlineRunner()

    async def run(self, *given: Any) -> Any:
        if self.busy:
            raise OverloadedError("too much to do")
        return await self._runner.run(*given)


async def test_a_busy_engine_is_asked_again_and_not_for_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy()
    source = bench.source(busy)
    await source.open()
    after = f"{RULES}{FILTER.format('TRUE')}"
    await bench.publish(after)
    with pytest.raises(OverloadedError):
        await source.look()
    assert source.current().digest == digest(RULES)
    monkeypatch.setattr(policy_source, "_PATIENCE_SECONDS", 0.0)
    with pytest.raises(OverloadedError):
        await source.look()
    with pytest.raises(RefusedError):
        source.current()
    busy.busy = False
    await source.look()
    assert source.current().digest == digest(after)


async def test_a_gateway_tells_the_store_what_holds_and_leaves(bench: Bench) -> None:
    source = await bench.opened()
    following = asyncio.ensure_future(source.follow("r1", "here:8420"))
    try:
        await bench.publish("of_later: 1")
        async with asyncio.timeout(5):
            while not [one for one in await bench.versions.replicas() if one.problem]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await bench.publish(OTHER)
        async with asyncio.timeout(5):
            while not [one for one in await bench.versions.replicas() if one.version > 1]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (known,) = await bench.versions.replicas()
        assert (known.name, known.version, known.problem) == ("here:8420", 2, "")
        assert known.digest == digest(OTHER)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert await bench.versions.replicas() == ()


async def stuck(_told: object) -> None:
    await asyncio.sleep(60)


async def faulty(_told: object) -> None:
    raise RuntimeError("a fault")


@pytest.mark.parametrize("telling", [stuck, faulty])
async def test_a_new_version_waited_until_the_one_before_was_told_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, telling: object
) -> None:
    source = await bench.opened()
    monkeypatch.setattr(bench.versions, "note", telling)
    following = asyncio.ensure_future(source.follow("r1", "here"))
    try:
        await asyncio.sleep(0.05)
        await bench.publish(OTHER)
        async with asyncio.timeout(5):
            while source.current().digest != digest(OTHER):  # noqa: ASYNC110 - the store, no event
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
