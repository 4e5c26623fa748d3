from __future__ import annotations

import time

import msgspec
import pytest

from keystile.identity import agents as module
from keystile.identity.agents import AgentId, Agents, Facts
from keystile.identity.disabling import Disablings, Target
from keystile.model.errors import (
    DuplicateError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    StoreUnavailableError,
)
from keystile.model.principal import Principal
from keystile.store.database import Database

ISSUER = "https://issuer.test"
CI = Principal(ISSUER, "repo:acme/shop", "shop-ci", "s1", groups=("ci",), attributes={"a": "b"})


async def test_the_life_of_an_agent(database: Database) -> None:
    agents = Agents(database)
    made = await agents.create("bot", ["a", "b"], {"purpose": "support"}, "operator")
    assert await agents.get("bot") == made == await agents.active("bot")
    assert (made.groups, made.attributes) == (("a", "b"), {"purpose": "support"})
    await agents.regroup("bot", ["c"])
    assert (await agents.active("bot")).groups == ("c",)
    await Disablings(database).disable(Target("bot"), "operator", "cli")
    with pytest.raises(RefusedError, match="`bot` is disabled"):
        await agents.active("bot")
    disabled = await agents.get("bot")
    assert disabled.disabled_at is not None
    assert disabled.disabled_by == "operator"
    with pytest.raises(DuplicateError, match="an agent `bot` already"):
        await agents.create("bot", [], {}, "operator")


async def test_all_agents_by_name(database: Database) -> None:
    agents = Agents(database)
    for name in ("b", "A", "c"):
        await agents.create(name, [], {}, "operator")
    assert [agent.name for agent in await agents.list()] == ["A", "b", "c"]


async def test_case_tells_agents_apart(database: Database) -> None:
    agents = Agents(database)
    await agents.create("Bot", [], {}, "operator")
    with pytest.raises(NotFoundError, match="no agent `bot`"):
        await agents.active("bot")


async def test_an_unknown_agent_cannot_be_changed(database: Database) -> None:
    agents = Agents(database)
    with pytest.raises(NotFoundError, match="no agent `bot`"):
        await agents.regroup("bot", [])


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 64, "a/b", "a\n", "é", "a'b"])
async def test_what_is_no_name_is_refused(database: Database, name: str) -> None:
    agents = Agents(database)
    with pytest.raises(InvalidRequestError, match="cannot be a name"):
        await agents.create(name, [], {}, "operator")
    with pytest.raises(InvalidRequestError, match="cannot be a name"):
        await agents.create("bot", [name], {}, "operator")
    assert await agents.list() == ()


async def test_what_people_say_of_an_agent_is_kept(database: Database) -> None:
    agents, until = Agents(database), time.time() + 60
    facts = Facts("ana", "Weekly reports.", until)
    made = await agents.create("bot", [], {}, "operator", facts)
    assert (made.owner, made.purpose, made.expires_at) == ("ana", "Weekly reports.", until)
    assert (made.issuer, made.subject, made.state(time.time())) == ("", "bot", "active")
    for wrong in (Facts(owner="a b"), Facts(purpose="two\nlines"), Facts(purpose="x" * 501)):
        with pytest.raises(InvalidRequestError):
            await agents.create("other", [], {}, "operator", wrong)


async def test_an_agent_is_refused_after_its_time(database: Database) -> None:
    agents, over = Agents(database), time.time() - 1
    await agents.create("bot", [], {}, "operator", Facts(expires_at=over))
    with pytest.raises(RefusedError, match="`bot` has expired"):
        await agents.active("bot")
    await agents.register(
        AgentId(ISSUER, CI.subject), "shop-ci", "operator", Facts(expires_at=over)
    )
    with pytest.raises(RefusedError, match="`shop-ci` has expired"):
        await agents.admit(CI)
    other = msgspec.structs.replace(CI, subject="repo:acme/other")
    await agents.admit(other)


async def test_an_agent_of_another_issuer_is_known_once_it_comes(database: Database) -> None:
    agents = Agents(database)
    await agents.admit(CI)
    assert await agents.list() == ()
    await agents.saw(CI, own=False)
    (seen,) = await agents.list()
    assert (seen.issuer, seen.subject, seen.name) == (ISSUER, CI.subject, "shop-ci")
    assert (seen.groups, seen.attributes, seen.created_by) == (("ci",), {"a": "b"}, "")
    assert seen.last_seen == pytest.approx(seen.created_at)
    assert seen.key("http://gw/issuer") == CI.key
    registered = await agents.register(
        AgentId(ISSUER, CI.subject), "shop-ci", "operator", Facts("ana")
    )
    assert (registered.owner, registered.groups, registered.created_by) == (
        "ana",
        ("ci",),
        "operator",
    )


async def test_that_an_agent_was_seen_is_written_once_a_minute(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = Agents(database)
    await agents.create("bot", ["a"], {}, "operator")
    bot = Principal("http://gw/issuer", "bot", "bot", "s1", groups=("other",))
    await agents.saw(bot, own=True)
    first = await agents.get("bot")
    assert first.last_seen
    assert first.groups == ("a",)
    await agents.saw(bot, own=True)
    assert (await agents.get("bot")).last_seen == first.last_seen
    later = time.monotonic() + 61
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    await agents.saw(bot, own=True)
    assert (await agents.get("bot")).last_seen > first.last_seen


async def test_an_agent_that_came_during_an_outage_was_unknown_for_a_minute(
    database: Database,
) -> None:
    agents = Agents(database)
    await database.close()
    with pytest.raises(StoreUnavailableError):
        await agents.saw(CI, own=False)
    await database.open()
    await agents.saw(CI, own=False)
    assert [one.name for one in await agents.list()] == ["shop-ci"]


async def test_what_is_noted_of_who_was_seen_is_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SEEN_KEPT", 2)
    agents = Agents(database)
    for number in range(4):
        await agents.saw(msgspec.structs.replace(CI, subject=f"s{number}"), own=False)
    assert len(agents._noted) == 2


async def test_who_was_not_seen_for_long_and_is_not_registered_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = Agents(database)
    await agents.saw(CI, own=False)
    await agents.register(AgentId(ISSUER, "kept"), "kept", "operator", Facts())
    later = time.time() + 401 * 24 * 3600
    monkeypatch.setattr(module.time, "time", lambda: later)
    await agents.saw(msgspec.structs.replace(CI, subject="new"), own=False)
    assert {agent.subject for agent in await agents.list()} == {"kept", "new"}


@pytest.mark.parametrize("id_", [AgentId("", "x"), AgentId(ISSUER, ""), AgentId(ISSUER, "a\n")])
async def test_what_tells_no_agent_is_refused(database: Database, id_: AgentId) -> None:
    with pytest.raises(InvalidRequestError, match="issuer and a subject"):
        await Agents(database).register(id_, "bot", "operator", Facts())
