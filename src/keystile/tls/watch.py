"""Looks at every certificate again and again: takes new ones, and warns of those that end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from keystile.model.errors import UnsafeConfigurationError
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.tls.end import End
from keystile.tls.pair import Span, spans

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
        self._warned: dict[str, float] = {}
        self._read = b""
        self._authorities: tuple[Span, ...] = ()

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
        pair = self._end.material.pair
        if pair:
            self._metrics.certificate_expiry.labels(self._end.name).set(pair.ends)
            self._warn("certificate_ends_soon", Span(pair.begins, pair.ends), now)
        first = self._first_authority(now)
        if first:
            self._metrics.authority_expiry.labels(self._end.name).set(first.ends)
            self._warn("authority_ends_soon", first, now)

    def _first_authority(self, now: float) -> Span | None:
        """Give the authority that ends next; of those that all have ended, the last one."""
        content = self._end.material.authorities
        if content != self._read:
            self._read, self._authorities = content, spans(content) if content else ()
        every = sorted(self._authorities, key=lambda one: one.ends)
        # Files keep what has ended for years: only where nothing counts is that worth a word.
        return next((one for one in every if one.ends > now), every[-1] if every else None)

    def _warn(self, event: str, span: Span, now: float) -> None:
        left = span.ends - now
        soon = min(_WARN_SECONDS, (span.ends - span.begins) * _WARN_SHARE)
        warned = self._warned.get(event, float("-inf"))
        if left < soon and now - warned >= _WARN_AGAIN_SECONDS:
            self._warned[event] = now
            _log.warning(event, at=self._end.name, hours=round(left / 3600))


async def watch(ends: Iterable[End], metrics: Metrics) -> None:
    """Look at all of them for ever."""
    watched = [Watched(end, metrics) for end in ends]
    while True:
        for one in watched:
            await asyncio.to_thread(one.look, time.time())
        await asyncio.sleep(_LOOK_SECONDS)
