import time
from typing import Any

import pytest

from keystile.approvals.machine import Person, Summary, TouchedColumn
from keystile.console.inbox import MAX_COMMENT, why_not
from keystile.model.decision import ApprovalDemand
from keystile.model.principal import Principal


async def decide(desk: Any, asked: Any, decision: str = "approve", **changes: str) -> Any:
    fields = {"csrf": await desk.csrf(), "digest": asked.digest, "comment": "fine"}
    return await desk.post(f"/approvals/{asked.id}", **(fields | {"decision": decision} | changes))


async def test_a_vote_goes_through_and_answers_with_a_redirect(desk: Any) -> None:
    asked = await desk.asked()
    await desk.sign_in("operator")
    answer = await decide(desk, asked, comment=" line one\r\nline two ")
    assert (answer.status, answer.headers["location"]) == (303, f"/approvals/{asked.id}")
    (vote,) = (await desk.approvals.get(asked.id)).votes
    assert (vote.person, vote.comment, vote.via) == ("operator", "line one\nline two", "console")


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"csrf": "0" * 64}, 403, "earlier sign-in"),
        ({"csrf": ""}, 403, "earlier sign-in"),
        ({"digest": "e" * 64}, 400, "has changed since you opened it"),
        ({"decision": "maybe"}, 400, "Choose to approve or to deny"),
        ({"decision": "deny", "comment": " \r\n"}, 400, "needs a reason"),
        ({"comment": "x" * (MAX_COMMENT + 1)}, 400, "longer than"),
    ],
)
async def test_what_is_no_vote(desk: Any, changes: dict[str, str], status: int, says: str) -> None:
    asked = await desk.asked()
    await desk.sign_in("operator")
    answer = await decide(desk, asked, **changes)
    assert answer.status == status
    assert says in answer.text
    found = await desk.approvals.get(asked.id)
    assert (found.state, found.votes) == ("pending", ())


async def test_a_form_of_one_session_is_no_good_in_another(desk: Any) -> None:
    asked = await desk.asked()
    await desk.sign_in("operator")
    stolen = await desk.csrf()
    await desk.sign_in("operator")
    assert (await decide(desk, asked, csrf=stolen)).status == 403


async def test_who_is_not_an_approver_cannot_decide_by_hand_either(desk: Any) -> None:
    asked = await desk.asked()
    await desk.sign_in("visitor")
    for decision in ("approve", "deny"):
        answer = await decide(desk, asked, decision)
        assert answer.status == 403
    assert (await desk.approvals.get(asked.id)).state == "pending"


async def test_reasons_why_somebody_may_not(desk: Any) -> None:
    now = time.time()
    steward = Person("operator", ("data-stewards",))
    asked = await desk.asked(demand=ApprovalDemand("two", ("data-stewards",), 2, 600))
    assert why_not(steward, asked, now) == {True: "", False: ""}
    voted = await desk.approvals.vote(
        asked.id, steward, approve=True, comment="", via="cli", now=now
    )
    reasons = why_not(steward, voted, now)
    assert "someone else" in reasons[True]
    assert reasons[False] == ""
    own = await desk.asked(principal=Principal("i", "s", "a", "r", on_behalf_of="operator"))
    reasons = why_not(steward, own, now)
    assert "own behalf" in reasons[True]
    assert reasons[False] == ""
    assert "expired" in why_not(steward, asked, now + 601)[False]


async def test_pending_is_oldest_first_and_filters_stand_in_the_address(desk: Any) -> None:
    now = time.time()
    other = Principal("i", "s", "other-agent", "r")
    labelled = Summary("SELECT 1", columns=(TouchedColumn("t.ssn", ("pii.ssn",)),), reason="r")
    new = await desk.asked(now=now)
    old = await desk.asked(now=now - 60, principal=other, summary=labelled)
    away = await desk.asked(demand=ApprovalDemand("rule", ("security",), 1, 600))
    await desk.sign_in("operator")

    async def listed(query: str) -> list[str]:
        text = (await desk.get(f"/approvals{query}")).text
        places = {one.id: text.find(f'id="r-{one.id}"') for one in (new, old, away)}
        return sorted((one for one in places if places[one] >= 0), key=places.__getitem__)

    assert (await listed(""))[:2] == [old.id, new.id]
    assert await listed("?agent=other-agent") == [old.id]
    assert await listed("?label=pii.ssn") == [old.id]
    assert await listed("?mine=1") == [old.id, new.id]
    assert await listed("?agent=nobody") == []
    assert await listed("?tab=closed") == []
    await desk.approvals.expire_due(now + 550)
    assert await listed("") == [new.id, away.id]
    assert await listed("?tab=closed&state=expired") == [old.id]
    assert "Nobody decided in time" in (await desk.get(f"/approvals/{old.id}")).text


async def test_a_query_that_needs_no_approval_is_shown_where_one_is_known(desk: Any) -> None:
    await desk.sign_in("operator")
    known = await desk.asked(summary=Summary("SELECT id, ssn FROM t", instead="SELECT plain_id"))
    other = await desk.asked(job="another")
    pages = [(await desk.get(f"/approvals/{one.id}")).text for one in (known, other)]
    assert ["without approval" in page for page in pages] == [True, False]
    assert ["plain_id" in page for page in pages] == [True, False]


async def test_where_a_result_goes_is_shown_beside_the_query(desk: Any) -> None:
    await desk.sign_in("operator")
    into = 'acme-shop.lab.kept {"writeDisposition":"WRITE_TRUNCATE"}'
    kept = await desk.asked(summary=Summary("SELECT 1", into=into))
    other = await desk.asked(job="another")
    pages = [(await desk.get(f"/approvals/{one.id}")).text for one in (kept, other)]
    assert ["acme-shop.lab.kept" in page for page in pages] == [True, False]
    assert ["WRITE_TRUNCATE" in page for page in pages] == [True, False]


async def test_an_unknown_request_is_said_plainly(desk: Any) -> None:
    await desk.sign_in("operator")
    answer = await desk.get("/approvals/nope")
    assert answer.status == 404
    assert "no approval request <code>nope</code>" in answer.text
