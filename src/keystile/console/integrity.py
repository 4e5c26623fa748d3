"""Whether the recording is whole, checked now and then for the badge on the session pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from keystile.recording.verify import Verification, verify

_FRESH_SECONDS = 60.0
_PATIENCE_SECONDS = 2.0


class IntegrityState(msgspec.Struct, frozen=True):
    """What the last check found: `intact` is None while the first one is under way.

    `checked_at` is in UTC epoch seconds; `problem` names the first broken place.
    """

    intact: bool | None = None
    checked_at: float = 0.0
    records: int = 0
    problem: str = ""


class Integrity:
    """Reads the whole recording from end to end, in a thread, one check at a time.

    A big recording takes longer than a page may: the page then shows the check before.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Check `folder`."""
        self._folder = folder
        self._clock = clock
        self._state = IntegrityState()
        self._check: asyncio.Future[None] | None = None

    async def state(self) -> IntegrityState:
        """Give what the latest check found, after a new one where that is old and quick."""
        if self._check is None and self._clock() - self._state.checked_at > _FRESH_SECONDS:
            self._check = asyncio.ensure_future(self._run())
        if self._check is not None:
            await asyncio.wait({self._check}, timeout=_PATIENCE_SECONDS)
        return self._state

    async def _run(self) -> None:
        at = self._clock()
        try:
            self._state = _told(await asyncio.to_thread(verify, self._folder), at)
        except OSError as error:
            problem = f"the recording cannot be read: {error.strerror}"
            self._state = IntegrityState(intact=False, checked_at=at, problem=problem)
        finally:
            self._check = None


def _told(found: Verification, at: float) -> IntegrityState:
    broken = next((chain for chain in found.chains if chain.problem), None)
    problem = ""
    if broken and broken.problem:
        place = "/".join(filter(None, (broken.chain, broken.problem.segment)))
        problem = f"`{place}`: {broken.problem.what}"
    return IntegrityState(
        intact=found.intact,
        checked_at=at,
        records=sum(chain.records for chain in found.chains),
        problem=problem,
    )
