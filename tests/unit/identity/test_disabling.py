from __future__ import annotations

import time

import msgspec
import pytest

from keystile.identity.agents import AgentId, Agents, Facts
from keystile.identity.disabling import Disablings, Target
from keystile.model.errors import RefusedError
from keystile.model.principal import Principal
from keystile.store.database import Database

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
