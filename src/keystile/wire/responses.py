"""Answers in BigQuery's shape. Rows pass through: their cells are never decoded here."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence

import msgspec

from keystile.model.errors import InvalidQueryError, KeystileError
from keystile.model.schema import Field, Parameter, TableId
from keystile.wire.schema import parameter_json, schema_json
from keystile.wire.scripts import StackFrame, script_statistics
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


def job_resource(job: JobView) -> Resource:
    """Give the answer of jobs.insert and jobs.get (`Job`)."""
    status: Resource = {"state": job.state}
    if job.error:
        problem = {"reason": job.error.reason, "message": job.error.message}
        status |= {"errorResult": problem, "errors": [problem]}
    resource: Resource = {
        "kind": "bigquery#job",
        "id": f"{job.project}:{job.location}.{job.job_id}",
        "user_email": job.owner,
        "configuration": _configuration(job),
        "jobReference": _reference(job),
        "statistics": _statistics(job),
        "status": status,
    }
    return {**resource, "etag": etag(resource)}


def job_list_resource(jobs: Sequence[JobView], page_token: str, *, full: bool = True) -> Resource:
    """Give the answer of jobs.list; what was asked of each job only where `full`."""
    listed = [{**job_resource(job), "state": job.state} for job in jobs]
    if not full:
        for job in listed:
            del job["configuration"]
    resource: Resource = {"kind": "bigquery#jobList", "jobs": listed}
    return {**resource, "nextPageToken": page_token} if page_token else resource


def cancel_resource(job: JobView) -> Resource:
    """Give the answer of jobs.cancel."""
    return {"kind": "bigquery#jobCancelResponse", "job": job_resource(job)}


def query_resource(results: ResultsView) -> Resource:
    """Give the answer of jobs.query (`QueryResponse`).

    A client that asks with `JOB_CREATION_OPTIONAL` gets no job where it gets the whole result: it
    then keeps the rows instead of reading the job's table (bigframes does).
    """
    job = results.job
    resource = _results(results, "bigquery#queryResponse")
    if job.optional and results.is_whole:
        del resource["jobReference"]
        resource["queryId"] = job.job_id
    if job.statement:
        resource["statementType"] = job.statement
    resource["location"] = job.location
    if job.changed:
        resource |= job.changed.json()
    return resource | _times(job) | _session(job)


def results_resource(results: ResultsView) -> Resource:
    """Give the answer of jobs.getQueryResults (`GetQueryResultsResponse`)."""
    resource = _results(results, "bigquery#getQueryResultsResponse")
    return {**resource, "etag": etag({**resource, "rows": [results.start, len(results.rows)]})}


def table_data_resource(
    rows: Sequence[Row], total_rows: int, page_token: str, version: object
) -> Resource:
    """Give the answer of tabledata.list (`TableDataList`); its rows are those of this `version`."""
    resource: Resource = {
        "kind": "bigquery#tableDataList",
        "totalRows": str(total_rows),
        "rows": list(rows),
        "etag": etag([version, total_rows, len(rows), page_token]),
    }
    return {**resource, "pageToken": page_token} if page_token else resource


def etag(resource: object) -> str:
    """Name the content: equal resources have equal tags."""
    return hashlib.sha256(msgspec.json.encode(resource)).hexdigest()[:24]


def _session(job: JobView) -> Resource:
    return {"sessionInfo": {"sessionId": job.session}} if job.session else {}


def _reference(job: JobView) -> Resource:
    reference: Resource = {"projectId": job.project, "location": job.location}
    # A dry run makes no job, so BigQuery gives it no id unless the client chose one.
    return {**reference, "jobId": job.job_id} if job.job_id else reference


def _configuration(job: JobView) -> Resource:
    if job.transfer:
        kind = job.transfer.kind
        moves: Resource = {"jobType": kind.upper(), kind: job.transfer.configuration}
        return {**moves, "labels": job.labels} if job.labels else moves
    query: Resource = {
        "query": job.sql,
        "useLegacySql": False,
        "priority": "INTERACTIVE",
        "useQueryCache": job.use_query_cache,
    }
    if job.default_dataset:
        query["defaultDataset"] = {
            "projectId": job.default_project,
            "datasetId": job.default_dataset,
        }
    if job.parameters:
        query["parameterMode"] = "NAMED" if job.parameters[0].name else "POSITIONAL"
        query["queryParameters"] = [parameter_json(parameter) for parameter in job.parameters]
    if job.maximum_bytes_billed is not None:
        query["maximumBytesBilled"] = str(job.maximum_bytes_billed)
    if job.destination:
        query["destinationTable"] = table_reference(job.destination)
    query |= job.into
    configuration: Resource = {"jobType": "QUERY", "query": query}
    if job.dry_run:
        configuration["dryRun"] = True
    return {**configuration, "labels": job.labels} if job.labels else configuration


def _statistics(job: JobView) -> Resource:
    if job.transfer:
        return {**_times(job), **job.moved}
    query: Resource = {"cacheHit": job.cache_hit}
    if job.statement:
        query["statementType"] = job.statement
    if job.schema is not None:
        query["schema"] = schema_json(job.schema)
    if job.referenced:
        query["referencedTables"] = [table_reference(table) for table in job.referenced]
    if job.changed:
        query |= job.changed.json()
    statistics: Resource = {**_times(job), "query": query}
    statistics |= _session(job)
    if job.parent:
        statistics["parentJobId"] = job.parent
        statistics["scriptStatistics"] = script_statistics(job.frames, expression=job.expression)
    if job.children:
        statistics["numChildJobs"] = str(job.children)
    if job.bytes_processed is not None:
        query["totalBytesProcessed"] = statistics["totalBytesProcessed"] = str(job.bytes_processed)
        query["totalBytesBilled"] = "0" if job.dry_run else str(job.bytes_billed or 0)
    elif job.dry_run:
        # Clients print the estimate of every dry run, so there is one: no more is promised.
        query["totalBytesProcessed"] = statistics["totalBytesProcessed"] = "0"
        query["totalBytesProcessedAccuracy"] = "LOWER_BOUND"
        query["totalBytesBilled"] = "0"
    return statistics


def _times(job: JobView) -> Resource:
    given = {"creationTime": job.created, "startTime": job.started, "endTime": job.ended}
    return {name: str(int(at * 1000)) for name, at in given.items() if at is not None}


def _results(results: ResultsView, kind: str) -> Resource:
    job = results.job
    resource: Resource = {
        "kind": kind,
        "jobReference": _reference(job),
        "jobComplete": job.done,
    }
    if not job.done:
        return resource
    resource["cacheHit"] = job.cache_hit
    if job.schema is not None:
        resource["schema"] = schema_json(job.schema)
    if job.bytes_processed is not None or job.dry_run:
        resource["totalBytesProcessed"] = str(job.bytes_processed or 0)
    if job.dry_run:
        return resource
    if job.changed:
        return resource | {"numDmlAffectedRows": job.changed.json()["numDmlAffectedRows"]}
    resource["totalRows"] = str(job.total_rows or 0)
    if results.rows:
        resource["rows"] = list(results.rows)
    if results.page_token:
        resource["pageToken"] = results.page_token
    return resource


def table_reference(table: TableId) -> Resource:
    """Give a `TableReference`."""
    return {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table}
