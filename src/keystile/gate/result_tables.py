"""The names of results: clients expect each query to name a table that holds its rows.

BigQuery keeps a result in a table of a hidden dataset. The name that an agent sees is the gateway's
own, and means something to the job's owner alone: to `tables.get` and `tabledata.list`, and to
queries as `read_results` says.
"""

from __future__ import annotations

import hashlib

from keystile.gate.jobs import Job
from keystile.gate.own_jobs import OwnJobs
from keystile.model.schema import TableId

RESULT = "anon"
"""What the names of results begin with."""


def result_table(job: Job) -> TableId:
    """Name the result of a job, in BigQuery's manner."""
    project = job.request.project
    return TableId(project, own_dataset(job.principal.key, project), f"{RESULT}{job.id}")


def own_dataset(owner: str, project: str) -> str:
    """Name the hidden dataset that an agent knows in a project: no other agent knows it as its."""
    return f"_{hashlib.sha256(f'{owner}|{project}'.encode()).hexdigest()[:40]}"


class ResultTables:
    """Finds the jobs behind such names."""

    def __init__(self, jobs: OwnJobs) -> None:
        """Look among these."""
        self._jobs = jobs

    async def job(self, owner: str, table: TableId) -> Job | None:
        """Give the owner's finished job whose result has this name.

        INVARIANT: the name says nothing of who may read; the job's owner does.
        """
        if not table.table.startswith(RESULT):
            return None
        job = await self._jobs.by_id(owner, table.table.removeprefix(RESULT))
        if job is None or job.outcome is None or job.outcome.unread or result_table(job) != table:
            return None
        return job
