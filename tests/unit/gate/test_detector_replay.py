from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from keystile.gate.basis import detectors_of
from keystile.gate.detector_replay import Detected, DetectorReplay, Found
from keystile.gate.plan import Plan
from keystile.gate.simulation import Looked, Simulated
from keystile.model.decision import Decision, Detection, Effect
from keystile.model.facts import ColumnUse, OutputColumn, QueryFacts, Use
from keystile.model.masks import ConstantMask
from keystile.model.schema import ColumnRef, SqlType, TableId
from keystile.policy.ruling import Change, Filtered, Kind, Masked, Ruling
from keystile.recording.asked import AskedQuery
from keystile.recording.decided import DecisionBody
from keystile.recording.events import Event, EventKind
from keystile.recording.query_events import IntentBody
from keystile.recording.reader import Recorded
from keystile.recording.results import JobResults
from keystile.recording.writer import canonical, claim

BODY = ColumnRef(TableId("p", "d", "tickets"), ("body",))
FACTS = QueryFacts(
    "SELECT",
    (),
    columns=(ColumnUse(BODY, (Use.OUTPUT,)),),
    output=(OutputColumn("body", SqlType("STRING"), (BODY,)),),
)
SSN = Detection("net", "ssn", ConstantMask("[SSN]"), "pii.ssn")
MAIL = Detection("net", "email", ConstantMask("[EMAIL]"))
SCHEMA = [{"name": "body", "type": "STRING"}]
ALLOWED = Ruling("allow")
SHOWS_MORE = Change(Kind.UNMASKED, "allow", "allow", unmasked=(Masked("a", "b", "c"),))
SHOWS_LESS = Change(
    Kind.FILTERED, "allow", "allow", filters=(Filtered("p.d.tickets", "f", "id = 1"),)
)
MASKS = Change(Kind.MASKED, "allow", "allow", masked=(Masked("p.d.tickets.body", "l", "null"),))
VALUE = "536-90-4399"


def row(text: str) -> dict[str, Any]:
    return {"f": [{"v": text}]}


def recordings(folder: Path, *bodies: dict[str, Any]) -> JobResults:
    writer = claim(folder, segment_bytes=1 << 20)
    kinds = (EventKind.OUTCOME, EventKind.PAGE, EventKind.PAGE)
    writer.append(
        [
            canonical(Event(kind, 10.0 + at, "s", "bot", "job", body))
            for at, (kind, body) in enumerate(zip(kinds, bodies, strict=False))
        ]
    )
    writer.close()
    return JobResults(folder)


def outcome(*texts: str, **more: Any) -> dict[str, Any]:
    return {"state": "done", "schema": SCHEMA, "rows": [*map(row, texts)], **more}


def asked(
    before: tuple[Detection, ...],
    after: tuple[Detection, ...],
    change: Change | None = None,
    facts: QueryFacts = FACTS,
) -> Simulated:
    was, now = (Decision(Effect.ALLOW, (), "", detections=one) for one in (before, after))
    decision = DecisionBody(effect="allow", detectors=detectors_of(was))
    recorded = Recorded("c", 1, Event(EventKind.INTENT, 9.0, "s", "bot", "job"))
    plan = Plan(facts, now, "", (), (), 0, "")
    looked = Looked(detectors_of(now), plan if after else None)
    query = AskedQuery(9.0, recorded, IntentBody(decision=decision))
    return Simulated(query, ALLOWED, ALLOWED, change, looked=looked)


async def replayed(results: JobResults, one: Simulated) -> DetectorReplay:
    found = DetectorReplay(results)
    await found.add(one, await results.ended(["job"]))
    return found


def sums(found: DetectorReplay) -> dict[tuple[str, str, str], int]:
    return {
        (str(one.kind), one.entity, one.column): count.values for one, count in found.found.items()
    }


async def test_a_detector_that_a_draft_adds_is_run_over_rows_on_record_and_no_value_is_told(
    tmp_path: Path,
) -> None:
    pages = outcome(f"is {VALUE}", "none"), {"start": 2, "rows": [row(f"{VALUE} and {VALUE}")]}
    again = {"start": 2, "rows": [row(f"{VALUE} and {VALUE}")]}
    found = await replayed(recordings(tmp_path, *pages, again), asked((MAIL,), (MAIL, SSN)))
    [(detected, count)] = found.found.items()
    assert detected == Detected(Found.MASKED, "ssn", "body", ("p.d.tickets.body",))
    assert (count.values, count.queries, count.jobs, found.queries) == (3, 1, ["job"], 1)
    assert VALUE not in repr(msgspec.to_builtins([*found.found]))


async def test_one_that_keeps_results_back_is_told_as_that(tmp_path: Path) -> None:
    deny = msgspec.structs.replace(SSN, deny=True)
    found = await replayed(recordings(tmp_path, outcome(VALUE)), asked((), (deny,)))
    assert sums(found) == {("newly kept back", "ssn", "body"): 1}


async def test_of_a_detector_that_is_gone_what_it_found_then_is_told(tmp_path: Path) -> None:
    finding = {"column": "body", "entity": "ssn", "label": "pii.ssn", "count": 4}
    given = outcome("is [SSN]", "j@example.com", found=[finding])
    found = await replayed(recordings(tmp_path, given), asked((SSN, MAIL), (MAIL,)))
    assert sums(found) == {("no longer masked", "ssn", "body"): 4}


async def test_another_mask_for_the_same_entity_masks_otherwise(tmp_path: Path) -> None:
    finding = {"column": "body", "entity": "ssn", "label": "pii.ssn", "count": 2}
    other = msgspec.structs.replace(SSN, mask=ConstantMask("***"))
    given = outcome("is [SSN]", found=[finding])
    found = await replayed(recordings(tmp_path, given), asked((SSN,), (other,)))
    assert sums(found) == {("masked otherwise", "ssn", "body"): 2}


async def test_a_masked_value_that_looks_like_one_is_not_counted_as_shown(tmp_path: Path) -> None:
    """A token of an SSN has the form of one."""
    finding = {"column": "body", "entity": "ssn", "label": "pii.ssn", "count": 1}
    other = msgspec.structs.replace(SSN, mask=ConstantMask("***"))
    given = outcome(f"is {VALUE}", found=[finding])
    found = await replayed(recordings(tmp_path, given), asked((SSN,), (other,)))
    assert sums(found) == {("masked otherwise", "ssn", "body"): 1}
    assert ["were masked in that column" in why for why in found.unknown] == [True]


async def test_the_same_detectors_change_nothing_and_nothing_is_read(tmp_path: Path) -> None:
    found = await replayed(recordings(tmp_path, outcome(VALUE)), asked((SSN,), (SSN,)))
    assert (found.looked, found.queries, found.found) == (0, 0, {})


@pytest.mark.parametrize(
    ("body", "change", "why"),
    [
        (outcome(VALUE), SHOWS_MORE, "other rows"),
        (outcome(VALUE), SHOWS_LESS, "other rows"),
        ({"state": "failed", "error": {"message": "it keeps this result back"}}, None, "kept back"),
        (outcome() | {"rows": [{"f": [{"v": {"f": 1}}]}]}, None, "looked through"),
    ],
)
async def test_what_cannot_be_known_is_told_with_its_reason(
    tmp_path: Path, body: dict[str, Any], change: Change | None, why: str
) -> None:
    found = await replayed(recordings(tmp_path, body), asked((MAIL,), (SSN,), change))
    assert found.queries == 0
    [told] = found.unknown
    assert why in told


@pytest.mark.parametrize(("uses", "unknown"), [((), 0), ((Use.FILTER,), 1), ((Use.GROUP,), 1)])
async def test_of_rows_that_a_new_mask_would_choose_otherwise_nothing_is_known(
    tmp_path: Path, uses: tuple[Use, ...], unknown: int
) -> None:
    facts = msgspec.structs.replace(FACTS, columns=(ColumnUse(BODY, (Use.OUTPUT, *uses)),))
    one = asked((), (SSN,), MASKS, facts)
    found = await replayed(recordings(tmp_path, outcome("none")), one)
    assert (found.looked, found.unknown.total()) == (1, unknown)
