import time
from typing import Any

import pytest

from keystile.recording.log import RecordingLog


@pytest.mark.parametrize("path", ["/approvals", "/approvals/x", "/sessions", "/session", "/live"])
async def test_every_page_needs_a_person(desk: Any, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer token"}, {"cookie": "keystile-8421=guess"}):
        answer = await desk.get(path, **headers)
        assert answer.status == 401
        assert "keystile console link" in answer.text


async def test_a_gateway_token_opens_nothing_even_beside_a_forged_form(desk: Any) -> None:
    asked = await desk.asked()
    answer = await desk.ask(
        "POST",
        f"/approvals/{asked.id}",
        {"decision": "approve", "digest": asked.digest},
        authorization="Bearer token",
    )
    assert answer.status == 401
    assert (await desk.approvals.get(asked.id)).state == "pending"


async def test_a_link_from_another_site_is_asked_for_once_more(desk: Any) -> None:
    answer = await desk.get("/approvals/x", sec_fetch_site="cross-site")
    assert answer.status == 200
    assert 'http-equiv="refresh"' in answer.text
    assert (await desk.get("/approvals/x", sec_fetch_site="same-origin")).status == 401


async def test_guessing_links_is_slowed_down(desk: Any) -> None:
    statuses = [(await desk.post("/sign-in", token="guess")).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    good = await desk.post("/sign-in", token=await desk.people.new_link("operator"))
    assert good.status == 429


async def test_unknown_pages_are_said_plainly(desk: Any) -> None:
    answer = await desk.get("/nothing/here")
    assert answer.status == 404
    assert "<h1>Not Found</h1>" in answer.text
    assert (await desk.ask("DELETE", "/approvals")).status == 405


async def test_a_failure_inside_shows_nothing_of_it(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("the inner secret")

    monkeypatch.setattr(desk.people, "signed_in", broken)
    with pytest.raises(RuntimeError):  # Starlette answers first, then lets the server log it.
        await desk.get("/approvals", cookie="keystile-8421=x")


async def test_the_page_of_an_unknown_failure() -> None:
    from starlette.requests import Request  # noqa: PLC0415 - used here only

    from keystile.console.app import _unknown_error  # noqa: PLC0415 - the same

    answer = await _unknown_error(Request({"type": "http"}), RuntimeError("the inner secret"))
    assert answer.status_code == 500
    assert b"inner secret" not in answer.body


async def test_nothing_is_shown_where_the_viewing_cannot_be_recorded(
    desk: Any, recording: RecordingLog
) -> None:
    from keystile.recording.events import Event, EventKind  # noqa: PLC0415 - used here only

    body = {"sql": "SELECT 'seen'"}
    await recording.append(
        Event(EventKind.INTENT, time.time(), session="run", agent="a", job="1", body=body)
    )
    await desk.sign_in("operator")
    await recording.close()
    answer = await desk.get("/session?id=run&agent=a")
    assert answer.status == 403
    assert "seen" not in answer.text
    assert "recording is not open" in answer.text
