"""Looks through recorded rows with the detectors of another policy; no value leaves this file.

The rows on record are those that were given: what was found in them then is masked in them. So what
is found now was shown, and what the recording counts as found was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from keystile.gate.looking import Look
from keystile.gate.simulation import Looked, Simulated
from keystile.model.facts import Use
from keystile.recording.query_events import IntentBody
from keystile.recording.results import Ended, JobResults, Released
from keystile.wire.schema import fields_from_json

_OTHER_ROWS = "the draft shows other rows or values than are on record"
_KEPT_BACK = "its rows were kept back, so that they are not on record"
_NOT_READ = "its rows on record could not be looked through"
_MASKED_ALREADY = (
    "values of that kind were masked in that column, and what they were is not on record"
)

_KEEPS_BACK = "keeps this result back"
_QUERIES_NAMED = 20


class Found(StrEnum):
    """What a draft's detectors would do otherwise with the values of a result."""

    MASKED = "newly masked"
    KEPT_BACK = "newly kept back"
    OTHERWISE = "masked otherwise"
    SHOWN = "no longer masked"


class Detected(msgspec.Struct, frozen=True, order=True):
    """Values of an entity in a column of results, which may come from these `columns` of tables."""

    kind: Found
    entity: str
    column: str
    columns: tuple[str, ...] = ()


class DetectedCount(msgspec.Struct):
    """In how many `queries` there are how many such `values`; `jobs` names some of the queries."""

    queries: int = 0
    values: int = 0
    jobs: list[str] = msgspec.field(default_factory=list)


class DetectorReplay:
    """Counts. `queries` would have values treated otherwise; `unknown` says why others may."""

    def __init__(self, results: JobResults) -> None:
        """Look through rows of `results`."""
        self._results = results
        self.looked = 0
        self.queries = 0
        self.found: dict[Detected, DetectedCount] = {}
        self.unknown: Counter[str] = Counter()

    async def add(self, one: Simulated, ended: Mapping[str, Ended]) -> None:
        """Look through what was released of one query, where its detectors would be others."""
        body, recorded = one.asked.body, one.asked.recorded
        if recorded is None or not isinstance(body, IntentBody) or not differs(one):
            return
        job = recorded.event.job
        end = ended.get(job)
        if end is None or body.request.get("dry_run"):
            return  # nothing was given
        self.looked += 1
        if end.state != "done":
            kept_back = end.error is not None and _KEEPS_BACK in end.error.message
            self.unknown.update([_KEPT_BACK] if kept_back else [])
            return
        if _shows_others(one):
            self.unknown[_OTHER_ROWS] += 1
            return
        pages = await self._results.released(job)
        try:
            counts = _counts(body.decision.detectors, one.looked, pages)
        except (TimeoutError, TypeError, ValueError):
            self.unknown[_NOT_READ] += 1
            return
        self.unknown.update([_MASKED_ALREADY] if counts.unclear else [])
        self.queries += bool(counts.found)
        for detected, values in counts.found.items():
            count = self.found.setdefault(detected, DetectedCount())
            count.queries += 1
            count.values += values
            if len(count.jobs) < _QUERIES_NAMED:
                count.jobs.append(job)


class _Counts(NamedTuple):
    found: Counter[Detected]
    unclear: bool


def differs(one: Simulated) -> bool:
    """Tell whether a draft that lets a query run looks for something else in its result."""
    body = one.asked.body
    if one.after is None or one.after.refused or body is None or body.decision is None:
        return False
    return {**one.looked.detectors} != body.decision.detectors


def _shows_others(one: Simulated) -> bool:
    """Tell whether a draft shows rows or values that are not on record, or not all of those.

    A column that is newly masked makes other rows where a query chooses, joins or groups by it.
    """
    change = one.change
    if change is None:
        return False
    if change.unmasked or change.remasked or change.filters or change.filters_no_more:
        return True
    masked = {each.column for each in change.masked}
    uses = one.looked.plan.facts.columns if one.looked.plan else ()
    return any({*use.uses} - {Use.OUTPUT} for use in uses if str(use.column) in masked)


def _counts(before: Mapping[str, str], after: Looked, pages: Iterable[Released]) -> _Counts:
    """Count what would be treated otherwise. Raises as `Look.counted` does."""
    others = {name for name, what in after.detectors.items() if before.get(name) != what}
    detections = after.plan.decision.detections if after.plan else ()
    denying = {one.entity for one in detections if one.deny}
    found: Counter[Detected] = Counter()
    masked: set[tuple[str, str]] = set()
    pages = [*pages]
    for page in pages:
        for one in page.found:
            if one.entity not in after.detectors or one.entity in others:
                masked.add((one.column, one.entity))
                kind = Found.KEPT_BACK if one.entity in denying else Found.OTHERWISE
                kind = kind if one.entity in others else Found.SHOWN
                found[Detected(kind, one.entity, one.column, one.columns)] += one.count
    unclear = False
    if others and after.plan and pages:
        look = Look(after.plan, fields_from_json({"fields": [*pages[0].schema]}), {})
        for page in pages:
            for (at, path, entry), count in look.counted(page.rows).items():
                if entry.entity in others and (path, entry.entity) in masked:
                    unclear = True
                elif entry.entity in others:
                    kind = Found.KEPT_BACK if entry.entity in denying else Found.MASKED
                    found[Detected(kind, entry.entity, path, look.sources(at))] += count
    return _Counts(found, unclear)
