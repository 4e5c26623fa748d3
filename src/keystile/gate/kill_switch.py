"""The kill switch: what disabled agents left running is stopped, whatever BigQuery does meanwhile.

That they are kept out is `identity`'s. Here every disabling is a row that a replica takes in the
store for one short round, so that any replica does it, and another goes on where one hangs. It is
seen to until BigQuery has taken every cancellation, nothing runs, and nothing can have slipped in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence

import msgspec

from keystile.gate.duties import Duties
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.recorder import Recorder
from keystile.gate.running import abort_session, cancel
from keystile.gate.sessions import QuerySession, QuerySessions
from keystile.gate.uploads import Uploads
from keystile.identity.agents import Agents
from keystile.identity.disabling import Disabled, Disablings
from keystile.model.errors import KeystileError, RefusedError
from keystile.recording.events import Event, EventKind
from keystile.recording.people_events import AgentDisabledBody
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.upstream.accounts import Accounts

_TICK_SECONDS = 0.5
_ROUND_SECONDS = 2.0
# A call that was let in just before may be planned for as long before it becomes a job.
_LATE_SECONDS = 120.0

_log = logger("gate")


class KillSwitch:
    """Runs until stopped. Nothing that it holds matters: another replica can always go on."""

    def __init__(  # noqa: PLR0913, PLR0917 - the rooms in which an agent may have left something
        self,
        disablings: Disablings,
        agents: Agents,
        own_issuer: str,
        jobs: JobStore,
        duties: Duties,
        uploads: Uploads,
        sessions: QuerySessions,
        accounts: Accounts,
        recorder: Recorder,
        metrics: Metrics,
    ) -> None:
        """Work on one replica's behalf; `own_issuer` is the name of the built-in issuer."""
        self._disablings = disablings
        self._agents = agents
        self._own_issuer = own_issuer
        self._jobs = jobs
        self._duties = duties
        self._uploads = uploads
        self._sessions = sessions
        self._accounts = accounts
        self._recorder = recorder
        self._metrics = metrics

    async def run(self) -> None:
        """Look for ever; whatever a round fails of is logged, and the next one tries again."""
        async with asyncio.TaskGroup() as rounds:
            while True:
                try:
                    for one in await self.take():
                        # BigQuery may take long to answer for one agent; others do not wait.
                        rounds.create_task(self.see_to(one))
                except KeystileError as error:
                    _log.warning("kill_switch_interrupted", reason=str(error))
                await asyncio.sleep(_TICK_SECONDS)

    async def take(self) -> list[Disabled]:
        """Take the disablings that are due, so that no other replica sees to them just now."""
        now, taken = time.time(), []
        waiting = await self._disablings.open()
        self._metrics.agents_stopping.set(len(waiting))
        for one in waiting:
            due = one.due_at is not None and one.due_at <= now
            if due and await self._disablings.take(one, now + _ROUND_SECONDS):
                taken.append(one)
        return taken

    async def see_to(self, one: Disabled) -> None:
        """Stop what is there of an agent now; the disabling stays open while anything is left."""
        try:
            await self._round(one)
        except KeystileError as error:
            _log.warning("agent_not_stopped", agent=one.name or one.subject, reason=str(error))
        except Exception:  # noqa: BLE001 - see below
            # INVARIANT: no fault ends the rounds, or what a disabled agent left would run on.
            _log.exception("kill_switch_fault")

    async def _round(self, one: Disabled) -> None:
        agents, known = await self._meant(one), one.jobs or {}
        live = {job.id: job for job in await self._jobs.live(agents)}
        left = [await self._jobs.get(id_) for id_, sure in known.items() if not sure]
        stopped = live | {job.id: job for job in left}
        ends = [asyncio.ensure_future(self._stop(job, one)) for job in stopped.values()]
        try:
            found = [id_ for id_ in live if id_ not in known]
            if one.jobs is None or found:
                await self._record(one, found)
                await self._disablings.note(one, dict.fromkeys(live, False) | known)
        finally:
            # What cannot be recorded is stopped all the same.
            sure = dict(zip(stopped, await asyncio.gather(*ends), strict=True))
        if sure:
            await self._disablings.note(one, known | sure)
        await self._uploads.end_of(agents, _disabled(one))
        await self._sessions.end_of(agents, self._abort)
        if not live and all(sure.values()) and time.time() > one.at + _LATE_SECONDS:
            await self._disablings.close(one)

    async def _stop(self, job: Job, one: Disabled) -> bool:
        """Stop a job, and tell whether its end is sure."""
        try:
            if job.state is JobState.PENDING:
                await self._duties.withdraw(job, _disabled(one))
                return (await self._jobs.get(job.id)).state is JobState.DONE
            known = await cancel(self._accounts.at(job.account), job)
        except KeystileError as error:
            _log.warning("job_not_stopped", job=job.id, reason=str(error))
            return False
        # One that BigQuery does not know may be about to be sent, unless it has ended.
        return known or job.state is JobState.DONE

    async def _abort(self, project: str, session: QuerySession) -> None:
        bigquery = self._accounts.at(session.account)
        await abort_session(bigquery, project, session.location, session.upstream)

    async def _record(self, one: Disabled, jobs: Sequence[str]) -> None:
        body = AgentDisabledBody(
            name=one.name,
            issuer=one.issuer,
            subject=one.subject,
            person=one.by,
            via=one.via,
            at=one.at,
            jobs=tuple(jobs),
        )
        event = Event(EventKind.AGENT_DISABLED, time.time(), body=msgspec.to_builtins(body))
        await self._recorder.record(event)

    async def _meant(self, one: Disabled) -> Collection[str]:
        """Give all agents that a disabling is about, as they own jobs: see `agent_of`."""
        if not one.name:
            return {f"{one.issuer or self._own_issuer}|{one.subject}"}
        named = await self._agents.named(one.name)
        return {agent.key(self._own_issuer) for agent in named}


def _disabled(one: Disabled) -> RefusedError:
    """Say to a client that still waits why it gets nothing."""
    return RefusedError(f"the agent `{one.name or one.subject}` was disabled by `{one.by}`")
