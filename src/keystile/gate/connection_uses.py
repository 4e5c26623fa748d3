"""What a connection to BigQuery is needed for still, before it is taken away."""

from __future__ import annotations

from collections.abc import Mapping

from keystile.gate.job_store import JobStore
from keystile.policy.parse import parse
from keystile.store.database import Database


async def uses_of(name: str, policy: Mapping[str, str], database: Database) -> list[str]:
    """Name the entries of a policy and the jobs that a connection is needed for.

    `policy` are the files that hold. A job that runs, or waits for people, goes on under the
    connection that it began with.
    """
    entries = [
        f"the policy's entry `{entry.name}`"
        for file, text in sorted(policy.items())
        for entry in parse(file, text).document.connections
        if entry.connection == name
    ]
    jobs = [
        f"job `{job.job_id}` of agent `{job.principal.agent}`"
        for job in await JobStore(database, replica="").all_live()
        if job.account.connection == name
    ]
    return [*entries, *jobs]
