"""The policy that this process decides by: the newest published version, or else its own folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from keystile.config.policy_folder import read_policy
from keystile.gate.policy_versions import PolicyVersions, Replica
from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import (
    KeystileError,
    PolicyUnreadableError,
    UnsafeConfigurationError,
)
from keystile.policy.policy import Policy
from keystile.telemetry.logs import logger
from keystile.telemetry.policy_metrics import PolicyMetrics

_TICK_SECONDS = 0.5
_FOLDER_SECONDS = 1.0
# A published version that could not be taken for so long is one that this process cannot read.
_PATIENCE_SECONDS = 3.0
_TELLING_SECONDS = 5.0

_log = logger("app")


class Holding(NamedTuple):
    """What is decided by: a version, or the folder as 0; no policy where there is a `problem`."""

    version: int
    files: Mapping[str, str]
    policy: Policy | None
    problem: str
    since: float


class PolicySource:
    """The compiled policy, replaced whole; who has asked for it goes on with what they got.

    While nothing was ever published, the folder holds, and what changes there takes its place once
    it compiles. From the first published version on, the newest one holds and the folder does not
    count. INVARIANT: a published version that cannot be read here leaves no policy to decide by:
    going on with the one before could show what its successor hides.
    """

    def __init__(
        self,
        folder: Path,
        runner: TaskRunner,
        versions: PolicyVersions,
        metrics: PolicyMetrics,
        keys: Collection[str] = (),
    ) -> None:
        """Take the folder and the names of masking keys; nothing is read before `open`."""
        self._folder = Folder(folder)
        self._runner = runner
        self._versions = versions
        self._metrics = metrics
        self._keys = keys
        self._holding: Holding | None = None
        # The version that could not be taken for a reason that may pass, and since when.
        self._unsure: tuple[int, float] | None = None
        self._folder_due = 0.0

    @property
    def holding(self) -> Holding:
        """What holds now. Raises `PolicyUnreadableError` before it is open."""
        if self._holding is None:
            raise PolicyUnreadableError("no policy was read yet", hint="try again in a moment")
        return self._holding

    def current(self) -> Policy:
        """Give the policy that holds now. Raises `PolicyUnreadableError`."""
        holding = self.holding
        if holding.policy is None:
            raise PolicyUnreadableError(
                f"this gateway cannot read version {holding.version} of its policy, so it refuses "
                "everything",
                hint="an operator sees why at `/readyz` and in the log",
            )
        return holding.policy

    def check(self) -> None:
        """Raise `PolicyUnreadableError` with the reason where there is nothing to decide by."""
        if problem := self.holding.problem:
            raise PolicyUnreadableError(problem)

    async def open(self) -> None:
        """Read what holds.

        Raises `UnsafeConfigurationError` for a folder that is not sound, and what the store raises.
        A published version that is not sound is a problem that `check` tells.
        """
        if version := await self._versions.newest():
            await self._take(version)
        else:
            files = await asyncio.to_thread(self._folder.read)
            self._hold(0, files, await checked_policy(files, self._runner, self._keys))

    async def follow(self, replica: str, name: str) -> None:
        """Look for changes for ever, and tell the store what holds at the gateway of this name."""
        try:
            # A new version must not wait until the store takes what is told of the one before.
            async with asyncio.TaskGroup() as both:
                both.create_task(self._keep_looking())
                both.create_task(self._keep_telling(replica, name))
        finally:
            with suppress(KeystileError):
                await self._versions.leave(replica)

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.look()
            except KeystileError as error:
                _log.error("policy_not_replaced", reason=str(error))
            except Exception:  # noqa: BLE001 - a fault must not end the looking
                _log.exception("policy_fault")
            await asyncio.sleep(_TICK_SECONDS)

    async def _keep_telling(self, replica: str, name: str) -> None:
        told: Holding | None = None
        due = 0.0
        while True:
            if self.holding is not told or time.monotonic() >= due:
                told, due = self.holding, time.monotonic() + _TELLING_SECONDS
                await self._tell(replica, name, told)
            await asyncio.sleep(_TICK_SECONDS)

    async def _tell(self, replica: str, name: str, holding: Holding) -> None:
        digest = holding.policy.digest if holding.policy else ""
        version, problem, since = holding.version, holding.problem, holding.since
        told = Replica(replica, name, version, digest, problem, since, time.time())
        try:
            await self._versions.note(told)
        except KeystileError as error:
            _log.warning("policy_version_not_told", reason=str(error))
        except Exception:  # noqa: BLE001 - a fault must not end the looking beside it
            _log.exception("policy_telling_fault")

    async def look(self) -> None:
        """Look once, and take what is new. Raises `KeystileError` where it cannot be."""
        version = await self._versions.newest()
        if version and (version != self.holding.version or self._unsure):
            await self._take(version)
        if time.monotonic() >= self._folder_due:
            self._folder_due = time.monotonic() + _FOLDER_SECONDS
            await self._look_at_folder()

    async def _look_at_folder(self) -> None:
        holding = self.holding
        try:
            files = await asyncio.to_thread(self._folder.changed)
        except UnsafeConfigurationError:
            if holding.version:
                return  # A folder that does not count need not be there.
            raise
        if files is None or files == holding.files:
            return
        if not holding.version:
            self._hold(0, files, await checked_policy(files, self._runner, self._keys))
            return
        _log.warning(
            "policy_folder_not_published",
            folder=str(self._folder.path),
            version=holding.version,
            hint="the published version holds, not the folder; see `keystile policy diff` and "
            "publish with `keystile policy apply`",
        )

    async def _take(self, version: int) -> None:
        """Let a published version hold, or nothing where it cannot be read."""
        if self._unsure is None or self._unsure[0] != version:
            self._unsure = version, time.monotonic()
        try:
            files = await self._versions.files(version)
            policy = await checked_policy(files, self._runner, self._keys)
        except UnsafeConfigurationError as error:
            self._give_up(version, str(error))
        except KeystileError as error:
            # The engine or the store is busy: that passes, and is looked at again.
            if self._holding and time.monotonic() - self._unsure[1] > _PATIENCE_SECONDS:
                self._give_up(version, str(error), passing=True)
            raise
        except Exception:
            self._give_up(version, "an internal fault, which the log has")
            raise
        else:
            self._unsure = None
            self._folder.forget()
            self._hold(version, files, policy)

    def _hold(self, version: int, files: Mapping[str, str], policy: Policy) -> None:
        replaced = self._holding is not None
        self._holding = Holding(version, files, policy, "", time.time())
        self._metrics.holds(version, policy.digest)
        if replaced:
            _log.info("policy_replaced", version=version, digest=policy.digest)

    def _give_up(self, version: int, reason: str, *, passing: bool = False) -> None:
        if not passing:
            self._unsure = None
        problem = f"version {version} of the policy cannot be read here: {reason}"
        if self._holding is None or self._holding.problem != problem:
            self._holding = Holding(version, {}, None, problem, time.time())
            self._metrics.unreadable(version)
            _log.error("policy_unreadable", version=version, reason=reason)


class Folder:
    """The folder of the settings.

    INVARIANT: a change is taken only when it is read the same twice, one look after the other: a
    file that is being written may be a policy too, with the masks still missing.
    """

    def __init__(self, path: Path) -> None:
        """Look at `path`, which need not be there yet."""
        self.path = path
        self._seen: Mapping[str, str] | None = None
        self._given: Mapping[str, str] | None = None

    def read(self) -> Mapping[str, str]:
        """Give its files by name. Raises `UnsafeConfigurationError`."""
        self._seen = self._given = read_policy(self.path)
        return self._given

    def changed(self) -> Mapping[str, str] | None:
        """Give its files once they are others than it gave last. Raises as `read` does."""
        files = read_policy(self.path)
        settled, self._seen = files == self._seen, files
        if not settled or files == self._given:
            return None
        self._given = files
        return files

    def forget(self) -> None:
        """Give its files again, whether they change or not."""
        self._seen = self._given = None
