from __future__ import annotations

from typing import Any

import msgspec

from keystile.gate.connection_uses import uses_of
from keystile.gate.jobs import JobState
from keystile.model.errors import RefusedError
from keystile.upstream.values import Account
from keystile.wire.responses import JobError

POLICY = {
    "a.yaml": "connections:\n- {name: as-reports, agents: {groups: [x]}, connection: reports}\n",
    "b.yaml": "connections:\n- {name: as-else, agents: {groups: [y]}, connection: else}\n",
}


def under(bench: Any, connection: str, **words: Any) -> Any:
    job = bench.a_job(**words)
    plan = msgspec.structs.replace(job.plan, account=Account(connection, "a@b"))
    return msgspec.structs.replace(job, plan=plan)


async def test_all_that_needs_a_connection_is_named_and_nothing_else(bench: Any, one: Any) -> None:
    waits = under(bench, "reports", job_id="waits", state=JobState.PENDING)
    for job in (waits, under(bench, "else", job_id="other"), under(bench, "reports", job_id="run")):
        await one.jobs.add(job)
    agent = waits.principal.agent
    assert sorted(await uses_of("reports", POLICY, bench.database)) == [
        f"job `run` of agent `{agent}`",
        f"job `waits` of agent `{agent}`",
        "the policy's entry `as-reports`",
    ]
    assert await uses_of("nothing", POLICY, bench.database) == []


async def test_a_job_that_has_ended_needs_none(bench: Any, one: Any) -> None:
    job = under(bench, "reports", job_id="run")
    await one.jobs.add(job)
    await one.jobs.finish(job, 5.0, error=JobError.of(RefusedError("denied")), outcome=None)
    assert await uses_of("reports", {}, bench.database) == []
