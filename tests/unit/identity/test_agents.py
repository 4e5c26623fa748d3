from __future__ import annotations

import pytest

from keystile.identity.agents import Agents
from keystile.model.errors import DuplicateError, InvalidRequestError, NotFoundError, RefusedError
from keystile.store.database import Database


async def test_the_life_of_an_agent(database: Database) -> None:
    agents = Agents(database)
    made = await agents.create("bot", ["a", "b"], {"purpose": "support"}, "operator")
    assert await agents.get("bot") == made == await agents.active("bot")
    assert (made.groups, made.attributes) == (("a", "b"), {"purpose": "support"})
    await agents.regroup("bot", ["c"])
    assert (await agents.active("bot")).groups == ("c",)
    await agents.disable("bot")
    with pytest.raises(RefusedError, match="`bot` is disabled"):
        await agents.active("bot")
    assert (await agents.get("bot")).disabled_at is not None
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
        await agents.disable("bot")
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
