"""Publishing a policy: checked, compared with what holds, and stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec

from keystile.gate.policy_versions import Draft, PolicyVersions
from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import (
    InvalidRequestError,
    PreconditionError,
    UnsafeConfigurationError,
)
from keystile.policy.difference import Change, differences

_FIRST_AUTHOR = "keystile"
_FIRST_MESSAGE = "what held before anything was published"
_MOST_AUTHOR = 2000
_MOST_MESSAGE = 2000


class Wanted(NamedTuple):
    """A policy that is to hold, who wants it and why; `via` is the door, `cli` or `gateway`.

    `restores` is the version whose files these are.
    """

    files: Mapping[str, str]
    author: str
    message: str
    via: str
    restores: int | None = None


class Published(msgspec.Struct, frozen=True):
    """What came of it: the version that holds, what held before, and the difference in meaning.

    `published` tells whether it is a new one, and `differs` whether its files are others than held
    before: comments count there, and not in `changes`. `unreadable` says why there are no changes
    to show: what held before cannot be read any more.
    """

    version: int
    before: int
    digest: str
    published: bool
    differs: bool
    changes: tuple[Change, ...]
    unreadable: str = ""


class Publishing:
    """Makes policies hold."""

    def __init__(
        self, versions: PolicyVersions, runner: TaskRunner, keys: Collection[str] = ()
    ) -> None:
        """Take where versions are, what checks them, and the names of the masking keys."""
        self._versions = versions
        self._runner = runner
        self._keys = keys

    async def publish(
        self,
        wanted: Wanted,
        folder: Mapping[str, str] | None,
        *,
        expect: int | None = None,
        dry_run: bool = False,
    ) -> Published:
        """Make a policy hold, unless it does already; a dry run only says what it would change.

        `folder` is what holds while nothing was published; it is kept as version 1. `expect` is the
        version that holds as the author knows it. Raises `UnsafeConfigurationError` for a policy
        that is not sound, `InvalidRequestError` for an author or a message that will not do, and
        `PreconditionError` where another version holds, or came in between.
        """
        author = _text("author", wanted.author, _MOST_AUTHOR)
        message = _text("message", wanted.message, _MOST_MESSAGE)
        digest = (await checked_policy(wanted.files, self._runner, self._keys)).digest
        version = before = await self._versions.newest()
        if expect not in {None, before}:
            raise PreconditionError(
                f"version {before} of the policy holds, not {expect}",
                hint="merge what it changed into yours, and publish that",
            )
        held = await self._versions.files(before) if before else folder
        changes, unreadable = _compared(held, wanted.files)
        differs = not before or held != wanted.files
        if differs and not dry_run:
            files, via, restores = wanted.files, wanted.via, wanted.restores
            draft = Draft(files, digest, author, message, via, restores)
            first = None if before else await self._first(held, wanted)
            # INVARIANT: only on what it was compared with, or it would undo what nobody has seen.
            version = await self._versions.publish(draft, expect=before, first=first)
        new = version != before
        return Published(version, before, digest, new, differs, changes, unreadable)

    async def _first(self, held: Mapping[str, str] | None, wanted: Wanted) -> Draft | None:
        """Give what held before anything was published, if it is sound and says something else."""
        if held is None or held == wanted.files:
            return None
        try:
            policy = await checked_policy(held, self._runner, self._keys)
        except UnsafeConfigurationError:
            return None
        return Draft(held, policy.digest, _FIRST_AUTHOR, _FIRST_MESSAGE, "folder")


def _compared(
    held: Mapping[str, str] | None, wanted: Mapping[str, str]
) -> tuple[tuple[Change, ...], str]:
    try:
        return differences(held or {}, wanted), ""
    except UnsafeConfigurationError as error:
        # Nobody must be kept from replacing what cannot be read.
        return (), str(error)


def _text(word: str, given: str, most: int) -> str:
    text = given.strip()
    if not text or len(text) > most:
        raise InvalidRequestError(
            f"the {word} of a version has 1 to {most} characters, not {len(text)}",
            hint="say in a sentence what it changes and why" * (word == "message"),
        )
    return text
