from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from keystile.gate.policy_source import PolicySource
from keystile.gate.policy_versions import PolicyVersions
from keystile.gate.publishing import Publishing
from keystile.gate.recorder import Recorder
from keystile.gate.remote_publishing import RemotePublishing
from keystile.googlesql.inline import InlineRunner
from keystile.identity.publishers import Presented
from keystile.model.errors import (
    InvalidRequestError,
    PreconditionError,
    RecordingUnavailableError,
    RefusedError,
    UnauthenticatedError,
)
from keystile.model.sender import UNKNOWN, Sender
from keystile.recording.events import Event
from keystile.store.database import Database
from keystile.telemetry.metrics import Metrics

RULES = "rules:\n- {name: a, allow: [read]}\n"
OTHER = RULES.replace("read", "write")


class Bench:
    """Remote publishing over a store, with what it recorded and whom it let publish."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite+aiosqlite:///{folder / 'store.db'}")
        self.versions = PolicyVersions(self.database)
        self.folder = folder / "policy"
        self.folder.mkdir()
        (self.folder / "rules.yaml").write_text(RULES, encoding="utf-8")
        runner = InlineRunner()
        self.source = PolicySource(self.folder, runner, self.versions, Metrics().policy)
        self.events: list[Event] = []
        self.used: list[str] = []
        self.failing = False
        publishing = Publishing(self.versions, runner)
        pen = cast("Recorder", self)
        self.remote = RemotePublishing(self, publishing, self.source, pen)

    async def present(self, unverified_token: str, sender: Sender) -> Presented:
        del sender
        if unverified_token == "forged":
            raise UnauthenticatedError("the signature does not fit")
        refusal = RefusedError("not the branch") if unverified_token == "branch" else None
        return Presented("ci", unverified_token, 0.0, refusal)

    async def use(self, presented: Presented) -> None:
        if presented.digest in self.used:
            raise RefusedError("this token has published already")
        self.used.append(presented.digest)

    async def record(self, event: Event) -> None:
        if self.failing:
            raise RecordingUnavailableError("no room")
        self.events.append(event)

    async def send(self, text: str, **more: Any) -> Any:
        body = json.dumps({"files": {"rules.yaml": text}, "message": "why"} | more)
        return await self.remote.publish(await self.remote.admit("t1", UNKNOWN), body.encode())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.database.open()
    await made.source.open()
    yield made
    await made.database.close()


async def test_a_publisher_publishes_what_the_folder_held_before_it(bench: Bench) -> None:
    done = await bench.send(OTHER)
    assert (done.version, done.published, len(done.changes)) == (2, True, 1)
    newest, first = await bench.versions.history()
    assert (newest.author, newest.message, newest.via) == ("ci", "why", "gateway")
    assert first.via == "folder"
    assert bench.events == []


async def test_a_token_is_used_up_by_publishing_and_by_nothing_else(bench: Bench) -> None:
    await bench.send(OTHER, dry_run=True)
    with pytest.raises(InvalidRequestError):
        await bench.send("of_later: 1")
    with pytest.raises(PreconditionError):
        await bench.send(OTHER, expect=7)
    assert bench.used == []
    await bench.send(OTHER)
    assert (await bench.send(OTHER)).published is False
    with pytest.raises(RefusedError, match="published already"):
        await bench.send(RULES)
    assert await bench.versions.files(2) == {"rules.yaml": OTHER}
    assert await bench.versions.newest() == 2


@pytest.mark.parametrize(
    ("text", "more", "why"),
    [
        ("of_later: 1", {}, "`rules.yaml`.*unknown word `of_later`"),
        (OTHER, {"expect": 3}, "version 0 of the policy holds, not 3"),
        (OTHER, {"message": ""}, "the message of a version has"),
        (OTHER, {"files": {}}, "the request to publish is not understood"),
        (OTHER, {"author": "root"}, "unknown field `author`"),
    ],
)
async def test_what_a_verified_token_brings_in_vain_is_on_record(
    bench: Bench, text: str, more: dict[str, Any], why: str
) -> None:
    with pytest.raises((InvalidRequestError, PreconditionError), match=why) as caught:
        await bench.send(text, **more)
    (event,) = bench.events
    assert event.kind == "policy_refused"
    assert (event.body["author"], event.body["why"]) == ("ci", str(caught.value))
    assert await bench.versions.newest() == 0


async def test_who_may_not_is_on_record_and_who_is_not_verified_is_not(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="not the branch"):
        await bench.remote.admit("branch", UNKNOWN)
    assert [event.body["why"] for event in bench.events] == ["not the branch"]
    with pytest.raises(UnauthenticatedError):
        await bench.remote.admit("forged", UNKNOWN)
    assert len(bench.events) == 1


async def test_a_refusal_that_cannot_be_recorded_is_one_all_the_same(bench: Bench) -> None:
    bench.failing = True
    with pytest.raises(RecordingUnavailableError):
        await bench.remote.admit("branch", UNKNOWN)
    with pytest.raises(RecordingUnavailableError):
        await bench.send("of_later: 1")
    assert await bench.versions.newest() == 0
