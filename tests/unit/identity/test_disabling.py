from __future__ import annotations

import time

import msgspec
import pytest

from keystile.identity.agents import AgentId, Agents, Facts
from keystile.identity.disabling import Disablings, Target
from keystile.model.errors import InUseError, InvalidRequestError, NotFoundError, RefusedError
from keystile.model.principal import Principal
from keystile.store.database import Database
from keystile.store.notes import Notes

ISSUER = "https://issuer.test"
CI = Principal(ISSUER, "repo:acme/shop:main", "acme/shop", "s1")


async def test_one_agent_of_an_issuer_is_kept_out_even_before_it_comes(database: Database) -> None:
    agents = Agents(database)
    await Disablings(database).disable(Target("", ISSUER, CI.subject), "operator", "cli")
    with pytest.raises(RefusedError, match="`acme/shop` is disabled"):
        await agents.admit(CI)
    await agents.admit(msgspec.structs.replace(CI, subject="repo:acme/shop:other"))
    await agents.admit(msgspec.structs.replace(CI, issuer="https://other.test"))


async def test_a_name_keeps_out_every_subject_that_is_called_so(database: Database) -> None:
    """Else a new branch of a disabled repository would be an agent that nobody has disabled."""
    agents = Agents(database)
    await Disablings(database).disable(Target("acme/shop"), "operator", "cli")
    for subject in (CI.subject, "repo:acme/shop:made-later"):
        with pytest.raises(RefusedError, match="`acme/shop` is disabled"):
            await agents.admit(msgspec.structs.replace(CI, subject=subject))
    await agents.admit(msgspec.structs.replace(CI, agent="acme/other"))


async def test_registering_again_lets_nobody_back_in(database: Database) -> None:
    agents, disablings = Agents(database), Disablings(database)
    await disablings.disable(Target("", ISSUER, CI.subject), "operator", "cli")
    await disablings.disable(Target("bot"), "operator", "cli")
    await agents.register(AgentId(ISSUER, CI.subject), "new-name", "operator", Facts())
    await agents.create("bot", [], {}, "operator")
    with pytest.raises(RefusedError, match="is disabled"):
        await agents.admit(CI)
    with pytest.raises(RefusedError, match="is disabled"):
        await agents.active("bot")
    assert {agent.state(0.0) for agent in await agents.list()} == {"disabled"}


async def test_disabling_twice_keeps_who_did_it_first(database: Database) -> None:
    disablings = Disablings(database)
    first = await disablings.disable(Target("bot"), "ana", "cli")
    assert await disablings.disable(Target("bot"), "ben", "console") == first
    assert (first.by, first.via, first.jobs) == ("ana", "cli", None)


async def test_of_several_processes_one_takes_a_disabling(database: Database) -> None:
    disablings, until = Disablings(database), time.time() + 2
    await disablings.disable(Target("bot"), "ana", "cli")
    (one,) = await disablings.open()
    assert [await disablings.take(one, until) for _ in range(3)] == [True, False, False]
    (taken,) = await disablings.open()
    assert taken.due_at == until
    await disablings.note(taken, {"j1": False})
    assert (await disablings.get(Target("bot"))).jobs == {"j1": False}
    await disablings.close(taken)
    assert await disablings.open() == ()


async def done_with(disablings: Disablings, target: Target) -> None:
    """Disable, and have all seen to that it left."""
    await disablings.close(await disablings.disable(target, "ana", "cli"))


async def test_an_agent_is_let_in_again_for_a_reason_that_goes_on_record(
    database: Database,
) -> None:
    disablings, agents = Disablings(database), Agents(database)
    await done_with(disablings, Target("acme/shop"))
    await disablings.enable(Target("acme/shop"), "ben", " the bug is fixed ", "cli")
    await agents.admit(CI)
    (noted,) = await Notes(database).take(0.0)
    assert noted.kind == "agent_enabled"
    told = {name: noted.body[name] for name in ("name", "person", "reason", "via")}
    assert told == {
        "name": "acme/shop",
        "person": "ben",
        "reason": "the bug is fixed",
        "via": "cli",
    }


async def test_one_disabling_is_ended_and_no_other(database: Database) -> None:
    disablings, agents = Disablings(database), Agents(database)
    await done_with(disablings, Target("acme/shop"))
    await done_with(disablings, Target("", ISSUER, CI.subject))
    await disablings.enable(Target("acme/shop"), "ben", "why", "cli")
    with pytest.raises(RefusedError, match="is disabled"):
        await agents.admit(CI)
    with pytest.raises(NotFoundError, match="by exactly these words"):
        await disablings.enable(Target("acme/shop"), "ben", "why", "cli")


async def test_nothing_is_enabled_while_it_is_being_stopped_or_without_a_reason(
    database: Database,
) -> None:
    disablings = Disablings(database)
    await disablings.disable(Target("bot"), "ana", "cli")
    with pytest.raises(InUseError, match="still being stopped"):
        await disablings.enable(Target("bot"), "ben", "why", "cli")
    with pytest.raises(InvalidRequestError, match="a reason has 1 to"):
        await disablings.enable(Target("bot"), "ben", "  ", "cli")
    assert await Notes(database).take(0.0) == ()
    assert (await disablings.get(Target("bot"))).by == "ana"
