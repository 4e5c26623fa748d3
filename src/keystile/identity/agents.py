"""The registry of agents: those of the built-in issuer, and those that other issuers vouch for.

INVARIANT: an agent is known by issuer and subject; its name is for people, and may be shared.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from keystile.identity.disabling import Disabled, covering, disabled_of
from keystile.model.errors import (
    DuplicateError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    StoreUnavailableError,
)
from keystile.model.principal import Principal
from keystile.store import tables
from keystile.store.database import Database

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
"""What names of agents, people and groups may look like."""

OWN = ""
"""What the registry calls the gateway's own issuer, whatever its address is."""

_MAX_PURPOSE = 500
_SEEN_EVERY_SECONDS = 60.0
_SEEN_KEPT = 10_000
# Agents that nobody has registered are forgotten when they have not come for as long.
_FORGOTTEN_SECONDS = 400 * 24 * 3600.0
_ASK = "ask the gateway's operator"


class Facts(msgspec.Struct, frozen=True):
    """What people say of an agent: who answers for it, what it is for, until when (UTC s)."""

    owner: str = ""
    purpose: str = ""
    expires_at: float | None = None


class Agent(msgspec.Struct, frozen=True):
    """An agent of the built-in issuer, or one that came with a token of another.

    `issuer` is `OWN` for the gateway's own; then `subject` is the name. `groups` and `attributes`
    are the registry's word for those, and what the last token said for others. `created_by` is
    empty for one that nobody has registered. `last_seen` is exact to a minute. Times are UTC
    seconds.
    """

    name: str
    groups: tuple[str, ...]
    attributes: dict[str, str]
    created_at: float
    created_by: str
    issuer: str = OWN
    subject: str = ""
    owner: str = ""
    purpose: str = ""
    expires_at: float | None = None
    last_seen: float | None = None
    disabled_at: float | None = None
    disabled_by: str = ""

    def state(self, now: float) -> str:
        """Say in a word whether it may sign in: `active`, `disabled` or `expired`."""
        if self.disabled_at is not None:
            return "disabled"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def key(self, own_issuer: str) -> str:
        """Give its part of what owns its jobs: see `model.principal.agent_of`."""
        return f"{self.issuer or own_issuer}|{self.subject}"


class AgentId(NamedTuple):
    """What tells an agent from all others; `issuer` is `OWN` for the gateway's own."""

    issuer: str
    subject: str


class Agents:
    """Queries on the agents of the control store."""

    def __init__(self, database: Database) -> None:
        """Take an open control store."""
        self._database = database
        self._noted: OrderedDict[AgentId, float] = OrderedDict()

    async def create(
        self,
        name: str,
        groups: Sequence[str],
        attributes: Mapping[str, str],
        created_by: str,
        facts: Facts = Facts(),  # noqa: B008 - frozen
    ) -> Agent:
        """Register an agent of the built-in issuer.

        Raises `InvalidRequestError` for a name that is none, `DuplicateError` if it exists.
        """
        require_names(name, *groups, *attributes)
        _require_facts(facts)
        made = Agent(name, tuple(groups), dict(attributes), time.time(), created_by, subject=name)
        try:
            async with self._database.begin() as connection:
                values = _values(made) | _written(facts)
                await connection.execute(insert(tables.agents).values(values))
        except IntegrityError as error:
            raise DuplicateError(f"there is an agent `{name}` already") from error
        return await self.get(name)

    async def register(self, id_: AgentId, name: str, created_by: str, facts: Facts) -> Agent:
        """Say who answers for an agent of another issuer, before it comes or after.

        Its groups and attributes are its issuer's word. Raises `InvalidRequestError` for a name or
        facts that are none.
        """
        require_names(name)
        _require_facts(facts)
        for word in id_:
            if not word or len(word) > 512 or not word.isprintable():  # noqa: PLR2004 - as of claims
                raise InvalidRequestError("an agent of another issuer has an issuer and a subject")
        made = Agent(name, (), {}, time.time(), created_by, id_.issuer, id_.subject)
        said = _written(facts) | {"name": name, "created_by": created_by}
        async with self._database.begin() as connection:
            changed = await connection.execute(update(tables.agents).where(_is(id_)).values(said))
            if not changed.rowcount:
                await connection.execute(insert(tables.agents).values(_values(made) | said))
        return await self.by_id(id_)

    async def list(self) -> tuple[Agent, ...]:
        """Give all agents by name, disabled ones included."""
        return await self._load()

    async def named(self, name: str) -> tuple[Agent, ...]:
        """Give every agent of a name, of whatever issuer; none is no error."""
        return await self._load(tables.agents.c.name == name)

    async def get(self, name: str) -> Agent:
        """Give one agent of the built-in issuer, disabled or not. Raises `NotFoundError`."""
        return await self.by_id(AgentId(OWN, name))

    async def by_id(self, id_: AgentId) -> Agent:
        """Give one agent, disabled or not. Raises `NotFoundError`."""
        found = await self._load(_is(id_))
        if not found:
            raise NotFoundError(
                f"there is no agent `{id_.subject}`", hint="make it with `keystile agent create`"
            )
        return found[0]

    async def active(self, name: str) -> Agent:
        """Give one agent of the built-in issuer that may sign in.

        Raises `NotFoundError`, and `RefusedError` if it is disabled or has expired.
        """
        agent = await self.get(name)
        _require_active(agent)
        return agent

    async def admit(self, principal: Principal) -> None:
        """Raise `RefusedError` for an agent of another issuer that is disabled or has expired.

        One that is not known yet may come: its issuer and the settings have said so.
        """
        id_ = AgentId(principal.issuer, principal.subject)
        async with self._database.read() as connection:
            row = (await connection.execute(select(tables.agents).where(_is(id_)))).first()
            covers = await disabled_of(connection, covering(*id_, principal.agent))
        agent = Agent(principal.agent, (), {}, 0.0, "", *id_)
        known = _agent(row, covers) if row else _with(agent, covers)
        _require_active(msgspec.structs.replace(known, name=principal.agent))

    async def saw(self, principal: Principal, *, own: bool) -> None:
        """Note that an agent has come, at most once a minute for each; the first time makes it.

        `own` tells that it is the built-in issuer's, which are registered before.
        """
        id_ = AgentId(OWN if own else principal.issuer, principal.subject)
        if time.monotonic() - self._noted.get(id_, float("-inf")) < _SEEN_EVERY_SECONDS:
            return
        self._noted[id_] = time.monotonic()
        self._noted.move_to_end(id_)
        if len(self._noted) > _SEEN_KEPT:
            self._noted.popitem(last=False)
        try:
            await self._note(id_, principal, own=own)
        except StoreUnavailableError:
            # The next request does it, not only one in a minute.
            self._noted.pop(id_, None)
            raise

    async def _note(self, id_: AgentId, principal: Principal, *, own: bool) -> None:
        now = time.time()
        said: dict[str, object] = {"last_seen": now}
        agent = Agent(
            principal.agent, principal.groups, principal.attributes, now, "", *id_, last_seen=now
        )
        if not own:
            said |= {name: _values(agent)[name] for name in ("name", "groups", "attributes")}
        async with self._database.begin() as connection:
            changed = await connection.execute(update(tables.agents).where(_is(id_)).values(said))
            if changed.rowcount or own:
                return
            old = tables.agents.c.last_seen < now - _FORGOTTEN_SECONDS
            unregistered = tables.agents.c.created_by == ""
            await connection.execute(delete(tables.agents).where(old, unregistered))
            await connection.execute(insert(tables.agents).values(_values(agent)))

    async def regroup(self, name: str, groups: Sequence[str]) -> None:
        """Put an agent into exactly these groups. Raises `NotFoundError`, `InvalidRequestError`."""
        require_names(*groups)
        change = {"groups": msgspec.json.encode(tuple(groups)).decode()}
        async with self._database.begin() as connection:
            changed = await connection.execute(
                update(tables.agents).where(_is(AgentId(OWN, name))).values(change)
            )
        if not changed.rowcount:
            raise NotFoundError(f"there is no agent `{name}`")

    async def _load(self, *where: ColumnElement[bool]) -> tuple[Agent, ...]:
        query = select(tables.agents).where(*where)
        order = (tables.agents.c.name, tables.agents.c.issuer, tables.agents.c.subject)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(*order))).all()
            disabled = await disabled_of(connection)
        return tuple(_agent(row, disabled) for row in rows)


def require_names(*names: str) -> None:
    """Raise `InvalidRequestError` for the first that cannot be a name."""
    for name in names:
        if not NAME.fullmatch(name):
            raise InvalidRequestError(
                f"`{repr(name[:80])[1:-1]}` cannot be a name",
                hint="use up to 63 letters, digits, dots, underscores, `@` and hyphens",
            )


def _require_facts(facts: Facts) -> None:
    if facts.owner:
        require_names(facts.owner)
    if len(facts.purpose) > _MAX_PURPOSE or not facts.purpose.isprintable():
        raise InvalidRequestError(
            f"the purpose is not one line of at most {_MAX_PURPOSE} characters",
            hint="say in a sentence what the agent is for",
        )


def _require_active(agent: Agent) -> None:
    if (state := agent.state(time.time())) != "active":
        said = "is disabled" if state == "disabled" else "has expired"
        raise RefusedError(f"the agent `{agent.name}` {said}", hint=_ASK)


def _is(id_: AgentId) -> ColumnElement[bool]:
    return (tables.agents.c.issuer == id_.issuer) & (tables.agents.c.subject == id_.subject)


def _values(agent: Agent) -> dict[str, object]:
    return {
        "issuer": agent.issuer,
        "subject": agent.subject,
        "name": agent.name,
        "groups": msgspec.json.encode(agent.groups).decode(),
        "attributes": msgspec.json.encode(agent.attributes).decode(),
        "created_at": agent.created_at,
        "created_by": agent.created_by,
        "last_seen": agent.last_seen,
    }


def _written(facts: Facts) -> dict[str, object]:
    return msgspec.structs.asdict(facts)


def _with(agent: Agent, disabled: Sequence[Disabled]) -> Agent:
    """Say of an agent who has disabled it first, if anybody has."""
    covers = [one for one in disabled if one.covers(agent.issuer, agent.subject, agent.name)]
    if not covers:
        return agent
    first = min(covers, key=lambda one: one.at)
    return msgspec.structs.replace(agent, disabled_at=first.at, disabled_by=first.by)


def _agent(row: Row[Any], disabled: Sequence[Disabled]) -> Agent:
    agent = Agent(
        name=row.name,
        groups=msgspec.json.decode(row.groups, type=tuple[str, ...]),
        attributes=msgspec.json.decode(row.attributes, type=dict[str, str]),
        created_at=row.created_at,
        created_by=row.created_by,
        issuer=row.issuer,
        subject=row.subject,
        owner=row.owner,
        purpose=row.purpose,
        expires_at=row.expires_at,
        last_seen=row.last_seen,
    )
    return _with(agent, disabled)
