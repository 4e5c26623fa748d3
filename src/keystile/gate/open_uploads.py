"""How many uploads are under way."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from keystile.model.principal import agent_of
from keystile.store.database import Database
from keystile.store.tables import uploads


async def count_open(database: Database, agents: Collection[str]) -> int:
    """Count the uploads that these agents have under way, for whomever they are."""
    async with database.read() as connection:
        owners = await connection.execute(select(uploads.c.owner).where(uploads.c.done.is_(False)))
        return sum(agent_of(owner) in agents for owner in owners.scalars())
