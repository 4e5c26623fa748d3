"""The statements of a script as jobs of their own: found once the script has ended.

BigQuery ran them all under the script's plan: each is a text of it, masked and proved with it. They
are rows of the jobs table like any job, so that they are listed, paged and owned like any.

INVARIANT: the rows of a statement are on record before they are released (`ResultReader`), and its
error before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable

import msgspec

from keystile.gate import records
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Child, Job, JobOutcome, JobState
from keystile.gate.plan import Plan
from keystile.gate.recorder import Recorder
from keystile.gate.second_net import SecondNet
from keystile.gate.statements import Recognised, Recogniser
from keystile.model.errors import KeystileError, NotFoundError
from keystile.telemetry.logs import logger
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import ScriptJob
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError

_log = logger("gate")


class Children:
    """Finds the statements of scripts that have ended."""

    def __init__(
        self, jobs: JobStore, accounts: Accounts, recorder: Recorder, net: SecondNet
    ) -> None:
        """Ask BigQuery for them and keep them among `jobs`; errors are as the second net says."""
        self._net = net
        self._jobs = jobs
        self._accounts = accounts
        self._recorder = recorder

    async def find(self, script: Job) -> None:
        """Keep the statements of a script that has ended, unless they are kept already.

        Another job has none. Raises what BigQuery says where it does not list them.
        """
        if script.children or not script.plan.statements:
            return
        try:
            ran = await self._accounts.at(script.account).script_jobs(script.reference)
        except NotFoundError:
            return
        if not all(one.done for one in ran):
            return  # they are found when their list is asked for
        # In a thread: a long script that has run much takes long enough to be noticed by all.
        told = [await self._told(script, one) for one in ran]
        children = await asyncio.to_thread(_children, script, told)
        for child in children:
            await self._record_failed(child)
        if children:
            await self._jobs.add_children(script, children)

    async def try_to_find(self, script: Job) -> None:
        """Do the same, or leave it for when their list is asked for: the script's end is more."""
        try:
            await self.find(script)
        except KeystileError as error:
            _log.warning("script_statements_not_found", job=script.id, reason=str(error))

    async def _told(self, script: Job, one: ScriptJob) -> ScriptJob:
        if one.error is None:
            return one
        return msgspec.structs.replace(one, error=await self._net.said(script, one.error))

    async def _record_failed(self, child: Job) -> None:
        if child.error is None:
            return
        state, now = "cancelled" if child.error.reason == "stopped" else "failed", time.time()
        await self._recorder.record(records.intent(child, now))
        await self._recorder.record(records.ended(child, state, child.error, now))


def _children(script: Job, ran: Iterable[ScriptJob]) -> list[Job]:
    plan = script.plan
    recogniser = Recogniser(script.request.sql, plan.sql, plan.statements)
    found: list[Job] = []
    for one in ran:
        known = recogniser.statement(one)
        if known is not None:
            found.append(_child(script, one, known, len(found)))
    return found


def _child(script: Job, ran: ScriptJob, known: Recognised, number: int) -> Job:
    statement, asked, plan = known.statement, script.request, script.plan
    outcome = JobOutcome(
        schema=(),
        total_rows=0,
        bytes_processed=ran.bytes_processed,
        cache_hit=ran.cache_hit,
        recorded_rows=0,
        changed=ran.changed,
        unread=ran.is_select,
        bytes_billed=ran.bytes_billed,
    )
    # Not BigQuery's own name, which is of the gateway's account; the same at every replica.
    name = hashlib.sha256(script.id.encode()).hexdigest()[:32]
    return Job(
        id=f"{script.id}_{number:04}",
        principal=script.principal,
        request=QueryRequest(
            statement.sql,
            asked.project,
            location=asked.location,
            default_project=asked.default_project,
            default_dataset=asked.default_dataset,
            labels=asked.labels,
            use_query_cache=asked.use_query_cache,
        ),
        plan=Plan(
            facts=statement.facts,
            decision=plan.decision,
            sql=statement.runs,
            masked=statement.masked,
            schema=statement.schema,
            bytes_estimate=0,
            digest=plan.digest,
            account=plan.account,
        ),
        job_id=f"script_job_{name}_{number}",
        location=script.location,
        state=JobState.DONE,
        created_at=ran.created,
        started_at=ran.started,
        ended_at=ran.ended,
        error=JobError.of(ran.error) if ran.error else None,
        outcome=None if ran.error else outcome,
        child=Child(script.job_id, ran.job.job, known.frames),
    )
