"""The second net: values that no label covers are looked for in what is about to be given.

The first is mask at read; what stands in a column that nobody labelled is caught here or not at
all. INVARIANT: whoever gives rows of a result gives what this gives back, and where it fails there
are none.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from copy import copy

from keystile.detecting.rows import Rows
from keystile.gate.jobs import Job
from keystile.gate.looking import Caught, Look
from keystile.masking.keyed import KeySource
from keystile.model.errors import KeystileError, RefusedError
from keystile.model.masks import KEYED
from keystile.model.schema import Field
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics

_AT_ONCE_BYTES = 16 << 10
_KEPT = 64

_log = logger("gate")


class SecondNet:
    """Looks through results as their jobs' decisions say."""

    def __init__(self, keys: KeySource, metrics: Metrics) -> None:
        """`keys` has the secrets of keyed masks."""
        self._keys = keys
        self._metrics = metrics
        self._looks: OrderedDict[tuple[str, str, bool], Look] = OrderedDict()

    async def caught(self, job: Job, schema: Sequence[Field], rows: Rows) -> Caught:
        """Give rows with what was found in them masked.

        Raises `RefusedError` where a rule keeps back what holds such a value, and where the rows
        cannot be looked through.
        """
        if not rows or not job.plan.decision.detections:
            return Caught(rows)
        try:
            look = await self._look(job, schema)
            if sum(map(len, rows)) <= _AT_ONCE_BYTES:
                caught = look.through(rows)
            else:
                caught = await asyncio.to_thread(look.through, rows)
        except KeystileError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is given
            # INVARIANT: what was not looked through is not given. No value is in the log.
            _log.error("not_looked_through", job=job.id, error=type(error).__name__)
            raise RefusedError(
                "the texts of this result could not be looked through for what no label covers",
                hint="read fewer columns, or leave out long texts",
            ) from None
        for one in caught.findings:
            self._metrics.found_values.labels(one.entity).inc(one.count)
        return caught

    async def said(self, job: Job, error: KeystileError) -> KeystileError:
        """Give an error of BigQuery's without what was found in its words, which may quote data."""
        if not job.plan.decision.detections:
            return error
        told = copy(error)
        try:
            look = await self._look(job, ())
            told.message, told.hint = look.told(error.message), look.told(error.hint)
        except (KeystileError, TimeoutError):
            told.message = "the query failed, and BigQuery's words are kept back"
            told.hint = "look for what may fail in it, such as a `CAST`"
        return told

    async def _look(self, job: Job, schema: Sequence[Field]) -> Look:
        name = job.id, job.plan.digest, bool(schema)
        known = self._looks.get(name)
        if known is None:
            masks = [one.mask for one in job.plan.decision.detections]
            keys = {
                mask.key: await self._keys(mask.key) for mask in masks if isinstance(mask, KEYED)
            }
            known = self._looks[name] = Look(job.plan, schema, keys)
            if len(self._looks) > _KEPT:
                self._looks.popitem(last=False)
        return known
