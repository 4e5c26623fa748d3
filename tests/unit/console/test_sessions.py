import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from keystile.console.sessions import parameter, verdict
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog
from keystile.recording.people_events import VoteBody
from keystile.recording.reader import RecordingReader
from keystile.recording.replay import Approval, Step

VOTED = Approval("a", "approved", votes=(VoteBody(person="p", approve=True),))
ODD = "../a b?&#é/<x>"


async def record(recording: RecordingLog, session: str, rows: int = 0) -> None:
    now = time.time()
    common = {"session": session, "agent": "demo-agent", "job": f"{session}-1"}
    intent = {"sql": "SELECT id", "statement": "SELECT", "decision": {"effect": "allow"}}
    outcome = {
        "state": "done",
        "schema": [{"name": "id", "type": "INTEGER"}],
        "rows": [{"f": [{"v": str(number)}]} for number in range(rows)],
        "total_rows": rows,
    }
    await recording.append(Event(EventKind.INTENT, now, **common, body=intent))
    await recording.append(Event(EventKind.OUTCOME, now, **common, body=outcome))


async def test_a_viewing_is_on_record_once_a_sitting_for_each_person(
    desk: Any, recording: RecordingLog, tmp_path: Path
) -> None:
    await record(recording, "run")
    for person in ("operator", "visitor"):
        await desk.sign_in(person)
        for step in ("1", "1", "2"):
            assert (await desk.get(f"/session?id=run&agent=demo-agent&step={step}")).status == 200
    events = await RecordingReader(tmp_path / "recordings").session("run")
    views = [one.event.body for one in events if one.event.kind is EventKind.VIEWED]
    assert [view["person"] for view in views] == ["operator", "visitor"]
    # A viewing is none of the agent's doings: the list does not move.
    assert ">1</td>" in (await desk.get("/sessions")).text


async def test_any_text_can_be_a_sessions_id(desk: Any, recording: RecordingLog) -> None:
    await record(recording, ODD)
    await desk.sign_in("operator")
    assert (await desk.get(f"/session?id={quote(ODD)}")).status == 200
    assert "<x>" not in (await desk.get("/sessions")).text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("id=nope", 404),
        ("", 404),
        ("id=run&step=x", 400),
        ("id=run&step=-1", 400),
        ("id=run&step=²", 400),
        ("id=run&row=99999999999999", 400),
        ("id=run&step=999", 200),
        ("id=run&row=999", 200),
        ("id=run&step=0", 200),
    ],
)
async def test_odd_addresses_are_answered_plainly(
    desk: Any, recording: RecordingLog, query: str, status: int
) -> None:
    await record(recording, "run", rows=3)
    await desk.sign_in("operator")
    assert (await desk.get(f"/session?{quote(query, safe='=&')}")).status == status


async def test_rows_are_shown_a_hundred_at_a_time(desk: Any, recording: RecordingLog) -> None:
    await record(recording, "run", rows=250)
    await desk.sign_in("operator")
    first = (await desk.get("/session?id=run")).text
    assert "rows 1 to 100 of 250 released" in first
    assert "row=100" in first
    last = (await desk.get("/session?id=run&row=200")).text
    assert "rows 201 to 250 of 250 released" in last
    assert "Rows after" not in last
    assert "row=100" in last


async def test_a_statement_names_its_script(desk: Any, recording: RecordingLog) -> None:
    await record(recording, "run")
    intent = {"sql": "SELECT 2", "request": {"script": "nightly<b>"}}
    common = {"session": "run", "agent": "demo-agent", "job": "run-1_0000"}
    await recording.append(Event(EventKind.INTENT, time.time(), **common, body=intent))
    await desk.sign_in("operator")
    assert "Statement of" not in (await desk.get("/session?id=run&step=1")).text
    shown = (await desk.get("/session?id=run&step=2")).text
    assert "Statement of" in shown
    assert "nightly&lt;b&gt;" in shown


async def test_a_step_shows_what_rules_in_shadow_would_do(
    desk: Any, recording: RecordingLog
) -> None:
    shadows = [{"rule": "no-exports", "would": "refuse", "message": "nothing leaves"}]
    body = {"sql": "SELECT 1", "decision": {"effect": "allow", "shadows": shadows}}
    await recording.append(Event(EventKind.INTENT, 1.0, "run-1", "bot", "j1", body))
    await desk.sign_in("operator")
    shown = (await desk.get("/session?id=run-1&step=1")).text
    assert "<dt>In shadow</dt>" in shown
    assert "<code>no-exports</code>: Would refuse: nothing leaves" in shown


async def test_a_step_names_the_person_behind_the_agent(desk: Any, recording: RecordingLog) -> None:
    await record(recording, "run")
    who = {
        "issuer": "https://i<b>",
        "subject": "s<b>",
        "groups": ["g<b>"],
        "attributes": {"a": "<b>"},
    }
    intent = {"sql": "SELECT 2", "on_behalf_of": "dana<b>", "principal": who}
    common = {"session": "run", "agent": "demo-agent", "job": "run-2"}
    await recording.append(Event(EventKind.INTENT, time.time(), **common, body=intent))
    await desk.sign_in("operator")
    assert "<dt>For</dt>" not in (await desk.get("/session?id=run&step=1")).text
    shown = (await desk.get("/session?id=run&step=2")).text
    assert "<dt>For</dt><dd>dana&lt;b&gt;" in shown
    assert "s&lt;b&gt;<div>https://i&lt;b&gt;</div>" in shown
    assert "<dt>Groups</dt><dd>g&lt;b&gt;" in shown
    assert "a=&lt;b&gt;" in shown


async def test_rows_that_an_agent_sent_are_shown_with_what_is_wrong(
    desk: Any, recording: RecordingLog
) -> None:
    common = {"session": "run", "agent": "demo-agent", "job": "run-1"}
    sent = [{"json": f'{{"id":{number},"note":"<b>"}}'} for number in range(150)]
    intent = {"sql": "-- 150 rows", "statement": "INSERT", "sent": sent}
    fault = {"reason": "invalid", "location": "id", "message": "no <i>number"}
    outcome = {"state": "done", "bad_rows": [{"index": 120, "faults": [fault]}]}
    await recording.append(Event(EventKind.INTENT, time.time(), **common, body=intent))
    await desk.sign_in("operator")
    before = (await desk.get("/session?id=run")).text
    assert "What the agent sent" in before
    assert "not in the table" not in before
    await recording.append(Event(EventKind.OUTCOME, time.time(), **common, body=outcome))
    first = (await desk.get("/session?id=run")).text
    assert "rows 1 to 100 of 150, 1 not in the table" in first
    assert "row=100" in first
    last = (await desk.get("/session?id=run&row=100")).text
    assert "id: no &lt;i&gt;number" in last
    assert "Rows after" not in last
    for page in (before, first, last):
        assert "<b>&#34;" not in page
        assert "<i>number" not in page
    assert (await desk.get("/session?id=run&row=999")).status == 200


async def test_a_bad_cursor_and_filters(desk: Any, recording: RecordingLog) -> None:
    await desk.sign_in("operator")
    assert "No session is on record yet" in (await desk.get("/sessions")).text
    await record(recording, "run")
    assert "demo-agent" in (await desk.get("/sessions?agent=demo-agent&effect=allow")).text
    assert "Nothing fits" in (await desk.get("/sessions?agent=other")).text
    assert (await desk.get("/sessions?cursor=!")).status == 400


@pytest.mark.parametrize(
    ("state", "approvals", "word"),
    [
        ("running", (), "running"),
        ("running", (Approval("a"),), "waiting"),
        ("running", (Approval("a", "approved"),), "running"),
        ("done", (), "allowed"),
        ("done", (VOTED,), "approved"),
        ("refused", (), "refused"),
        ("expired", (), "expired"),
        ("something new", (), "something new"),
    ],
)
def test_a_steps_verdict_in_a_word(state: str, approvals: tuple[Approval, ...], word: str) -> None:
    step = Step(1, 0.0, "job", "agent", "SELECT 1", state, approvals=approvals)
    assert verdict(step)[0] == word


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        (
            {"name": "x", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}},
            ("x", "INT64", "1"),
        ),
        (
            {"name": "x", "type": {"kind": "INT64", "element": None}, "value": {"value": None}},
            ("x", "INT64", "NULL"),
        ),
        (
            {
                "parameterType": {"type": "ARRAY", "arrayType": {"type": "INT64"}},
                "parameterValue": {"arrayValues": [{"value": "1"}]},
            },
            (
                "",
                '{"type":"ARRAY","arrayType":{"type":"INT64"}}',
                '{"arrayValues":[{"value":"1"}]}',
            ),
        ),
        ("odd", ("", "", '"odd"')),
    ],
)
def test_recorded_parameters_in_either_form(recorded: Any, shown: tuple[str, str, str]) -> None:
    assert parameter(recorded) == shown
