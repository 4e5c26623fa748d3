from __future__ import annotations

import html
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from keystile.gate.jobs import Job, JobState
from keystile.gate.ledger import reserve
from keystile.gate.plan import Plan
from keystile.identity.agents import AgentId, Facts
from keystile.identity.disabling import Target
from keystile.model.decision import Decision, Effect, Limits
from keystile.model.errors import UnauthenticatedError
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.policy.budget import Charge
from keystile.store.notes import Notes
from keystile.wire.requests import QueryRequest

ISSUER = "https://issuer.example"
CI = Principal(ISSUER, "repo:acme/shop:main", "acme/shop", "run-1", groups=("ci",))
BOT_PAGE = "/agent?issuer=&subject=bot"
CI_PAGE = f"/agent?{urlencode({'issuer': ISSUER, 'subject': CI.subject})}"


async def known(desk: Any) -> None:
    """Make one agent of our own, which the visitor owns, and have one of another issuer come."""
    await desk.fleet.agents.create("bot", ["analytics"], {}, "operator", Facts(owner="visitor"))
    await desk.fleet.agents.saw(CI, own=False)


async def running(desk: Any, principal: Principal, state: JobState = JobState.RUNNING) -> None:
    plan = Plan(
        QueryFacts("SELECT", (Action.READ,)),
        Decision(Effect.ALLOW, (), ""),
        "SELECT 1",
        (),
        (),
        0,
        "d",
    )
    name = f"job-{time.monotonic_ns()}"
    request = QueryRequest("SELECT 1", "acme-shop")
    await desk.fleet.jobs.add(Job(name, principal, request, plan, name, "US", state, time.time()))


async def disable(
    desk: Any, issuer: str, subject: str, scope: str, changes: dict[str, str] | None = None
) -> Any:
    fields = {"csrf": await desk.csrf(), "issuer": issuer, "subject": subject, "scope": scope}
    return await desk.post("/agent", **(fields | (changes or {})))


async def test_agents_are_listed_with_what_is_known_of_them(desk: Any) -> None:
    await desk.sign_in("visitor")
    assert "No agent is known yet" in (await desk.get("/agents")).text
    await known(desk)
    await running(desk, Principal("http://gw/issuer", "bot", "bot", "run-2", on_behalf_of="ana"))
    text = (await desk.get("/agents")).text
    for words in ("bot", "analytics", "visitor", "built-in", ISSUER, "acme/shop", "ci"):
        assert words in text
    # What runs stands first, whomever it is for.
    assert text.index(">bot<") < text.index(">acme/shop<")
    assert '<span class="badge accent">1</span>' in text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("text=ACME", ["acme/shop"]),
        ("text=visitor", ["bot"]),
        ("text=repo:", ["acme/shop"]),
        ("state=disabled", []),
        ("state=active&text=bot", ["bot"]),
        ("state=nonsense", ["bot", "acme/shop"]),
    ],
)
async def test_the_list_is_narrowed(desk: Any, query: str, names: list[str]) -> None:
    await desk.sign_in("visitor")
    await known(desk)
    text = (await desk.get(f"/agents?{query}")).text
    assert [name for name in ("bot", "acme/shop") if f">{name}<" in text] == names
    assert ("Nothing fits these filters" in text) is (not names)


async def test_a_page_shows_what_an_agent_has_running_and_waiting(desk: Any) -> None:
    await desk.sign_in("visitor")
    await known(desk)
    await running(desk, CI)
    await running(desk, CI, JobState.PENDING)
    page = await desk.get(CI_PAGE)
    assert page.status == 200
    assert page.text.count("waits for a person") == 1
    assert page.text.count(">running<") == 1
    assert (await desk.get("/agent?issuer=&subject=ghost")).status == 404


async def test_a_page_shows_what_is_used_and_left_of_its_limits(desk: Any) -> None:
    await desk.sign_in("visitor")
    await known(desk)
    page = "/agent?issuer=&subject=bot"
    assert "No query of it was let in under a limit yet." in (await desk.get(page)).text
    own = Limits("cost", "agent", "http://gw/issuer|bot", bytes_per_day=2 * 10**12)
    shared = Limits("shared", "group", "analytics", rows_per_query=7)
    others = Limits("others", "group", "elsewhere", rows_per_query=7)
    async with desk.fleet.ledger._database.begin() as connection:
        await reserve(connection, "j", (own, shared, others), Charge(5 * 10**11, 5 * 10**11))
    text = (await desk.get(page)).text
    for words in ("bytes_per_day", "2 TB", "500 GB", "1.5 TB", "group analytics together", ">7<"):
        assert words in text
    assert "others" not in text


async def test_an_operator_disables_one_agent(desk: Any) -> None:
    await desk.sign_in("operator")
    await known(desk)
    answer = await disable(desk, ISSUER, CI.subject, "one")
    assert (answer.status, answer.headers["location"]) == (303, CI_PAGE)
    agent = await desk.fleet.agents.by_id(AgentId(ISSUER, CI.subject))
    assert (agent.state(0), agent.disabled_by) == ("disabled", "operator")
    (one,) = await desk.fleet.disablings.open()
    assert (one.name, one.subject, one.via) == ("", CI.subject, "console")
    assert "by operator" in (await desk.get(CI_PAGE)).text


async def test_an_operator_disables_all_of_a_name(desk: Any) -> None:
    await desk.sign_in("operator")
    await known(desk)
    assert (await disable(desk, ISSUER, CI.subject, "name")).status == 303
    (one,) = await desk.fleet.disablings.open()
    assert (one.name, one.subject) == ("acme/shop", "")


async def test_an_owner_disables_their_own_agent_and_nobody_elses(desk: Any) -> None:
    await desk.sign_in("visitor")
    await known(desk)
    refused = await disable(desk, ISSUER, CI.subject, "one")
    assert refused.status == 403
    assert "does not own" in refused.text
    assert await desk.fleet.disablings.open() == ()
    assert (await disable(desk, "", "bot", "one")).status == 303
    assert (await desk.fleet.agents.get("bot")).disabled_by == "visitor"


async def test_an_owner_does_not_disable_a_namesake_along(desk: Any) -> None:
    await desk.sign_in("visitor")
    await known(desk)
    namesake = Principal(ISSUER, "another", "bot", "s")
    await desk.fleet.agents.saw(namesake, own=False)
    assert (await disable(desk, "", "bot", "name")).status == 403
    assert await desk.fleet.disablings.open() == ()


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"csrf": "0" * 64}, 403), ({"scope": "all"}, 400), ({"subject": "ghost"}, 404)],
)
async def test_what_disables_nobody(desk: Any, changes: dict[str, str], status: int) -> None:
    await desk.sign_in("operator")
    await known(desk)
    assert (await disable(desk, "", "bot", "one", changes)).status == status
    assert await desk.fleet.disablings.open() == ()


async def enable(desk: Any, scope: str, changes: dict[str, str] | None = None) -> Any:
    fields = {"csrf": await desk.csrf(), "issuer": "", "subject": "bot", "scope": scope}
    fields["reason"] = "the bug is fixed"
    return await desk.post("/agent/enable", **(fields | (changes or {})))


async def disabled(desk: Any, by: str, via: str = "console", name: str = "") -> Target:
    """Disable the bot, with nothing left to stop."""
    target = Target(name) if name else Target(subject="bot")
    await desk.fleet.disablings.close(await desk.fleet.disablings.disable(target, by, via))
    return target


async def state_of_bot(desk: Any) -> str:
    return str((await desk.fleet.agents.get("bot")).state(0))


async def test_an_operator_enables_for_a_reason_and_tokens_of_before_are_ended(desk: Any) -> None:
    await desk.sign_in("operator")
    await known(desk)
    token, _ = await desk.fleet.tokens.issue(Principal("http://gw/issuer", "bot", "bot", "s"))
    await disabled(desk, "ana", "cli")
    page = (await desk.get(BOT_PAGE)).text
    assert "This agent alone, by ana" in page
    assert "Enable this agent" in page
    answer = await enable(desk, "one")
    assert (answer.status, answer.headers["location"]) == (303, BOT_PAGE)
    assert await state_of_bot(desk) == "active"
    with pytest.raises(UnauthenticatedError):
        await desk.fleet.tokens.find(token)
    (note,) = await Notes(desk.fleet.disablings._database).take(time.time())
    told = {"person": "operator", "reason": "the bug is fixed", "via": "console"}
    assert note.kind == "agent_enabled"
    assert told.items() <= note.body.items()


async def test_what_was_disabled_by_name_is_enabled_by_name(desk: Any) -> None:
    await desk.sign_in("operator")
    await known(desk)
    await disabled(desk, "operator", name="bot")
    assert "Enable all that are called so" in (await desk.get(BOT_PAGE)).text
    assert (await enable(desk, "one")).status == 404
    assert await state_of_bot(desk) == "disabled"
    assert (await enable(desk, "name")).status == 303
    assert await state_of_bot(desk) == "active"


async def test_who_may_not_disable_an_agent_was_told_half_a_sentence(desk: Any) -> None:
    await desk.sign_in("visitor")
    await known(desk)
    command = "run <code>keystile agent disable</code> on the gateway's machine"
    said = "<code>visitor</code> does not own <code>acme/shop</code>"
    assert f"{said} and is not in <code>data-stewards</code>; ask someone of" in (
        await told(desk, CI_PAGE)
    )
    desk.fleet.operators.clear()  # as where the settings name none
    assert f"{said}; {command}" in await told(desk, CI_PAGE)


async def told(desk: Any, page: str) -> str:
    """Give a page's text, as it reads."""
    return html.unescape((await desk.get(page)).text)


async def test_an_owner_takes_back_their_own_disabling_and_nobody_elses(desk: Any) -> None:
    await desk.sign_in("visitor")
    await known(desk)
    await disabled(desk, "operator")
    assert "did not disable it" in (await desk.get(BOT_PAGE)).text
    assert (await enable(desk, "one")).status == 403
    # A command's user of the same name is another person.
    await desk.fleet.disablings.enable(Target(subject="bot"), "ana", "fixed", "cli")
    await disabled(desk, "visitor", "cli")
    assert (await enable(desk, "one")).status == 403
    assert await state_of_bot(desk) == "disabled"
    await desk.fleet.disablings.enable(Target(subject="bot"), "ana", "fixed", "cli")
    await disabled(desk, "visitor")
    assert (await enable(desk, "one")).status == 303
    assert await state_of_bot(desk) == "active"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"csrf": "0" * 64}, 403),
        ({"scope": "all"}, 400),
        ({"subject": "ghost"}, 404),
        ({"reason": " "}, 400),
        ({"reason": "x" * 501}, 400),
    ],
)
async def test_what_enables_nobody(desk: Any, changes: dict[str, str], status: int) -> None:
    await desk.sign_in("operator")
    await known(desk)
    await disabled(desk, "operator")
    assert (await enable(desk, "one", changes)).status == status
    assert await state_of_bot(desk) == "disabled"


async def test_an_agent_is_not_enabled_while_what_it_left_is_being_stopped(desk: Any) -> None:
    await desk.sign_in("operator")
    await known(desk)
    await disable(desk, "", "bot", "one")
    assert "still being stopped" in (await desk.get(BOT_PAGE)).text
    assert (await enable(desk, "one")).status == 400
    assert await state_of_bot(desk) == "disabled"


async def test_who_is_not_signed_in_sees_and_does_nothing(desk: Any) -> None:
    await known(desk)
    for answer in (
        await desk.get("/agents"),
        await desk.get(CI_PAGE),
        await desk.post("/agent", issuer="", subject="bot", scope="one", csrf="0" * 64),
        await desk.post("/agent/enable", issuer="", subject="bot", scope="one", reason="why"),
    ):
        assert answer.status == 401
        assert "acme/shop" not in answer.text
    assert await desk.fleet.disablings.open() == ()


async def test_text_of_an_issuer_stays_text(desk: Any) -> None:
    await desk.sign_in("operator")
    evil = Principal(ISSUER, "<script>x</script>", "a\u202eb", "s", groups=("<b>",))
    await desk.fleet.agents.saw(evil, own=False)
    pages = ["/agents", f"/agent?{urlencode({'issuer': ISSUER, 'subject': evil.subject})}"]
    for page in pages:
        text = (await desk.get(page)).text
        assert "<script>x" not in text
        assert "<b>" not in text
        assert "\u202e" not in text
