from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from keystile.gate.policy_versions import Draft, PolicyVersions, Replica
from keystile.model.errors import NotFoundError, PreconditionError
from keystile.recording.people_events import PolicyPublishedBody
from keystile.store.database import Database
from keystile.store.notes import Notes

FIRST = Draft({"a.yaml": "rules: []"}, "d1", "ann", "start", "cli")
SECOND = Draft({"a.yaml": "# more\n"}, "d2", "bob", "more", "gateway")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    store = Database(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def versions(database: Database) -> PolicyVersions:
    return PolicyVersions(database)


async def test_the_newest_version_holds_and_none_is_lost(versions: PolicyVersions) -> None:
    assert await versions.newest() == 0
    assert await versions.publish(FIRST, expect=None, first=None) == 1
    assert await versions.publish(SECOND, expect=1, first=FIRST) == 2
    back = SECOND._replace(files=FIRST.files, restores=1)
    assert await versions.publish(back, expect=None, first=None) == 3
    listed = await versions.history()
    assert [(one.version, one.author, one.restores) for one in listed] == [
        (3, "bob", 1),
        (2, "bob", None),
        (1, "ann", None),
    ]
    assert await versions.files(2) == SECOND.files
    assert await versions.files(3) == FIRST.files
    assert (await versions.get(1)).message == "start"
    for missing in (0, 4):
        with pytest.raises(NotFoundError, match=f"no version {missing} "):
            await versions.files(missing)
        with pytest.raises(NotFoundError):
            await versions.get(missing)


async def test_what_held_before_anything_was_published_is_kept(versions: PolicyVersions) -> None:
    assert await versions.publish(SECOND, expect=0, first=FIRST) == 2
    assert await versions.files(1) == FIRST.files


async def test_of_two_who_publish_at_once_one_is_refused(versions: PolicyVersions) -> None:
    drafts = [FIRST._replace(message=str(n)) for n in range(8)]
    done = await asyncio.gather(
        *(versions.publish(one, expect=0, first=None) for one in drafts), return_exceptions=True
    )
    refused = [one for one in done if isinstance(one, PreconditionError)]
    assert [one for one in done if one == 1] == [1]
    assert len(refused) == 7
    assert str(refused[0]).startswith("version 1 holds, not 0")
    assert len(await versions.history()) == 1


async def test_every_version_is_noted_for_the_record_with_its_author(
    versions: PolicyVersions, database: Database
) -> None:
    await versions.publish(SECOND, expect=0, first=FIRST)
    with pytest.raises(PreconditionError):
        await versions.publish(SECOND, expect=7, first=None)
    noted = sorted(await Notes(database).take(0.0), key=lambda one: one.body["version"])
    assert [one.kind for one in noted] == ["policy_published"] * 2
    bodies = [msgspec.convert(one.body, PolicyPublishedBody) for one in noted]
    assert [(one.version, one.digest, one.author, one.message, one.via) for one in bodies] == [
        (1, "d1", "ann", "start", "cli"),
        (2, "d2", "bob", "more", "gateway"),
    ]


async def test_gateways_are_listed_while_they_say_so(versions: PolicyVersions) -> None:
    now = time.time()
    one = Replica("r1", "b:8420", 2, "d2", "", now, now)
    silent = Replica("r2", "a:8420", 1, "d1", "", now - 99, now - 31)
    await versions.note(silent)
    await versions.note(one)
    later = msgspec.structs.replace(one, version=3)
    await versions.note(later)
    assert await versions.replicas() == (later,)
    await versions.leave("r1")
    assert await versions.replicas() == ()
