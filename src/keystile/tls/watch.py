"""Looks at every certificate again and again: takes new ones, and warns of those that end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from keystile.model.errors import UnsafeConfigurationError
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.tls.end import End

_LOOK_SECONDS = 2.0
_WARN_SECONDS = 14 * 86_400
# Of a life that is short, as that of certificates for a day.
_WARN_SHARE = 1 / 3
_WARN_AGAIN_SECONDS = 86_400

_log = logger("tls")


class Watched:
    """One end, and what was said of it."""

    def __init__(self, end: End, metrics: Metrics) -> None:
        """Nothing is said yet."""
        self._end, self._metrics = end, metrics
        self._fault = self._said = ""
        self._warned = float("-inf")

    def look(self, now: float) -> None:
        """Take what is new; log what is broken once, and what ends soon once a day."""
        try:
            if self._end.renew():
                _log.info("certificate_renewed", at=self._end.name)
            fault = ""
        except UnsafeConfigurationError as error:
            fault = str(error)
        # Two files are not replaced at once: what is still broken at the next look is broken.
        if fault and fault == self._fault != self._said:
            _log.error("certificate_not_renewed", at=self._end.name, reason=fault)
            self._said = fault
        elif not fault:
            self._said = ""
        self._fault = fault
        self._warn(now)

    def _warn(self, now: float) -> None:
        pair = self._end.material.pair
        if pair is None:
            return
        self._metrics.certificate_expiry.labels(self._end.name).set(pair.ends)
        left = pair.ends - now
        soon = min(_WARN_SECONDS, (pair.ends - pair.begins) * _WARN_SHARE)
        if left < soon and now - self._warned >= _WARN_AGAIN_SECONDS:
            self._warned = now
            _log.warning("certificate_ends_soon", at=self._end.name, hours=round(left / 3600))


async def watch(ends: Iterable[End], metrics: Metrics) -> None:
    """Look at all of them for ever."""
    watched = [Watched(end, metrics) for end in ends]
    while True:
        for one in watched:
            await asyncio.to_thread(one.look, time.time())
        await asyncio.sleep(_LOOK_SECONDS)
