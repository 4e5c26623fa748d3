"""Accepted jobs: what each is, and where it stands.

```
pending (an approval is open) -> ready (may run) -> running (BigQuery has it) -> done
```
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from keystile.gate.plan import Plan
from keystile.model.principal import Principal
from keystile.model.schema import Field
from keystile.upstream.values import Account, JobRef
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError, RowsChanged
from keystile.wire.scripts import StackFrame


class JobState(StrEnum):
    """Where an accepted job stands."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"


class JobOutcome(msgspec.Struct, frozen=True):
    """What BigQuery said of a finished job.

    The first `recorded_rows` rows are on record. `on_one_page` says that the first page has them
    all. `moved` are a transfer's counts, under its kind. An `unread` one has rows, of which nothing
    is known before somebody asks for them.
    """

    schema: tuple[Field, ...]
    total_rows: int
    bytes_processed: int
    cache_hit: bool
    recorded_rows: int
    changed: RowsChanged | None = None
    on_one_page: bool = False
    moved: dict[str, object] = {}
    unread: bool = False
    bytes_billed: int = 0


class Child(msgspec.Struct, frozen=True):
    """What a job has that is a statement of a script.

    `parent` is the script's `job_id`, `upstream_id` its own name at BigQuery, `frames` are where it
    stands in the script as the agent wrote it.
    """

    parent: str
    upstream_id: str
    frames: tuple[StackFrame, ...] = ()


class Job(msgspec.Struct, frozen=True):
    """One accepted job. `id` is ours and names it everywhere inside; `job_id` is the agent's word.

    Of a script's statements, `children` in number, each is a job too. Times are UTC seconds since
    the epoch.
    """

    id: str
    principal: Principal
    request: QueryRequest
    plan: Plan
    job_id: str
    location: str
    state: JobState
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    error: JobError | None = None
    outcome: JobOutcome | None = None
    child: Child | None = None
    children: int = 0

    @property
    def account(self) -> Account:
        """Who runs it at BigQuery."""
        return self.plan.account

    @property
    def reference(self) -> JobRef:
        """The job's full name at BigQuery."""
        moves = self.request.transfer is not None
        return JobRef(self.request.project, self.upstream_id, self.location, moves)

    @property
    def writing(self) -> JobRef:
        """The full name of the job that writes this one's result into a table, where one does."""
        return JobRef(self.request.project, f"{self.upstream_id}_into", self.location, moves=True)

    @property
    def upstream_id(self) -> str:
        """The job's name at BigQuery, fixed before it is sent, so that it runs at most once.

        BigQuery itself names the statements of scripts.
        """
        return self.child.upstream_id if self.child else f"keystile_{self.id}"
