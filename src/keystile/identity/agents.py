"""The registry of the built-in issuer's agents."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from keystile.model.errors import DuplicateError, InvalidRequestError, NotFoundError, RefusedError
from keystile.store import tables
from keystile.store.database import Database

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
"""What names of agents, people and groups may look like."""


class Agent(msgspec.Struct, frozen=True):
    """A registered agent, active while `disabled_at` is None. Times are UTC seconds."""

    name: str
    groups: tuple[str, ...]
    attributes: dict[str, str]
    created_at: float
    created_by: str
    disabled_at: float | None = None


class Agents:
    """Queries on the agents of the control store."""

    def __init__(self, database: Database) -> None:
        """Take an open control store."""
        self._database = database

    async def create(
        self, name: str, groups: Sequence[str], attributes: Mapping[str, str], created_by: str
    ) -> Agent:
        """Register an agent.

        Raises `InvalidRequestError` for a name that is none, `DuplicateError` if it exists.
        """
        require_names(name, *groups, *attributes)
        agent = Agent(name, tuple(groups), dict(attributes), time.time(), created_by)
        row = {
            "name": name,
            "groups": msgspec.json.encode(agent.groups).decode(),
            "attributes": msgspec.json.encode(agent.attributes).decode(),
            "created_at": agent.created_at,
            "created_by": created_by,
        }
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(tables.agents).values(row))
        except IntegrityError as error:
            raise DuplicateError(f"there is an agent `{name}` already") from error
        return agent

    async def list(self) -> tuple[Agent, ...]:
        """Give all agents by name, disabled ones included."""
        query = select(tables.agents).order_by(tables.agents.c.name)
        async with self._database.read() as connection:
            return tuple(_agent(row) for row in await connection.execute(query))

    async def get(self, name: str) -> Agent:
        """Give one agent, disabled or not. Raises `NotFoundError`."""
        query = select(tables.agents).where(tables.agents.c.name == name)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFoundError(
                f"there is no agent `{name}`", hint="make it with `keystile agent create`"
            )
        return _agent(row)

    async def active(self, name: str) -> Agent:
        """Give one agent that may sign in. Raises `NotFoundError`, `RefusedError` if disabled."""
        agent = await self.get(name)
        if agent.disabled_at is not None:
            raise RefusedError(f"the agent `{name}` is disabled", hint="ask the gateway's operator")
        return agent

    async def disable(self, name: str) -> None:
        """Keep an agent out from now on; its name stays taken. Raises `NotFoundError`."""
        await self._change(name, disabled_at=time.time())

    async def regroup(self, name: str, groups: Sequence[str]) -> None:
        """Put an agent into exactly these groups. Raises `NotFoundError`, `InvalidRequestError`."""
        require_names(*groups)
        await self._change(name, groups=msgspec.json.encode(tuple(groups)).decode())

    async def _change(self, name: str, **values: object) -> None:
        change = update(tables.agents).where(tables.agents.c.name == name).values(values)
        async with self._database.begin() as connection:
            changed = (await connection.execute(change)).rowcount
        if not changed:
            raise NotFoundError(f"there is no agent `{name}`")


def require_names(*names: str) -> None:
    """Raise `InvalidRequestError` for the first that cannot be a name."""
    for name in names:
        if not NAME.fullmatch(name):
            raise InvalidRequestError(
                f"`{repr(name[:80])[1:-1]}` cannot be a name",
                hint="use up to 63 letters, digits, dots, underscores, `@` and hyphens",
            )


def _agent(row: Row[tuple[object, ...]]) -> Agent:
    return Agent(
        name=row.name,
        groups=msgspec.json.decode(row.groups, type=tuple[str, ...]),
        attributes=msgspec.json.decode(row.attributes, type=dict[str, str]),
        created_at=row.created_at,
        created_by=row.created_by,
        disabled_at=row.disabled_at,
    )
