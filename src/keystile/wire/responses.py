"""What a client may see: jobs and pages of rows as typed data, and errors in BigQuery's shape."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator

import msgspec

from keystile.model.errors import InvalidQueryError, KeystileError
from keystile.model.schema import Field, Parameter, TableId
from keystile.wire.scripts import StackFrame
from keystile.wire.transfers import Transfer

Row = msgspec.Raw | dict[str, object]
"""`{"f": [{"v": …}, …]}`."""

Resource = dict[str, object]


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed, in the words of BigQuery's error shape."""

    http_status: int
    reason: str
    status: str
    message: str

    @classmethod
    def of(cls, error: KeystileError) -> JobError:
        """Take it from an error of ours."""
        return cls(error.http_status, error.reason, error.status, str(error))


class JobFailedError(Exception):
    """The job that a request waits for has failed; its error is the request's answer."""

    def __init__(self, error: JobError) -> None:
        """Keep the job's error."""
        super().__init__(error.reason)
        self.error = error


class RowsChanged(msgspec.Struct, frozen=True):
    """How many rows a statement that writes has changed."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def json(self) -> Resource:
        """Give the two fields of BigQuery's statistics."""
        counts = {"inserted": self.inserted, "deleted": self.deleted, "updated": self.updated}
        return {
            "numDmlAffectedRows": str(sum(counts.values())),
            "dmlStats": {f"{word}RowCount": str(count) for word, count in counts.items()},
        }


class JobView(msgspec.Struct, frozen=True):
    """What a client may see of a job.

    `state` is `PENDING`, `RUNNING` or `DONE`. Times are seconds since 1970. `owner` stands where
    BigQuery gives `user_email`. `destination` is the anonymous table that holds the result, which
    clients expect to find named; it is more than one page where `several_pages` is set. A script's
    statements are jobs of their own: it has so many `children`, and each of these names its
    `parent`, whether it is an `expression`, and in `frames` where it stands, the innermost first.
    `bytes_processed` and `bytes_billed` are None where they are not known or not shown. `transfer`
    is what a job is that is no query, `moved` its counts under its kind. `into` is what its client
    said of where the result goes, in the words of the API. `optional` tells that its client can do
    without a job, `session` is the id of the session that it runs in.
    """

    project: str
    job_id: str
    location: str
    owner: str
    state: str
    sql: str
    created: float
    started: float | None = None
    ended: float | None = None
    error: JobError | None = None
    statement: str = ""
    dry_run: bool = False
    bytes_processed: int | None = None
    bytes_billed: int | None = None
    total_rows: int | None = None
    schema: tuple[Field, ...] | None = None
    cache_hit: bool = False
    parameters: tuple[Parameter, ...] = ()
    labels: dict[str, str] = {}
    referenced: tuple[TableId, ...] = ()
    default_project: str = ""
    default_dataset: str = ""
    use_query_cache: bool = True
    maximum_bytes_billed: int | None = None
    destination: TableId | None = None
    several_pages: bool = False
    parent: str = ""
    expression: bool = False
    frames: tuple[StackFrame, ...] = ()
    changed: RowsChanged | None = None
    children: int = 0
    transfer: Transfer | None = None
    moved: dict[str, object] = {}
    into: dict[str, object] = {}
    optional: bool = False
    session: str = ""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.state == "DONE"


class ResultsView(msgspec.Struct, frozen=True):
    """One page of a job's result, from its row `start` on. `page_token` is empty on the last page.

    A large page comes in pieces: `rest` gives those that follow, and the last one has the token.
    """

    job: JobView
    rows: tuple[Row, ...] = ()
    page_token: str = ""
    start: int = 0
    rest: AsyncGenerator[ResultsView] | None = None

    async def whole(self) -> ResultsView:
        """Give the page in one piece. Raises what its pieces raise."""
        rows, last = [*self.rows], self
        if self.rest is not None:
            async for last in self.rest:
                rows += last.rows
        return ResultsView(self.job, tuple(rows), last.page_token, self.start)

    @property
    def is_whole(self) -> bool:
        """Whether all of a query's result is here, so that nobody needs the job to see the rest."""
        job = self.job
        selects = job.done and job.error is None and job.statement == "SELECT" and not job.dry_run
        return selects and len(self.rows) == (job.total_rows or 0)


class JobsView(msgspec.Struct, frozen=True):
    """One page of a list of jobs. `page_token` is empty on the last page."""

    jobs: tuple[JobView, ...]
    page_token: str = ""


def to_bytes(resource: Resource) -> bytes:
    """Write a resource as JSON."""
    return msgspec.json.encode(resource)


def error_resource(error: KeystileError) -> Resource:
    """Give an error as every Google client reads it."""
    detail = {"message": str(error), "domain": "global", "reason": error.reason}
    if isinstance(error, InvalidQueryError) or error.place != (0, 0):
        # What BigQuery says of every error that is about the text of a query.
        detail |= {"location": "q", "locationType": "parameter"}
    return {
        "error": {
            "code": error.http_status,
            "message": str(error),
            "errors": [detail],
            "status": error.status,
        }
    }


def error_body(error: KeystileError) -> bytes:
    """Write an error as JSON."""
    return to_bytes(error_resource(error))


def etag(resource: object) -> str:
    """Name the content: equal resources have equal tags."""
    return hashlib.sha256(msgspec.json.encode(resource)).hexdigest()[:24]


def table_reference(table: TableId) -> Resource:
    """Give a `TableReference`."""
    return {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table}
