from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.gate.policy_versions import Draft, PolicyVersions
from keystile.gate.publishing import Publishing, Wanted
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import (
    InvalidRequestError,
    PreconditionError,
    UnsafeConfigurationError,
)
from keystile.store.database import Database

RULES = {"rules.yaml": "rules:\n- {name: a, allow: [read]}\n"}
OTHER = {"rules.yaml": "rules:\n- {name: a, allow: [write]}\n"}
BROKEN = {"rules.yaml": "of_later: 1"}


def wanted(files: dict[str, str], message: str = "why", author: str = "ann") -> Wanted:
    return Wanted(files, author, message, "cli")


@pytest.fixture
async def versions(tmp_path: Path) -> AsyncIterator[PolicyVersions]:
    store = Database(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    await store.open()
    yield PolicyVersions(store)
    await store.close()


@pytest.fixture
def publishing(versions: PolicyVersions) -> Publishing:
    return Publishing(versions, InlineRunner())


async def test_the_first_publication_keeps_what_held_before(
    publishing: Publishing, versions: PolicyVersions
) -> None:
    done = await publishing.publish(wanted(OTHER), RULES)
    assert (done.version, done.before, done.published) == (2, 0, True)
    assert [str(one) for one in done.changes] == [
        '~ rule `a` (`rules.yaml` line 2): `allow` +"write" -"read"'
    ]
    newest, first = await versions.history()
    assert (newest.author, newest.message, newest.digest) == ("ann", "why", done.digest)
    assert (first.author, first.via) == ("keystile", "folder")
    assert await versions.files(1) == RULES


async def test_a_policy_with_a_masking_key_that_is_not_there_is_not_published(
    publishing: Publishing, versions: PolicyVersions
) -> None:
    keyed = {
        "f.yaml": "labels: [{label: pii, columns: [ssn]}]\n"
        "masks: [{label: pii, mask: {kind: token, key: sales}}]\n"
    }
    with pytest.raises(UnsafeConfigurationError, match=r"`f.yaml` line 2: .* key `sales`"):
        await publishing.publish(wanted(keyed), None)
    assert await versions.newest() == 0
    assert (
        await Publishing(versions, InlineRunner(), ["sales"]).publish(wanted(keyed), None)
    ).published


@pytest.mark.parametrize("folder", [None, BROKEN, OTHER])
async def test_what_was_not_sound_or_is_the_same_is_no_version_before(
    publishing: Publishing, folder: dict[str, str] | None
) -> None:
    assert (await publishing.publish(wanted(OTHER), folder)).version == 1


async def test_what_holds_already_is_not_published_again(
    publishing: Publishing, versions: PolicyVersions
) -> None:
    await publishing.publish(wanted(OTHER), None)
    again = await publishing.publish(wanted(OTHER), None)
    assert (again.version, again.published, again.differs) == (1, False, False)
    comment = {"rules.yaml": OTHER["rules.yaml"] + "# why\n"}
    commented = await publishing.publish(wanted(comment), None)
    assert (commented.version, commented.published, commented.changes) == (2, True, ())
    assert len(await versions.history()) == 2


async def test_a_dry_run_changes_nothing(publishing: Publishing, versions: PolicyVersions) -> None:
    done = await publishing.publish(wanted(OTHER), RULES, dry_run=True)
    assert (done.version, done.published, done.differs, len(done.changes)) == (0, False, True, 1)
    assert await versions.history() == ()


async def test_another_version_than_expected_is_not_overwritten(publishing: Publishing) -> None:
    await publishing.publish(wanted(OTHER), None, expect=0)
    for dry_run in (True, False):
        with pytest.raises(PreconditionError, match="version 1 of the policy holds, not 0"):
            await publishing.publish(wanted(RULES), None, expect=0, dry_run=dry_run)
    assert (await publishing.publish(wanted(RULES), None, expect=1)).version == 2


async def test_what_came_in_between_is_not_undone_unseen(
    publishing: Publishing, versions: PolicyVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publishing.publish(wanted(OTHER), None)
    files = versions.files

    async def late(version: int) -> dict[str, str]:
        found = await files(version)
        other = Draft(RULES, "d", "bob", "at the same time", "cli")
        await versions.publish(other, expect=None, first=None)
        return found

    monkeypatch.setattr(versions, "files", late)
    with pytest.raises(PreconditionError, match="version 2 holds, not 1"):
        await publishing.publish(wanted({"rules.yaml": "rules: []"}), None)


async def test_what_is_not_sound_is_not_published(
    publishing: Publishing, versions: PolicyVersions
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"`rules\.yaml`"):
        await publishing.publish(wanted(BROKEN), RULES)
    for message, author in ((" ", "ann"), ("m" * 2001, "ann"), ("why", "")):
        with pytest.raises(InvalidRequestError, match="characters"):
            await publishing.publish(wanted(OTHER, message, author), RULES)
    assert await versions.newest() == 0


async def test_a_version_that_cannot_be_read_can_be_replaced(
    publishing: Publishing, versions: PolicyVersions
) -> None:
    await versions.publish(Draft(BROKEN, "d", "ann", "why", "cli"), expect=0, first=None)
    done = await publishing.publish(wanted(OTHER), None)
    assert done.version == 2
    assert "`of_later`" in done.unreadable
