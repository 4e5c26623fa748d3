"""The registry of agents, and the buttons that keep one out and let it in again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from keystile.approvals.machine import Person
from keystile.console.desk import Desk, Visit, version_of
from keystile.console.sign_in import SEE_OTHER
from keystile.gate.job_store import JobStore
from keystile.gate.ledger import Ledger, holders_of
from keystile.identity.agents import Agent, AgentId, Agents
from keystile.identity.disabling import Disabled, Disablings, Target
from keystile.identity.enabling import Enabling
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.model.decision import Limits
from keystile.model.errors import InvalidRequestError, KeystileError, RefusedError
from keystile.model.principal import agent_of
from keystile.policy.budget import Standing, size, standings

_MOST_SHOWN = 200
_STATES = ("active", "disabled", "expired")


class Fleet(NamedTuple):
    """What the pages stand on.

    `own_issuer` is the name of the built-in issuer; `operators` are the groups of people who may
    disable and enable every agent.
    """

    agents: Agents
    disablings: Disablings
    jobs: JobStore
    own_issuer: str
    operators: Sequence[str]
    ledger: Ledger
    tokens: GatewayTokens


class Spending(NamedTuple):
    """How one limit of an agent stands; it is `bytes` or a count."""

    limits: Limits
    word: str
    bytes: bool
    standing: Standing


class Filters(msgspec.Struct, frozen=True):
    """What the list's address narrows it to."""

    text: str = ""
    state: str = ""

    def fits(self, agent: Agent, now: float) -> bool:
        """Tell whether an agent belongs on the list; `text` is looked for in all that names it."""
        names = (agent.name, agent.issuer, agent.subject, agent.owner, *agent.groups)
        text = self.text.casefold()
        return self.state in {"", agent.state(now)} and any(text in n.casefold() for n in names)


class AgentPages:
    """Views on agents."""

    def __init__(self, desk: Desk, fleet: Fleet) -> None:
        """Show the agents of `fleet`."""
        self._desk = desk
        self._fleet = fleet

    @property
    def routes(self) -> list[Route]:
        """Where these pages stand. A subject may be any text, so it is no part of the path."""
        return [
            Route("/agents", self.list, methods=["GET"]),
            Route("/agent", self.one, methods=["GET"]),
            Route("/agent", self.disable, methods=["POST"]),
            Route("/agent/enable", self.enable, methods=["POST"]),
        ]

    async def look(self) -> object:
        """Give a value that differs once an agent comes, changes, or has more or less running."""
        stopping = await self._fleet.disablings.open()
        return await self._fleet.agents.list(), await self._running(), stopping

    async def list(self, request: Request) -> Response:
        """List agents, those with something running first, then by when they were seen."""
        visit = await self._desk.visit(request)
        query = request.query_params
        state = query.get("state", "")
        filters = Filters(query.get("text", "").strip(), state if state in _STATES else "")
        running = await self._running()
        fitting = [
            agent for agent in await self._fleet.agents.list() if filters.fits(agent, visit.now)
        ]
        fitting.sort(key=lambda one: (-running[self._key(one)], -(one.last_seen or 0), one.name))
        shown = [(agent, running[self._key(agent)]) for agent in fitting[:_MOST_SHOWN]]
        return await self._desk.page(
            visit,
            "agents.html",
            "agents",
            agents=shown,
            filters=filters,
            states=_STATES,
            agent_url=agent_url,
            more=len(fitting) > len(shown),
            list_version=version_of((*shown, visit.now // 60)),
        )

    async def one(self, request: Request) -> Response:
        """Show one agent."""
        visit = await self._desk.visit(request)
        return await self._show(visit, await self._named(request.query_params))

    async def disable(self, request: Request) -> Response:
        """Disable the agent, or all of its name; what cannot be done is said beside the form."""
        visit, fields = await self._desk.change(request)
        agent = await self._named(fields)
        try:
            await self._fleet.disablings.disable(
                await self._target(agent, fields.get("scope", ""), visit.person),
                visit.person.name,
                "console",
            )
        except KeystileError as error:
            return await self._show(visit, agent, error.http_status, error=error)
        return RedirectResponse(agent_url(agent), SEE_OTHER)

    async def enable(self, request: Request) -> Response:
        """End a disabling of the agent, for the reason that is given."""
        visit, fields = await self._desk.change(request)
        agent = await self._named(fields)
        fleet = self._fleet
        enabling = Enabling(fleet.agents, fleet.disablings, fleet.tokens, fleet.own_issuer)
        try:
            await enabling.enable(
                await self._disabled(agent, fields.get("scope", ""), visit.person),
                visit.person.name,
                fields.get("reason", ""),
                "console",
            )
        except KeystileError as error:
            return await self._show(visit, agent, error.http_status, error=error)
        return RedirectResponse(agent_url(agent), SEE_OTHER)

    async def _disabled(self, agent: Agent, scope: str, person: Person) -> Target:
        """Read what the form enables. Raises `InvalidRequestError`, `RefusedError`."""
        targets = {
            "one": Target(issuer=agent.issuer, subject=agent.subject),
            "name": Target(agent.name),
        }
        if scope not in targets:
            raise InvalidRequestError("choose what is to be enabled")
        target = targets[scope]
        for one in await self._disablings(agent):
            if Target(one.name, one.issuer, one.subject) == target and (
                why := self._why_not_back(person, one)
            ):
                raise RefusedError(why)
        return target

    async def _disablings(self, agent: Agent) -> tuple[Disabled, ...]:
        return await self._fleet.disablings.of(agent.issuer, agent.subject, agent.name)

    def _why_not_back(self, person: Person, disabled: Disabled) -> str:
        """Say why a person may not end a disabling; empty where they may.

        INVARIANT: an owner undoes no more than what they did here themselves, so that whoever
        brought an incident about cannot end what was done against it.
        """
        operators = self._fleet.operators
        theirs = (disabled.by, disabled.via) == (person.name, "console")
        if theirs or not set(person.groups).isdisjoint(operators):
            return ""
        groups = _listed(operators)
        no = f"`{person.name}` did not disable it{groups and f' and is not in {groups}'}"
        return f"{no}; {_instead('enable', groups)}"

    async def _target(self, agent: Agent, scope: str, person: Person) -> Target:
        """Read what the form disables. Raises `InvalidRequestError`, `RefusedError`."""
        if scope == "one":
            meant, target = [agent], Target(issuer=agent.issuer, subject=agent.subject)
        elif scope == "name":
            meant = [*await self._fleet.agents.named(agent.name)]
            target = Target(agent.name)
        else:
            raise InvalidRequestError("choose what is to be disabled")
        # INVARIANT: by a name goes everybody who is called so, which takes the right to all.
        for one in meant:
            if why := self._why_not(person, one):
                raise RefusedError(why)
        return target

    def _why_not(self, person: Person, agent: Agent) -> str:
        """Say why a person may not disable an agent; empty where they may."""
        operators = self._fleet.operators
        if person.name == agent.owner or not set(person.groups).isdisjoint(operators):
            return ""
        groups = _listed(operators)
        no = f"`{person.name}` does not own `{agent.name}`{groups and f' and is not in {groups}'}"
        return f"{no}; {_instead('disable', groups)}"

    async def _show(
        self,
        visit: Visit,
        agent: Agent,
        status: int = 200,
        *,
        error: KeystileError | None = None,
    ) -> Response:
        jobs = await self._fleet.jobs.live({self._key(agent)})
        others = [one for one in await self._fleet.agents.named(agent.name) if one != agent]
        jobs.sort(key=lambda job: job.created_at)
        state = agent.state(visit.now)
        spending = await self._spending(agent)
        disablings = [
            (one, self._why_not_back(visit.person, one)) for one in await self._disablings(agent)
        ]
        return await self._desk.page(
            visit,
            "agent.html",
            "agents",
            status,
            agent=agent,
            state=state,
            jobs=jobs[:_MOST_SHOWN],
            more=len(jobs) - len(jobs[:_MOST_SHOWN]),
            others=others,
            agent_url=agent_url,
            spending=spending,
            amount=size,
            spending_version=version_of(spending),
            disablings=disablings,
            blocked=self._why_not(visit.person, agent),
            error=error,
            agent_version=version_of((agent, state, str(error), len(others), disablings)),
            jobs_version=version_of((job.id, job.state) for job in jobs),
        )

    async def _spending(self, agent: Agent) -> tuple[Spending, ...]:
        """Say how the limits stand that an agent has for itself or shares in its groups."""
        budgets = await self._fleet.ledger.budgets(holders_of(self._key(agent), agent.groups))
        return tuple(
            Spending(budget.limits, word, word.startswith("bytes"), standing)
            for budget in budgets
            for word, standing in standings(*budget).items()
        )

    async def _named(self, fields: Mapping[str, str]) -> Agent:
        return await self._fleet.agents.by_id(
            AgentId(fields.get("issuer", ""), fields.get("subject", ""))
        )

    async def _running(self) -> Counter[str]:
        """Count the jobs that have not ended, by agent."""
        counts = Counter[str]()
        for owner, count in (await self._fleet.jobs.count_live()).items():
            counts[agent_of(owner)] += count
        return counts

    def _key(self, agent: Agent) -> str:
        return agent.key(self._fleet.own_issuer)


def agent_url(agent: Agent) -> str:
    """Give the address of an agent's page."""
    return f"/agent?{urlencode({'issuer': agent.issuer, 'subject': agent.subject})}"


def _listed(groups: Sequence[str]) -> str:
    return ", ".join(f"`{group}`" for group in groups)


def _instead(command: str, groups: str) -> str:
    """Say what someone does who may not do it here."""
    ask = f"ask someone of {groups}, or " if groups else ""
    return f"{ask}run `keystile agent {command}` on the gateway's machine"
