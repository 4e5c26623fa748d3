"""What is known of an agent, and what it has left: for `keystile agent show`."""

from __future__ import annotations

import time

import msgspec

from keystile.approvals.requests import Approvals, ApprovalState
from keystile.cli.store import database
from keystile.cli.terminal import fact, moment
from keystile.config.settings import Settings
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import JobState
from keystile.gate.open_uploads import count_open
from keystile.gate.sessions import QuerySessions
from keystile.identity.agents import Agent, Agents
from keystile.identity.builtin import issuer_url
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.model.errors import NotFoundError
from keystile.model.principal import agent_of
from keystile.recording.reader import RecordingReader, SessionFilter

_SHOWN = 1000


class Traces(msgspec.Struct, frozen=True):
    """An agent and what is there of it still: jobs by our own id, and approval requests.

    `tokens` counts gateway tokens that have not expired, `uploads` those under way, `sessions`
    those of BigQuery. `recordings` counts recorded sessions of its name, and `more_recordings`
    tells that there are more.
    """

    agent: Agent
    state: str
    running: tuple[str, ...]
    waiting: tuple[str, ...]
    approvals: tuple[str, ...]
    tokens: int
    uploads: int
    sessions: int
    recordings: int
    more_recordings: bool


async def traces_of(settings: Settings, name: str) -> list[Traces]:
    """Find every agent of a name. Raises `NotFoundError`."""
    reader = RecordingReader(settings.path(settings.recording.folder))
    page = await reader.sessions(SessionFilter(agent=name), limit=_SHOWN)
    own = issuer_url(settings)
    async with database(settings) as store:
        agents = await Agents(store).named(name)
        if not agents:
            raise NotFoundError(
                f"there is no agent `{name}`", hint="see all with `keystile agent list`"
            )
        tokens = GatewayTokens(store, Agents(store), own, settings.identity.token_lifetime)
        asked = await Approvals(store).list(ApprovalState.PENDING)
        found = []
        for agent in agents:
            jobs = await JobStore(store, "").live({agent.key(own)})
            waits = [job.id for job in jobs if job.state is JobState.PENDING]
            found.append(
                Traces(
                    agent,
                    agent.state(time.time()),
                    tuple(job.id for job in jobs if job.id not in waits),
                    tuple(waits),
                    tuple(one.id for one in asked if agent_of(one.principal.key) == agent.key(own)),
                    await tokens.count(agent.issuer or own, agent.subject),
                    await count_open(store, {agent.key(own)}),
                    len(await QuerySessions(store).of_agents({agent.key(own)})),
                    len(page.sessions),
                    bool(page.cursor),
                )
            )
        return found


def show_traces(traces: Traces) -> None:
    """Print it for a reader."""
    agent = traces.agent
    fact("agent", agent.name)
    fact("state", traces.state, "" if traces.state == "active" else "red")
    if agent.disabled_at is not None:
        fact("disabled", f"{moment(agent.disabled_at)} by {agent.disabled_by}")
    fact("issuer", agent.issuer or "built-in")
    fact("subject", agent.subject)
    fact("owner", agent.owner or "-")
    fact("purpose", agent.purpose or "-")
    fact("groups", ", ".join(agent.groups) or "-")
    for key, value in agent.attributes.items():
        fact("attribute", f"{key}={value}")
    fact("expires", moment(agent.expires_at))
    fact("first seen" if not agent.created_by else "created", moment(agent.created_at))
    fact("by", agent.created_by or "nobody: it came with a token of its issuer")
    fact("last seen", moment(agent.last_seen))
    fact("running", ", ".join(traces.running) or "nothing")
    fact("waiting", ", ".join(traces.waiting) or "nothing")
    fact("approvals", ", ".join(traces.approvals) or "none open")
    fact("tokens", f"{traces.tokens}{' (refused)' if traces.state != 'active' else ''}")
    fact("uploads", str(traces.uploads))
    fact("sessions", str(traces.sessions))
    more = "at least " if traces.more_recordings else ""
    fact("recordings", f"{more}{traces.recordings} sessions: keystile sessions list --agent NAME")
