"""Stand-ins for the rooms below, so that the data port can be served and tested without them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from keystile.model.errors import (
    DuplicateError,
    KeystileError,
    NotFoundError,
    RefusedError,
    TokenRefusedError,
    UnauthenticatedError,
)
from keystile.model.principal import Principal
from keystile.model.schema import Field, TableId
from keystile.model.sender import Sender
from keystile.wire.metadata import (
    dataset_list,
    model_list,
    project_list,
    routine_list,
    service_account,
    table_list,
)
from keystile.wire.requests import JobsRequest, PageRequest, QueryRequest
from keystile.wire.resources import NewDataset, NewTable
from keystile.wire.responses import (
    JobError,
    JobsView,
    JobView,
    Resource,
    ResultsView,
)
from keystile.wire.routines import NewRoutine
from keystile.wire.streaming import BadRow, NewRows, RowFault
from keystile.wire.updates import Update
from keystile.wire.uploads import Piece

_SCHEMA = (Field("id", "INT64"), Field("email", "STRING"))


class Progress(NamedTuple):
    """How far an upload has come."""

    job: JobView | None
    received: int


class FakeGate:
    """A gate whose every query gives the same rows, after `hold_seconds` of waiting.

    `refusal` is raised for each new query; `failure` is how held queries end instead of well.
    """

    def __init__(
        self,
        *,
        hold_seconds: float = 0.0,
        refusal: Exception | None = None,
        failure: KeystileError | None = None,
    ) -> None:
        """Start with no jobs."""
        self.requests: list[QueryRequest] = []
        self.pages: list[PageRequest] = []
        self.inserted: list[NewRows] = []
        self._hold_seconds = hold_seconds
        self._refusal = refusal
        self._failure = failure
        self._jobs: dict[tuple[str, str, str], tuple[JobView, float]] = {}

    async def query(
        self, principal: Principal, request: QueryRequest, page: PageRequest
    ) -> ResultsView:
        """Start a query and wait for it."""
        job = await self.insert(principal, request)
        if job.dry_run:
            return ResultsView(job)
        return await self.results(principal, job.project, job.job_id, page)

    async def insert(self, principal: Principal, request: QueryRequest) -> JobView:
        """Start a query; a dry run is done at once and kept nowhere."""
        self.requests.append(request)
        if self._refusal is not None:
            raise self._refusal
        job = JobView(
            project=request.project,
            job_id=request.job_id or f"job-{len(self.requests)}",
            location="US",
            owner=principal.agent,
            state="DONE" if request.dry_run else "PENDING",
            sql=request.sql,
            created=time.time(),
            statement="SELECT",
            dry_run=request.dry_run,
            bytes_processed=123,
            schema=_SCHEMA if request.dry_run else None,
        )
        key = (principal.key, job.project, job.job_id)
        if key in self._jobs:
            raise DuplicateError(f"Already Exists: Job {job.project}:{job.job_id}")
        if not job.dry_run:
            self._jobs[key] = (job, time.monotonic() + self._hold_seconds)
            return self._now(key)
        return job

    async def job(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Give a job of this principal."""
        return self._now((principal.key, project, job_id))

    async def results(
        self, principal: Principal, project: str, job_id: str, page: PageRequest
    ) -> ResultsView:
        """Give all rows at once."""
        self.pages.append(page)
        key = (principal.key, project, job_id)
        await self._wait(key, page.timeout_ms)
        job = self._now(key)
        rows = tuple(
            msgspec.Raw(b'{"f":[{"v":"%d"},{"v":"j***@example.com"}]}' % number)
            for number in range(3)
        )
        return ResultsView(job, rows if job.done else ())

    async def cancel(self, principal: Principal, project: str, job_id: str) -> JobView:
        """End a job at once."""
        key = (principal.key, project, job_id)
        stopped = JobError(400, "stopped", "CANCELLED", "Job execution was cancelled")
        job = msgspec.structs.replace(self._now(key), error=stopped)
        self._jobs[key] = (job, 0.0)
        return self._now(key)

    async def jobs(self, principal: Principal, project: str, asked: JobsRequest) -> JobsView:
        """Give all jobs of this principal, oldest first."""
        del asked
        keys = [key for key in self._jobs if key[:2] == (principal.key, project)]
        return JobsView(tuple(map(self._now, keys)))

    async def rows(
        self, principal: Principal, project: str, dataset: str, table: str, page: PageRequest
    ) -> ResultsView | None:
        """Give the rows of a query."""
        job = await self.insert(principal, QueryRequest(f"{dataset}.{table}", project))
        return await self.results(principal, project, job.job_id, page)

    async def insert_rows(self, principal: Principal, rows: NewRows) -> tuple[BadRow, ...]:
        """Take all rows but those that are empty."""
        del principal
        self.inserted.append(rows)
        empty = [index for index, row in enumerate(rows.rows) if row.json == "{}"]
        fault = RowFault("invalid", "id", "the row is empty")
        return tuple(BadRow(index, (fault,)) for index in empty)

    async def projects(self, principal: Principal, page: PageRequest) -> Resource:
        """Give one project."""
        del principal, page
        return project_list([{"id": "acme-shop", "numericId": "1", "friendlyName": "Shop"}], 1)

    async def datasets(
        self, principal: Principal, project: str, page: PageRequest, labels: str
    ) -> Resource:
        """Give one dataset."""
        del page, labels
        return dataset_list([await self.dataset(principal, project, "shop")])

    async def dataset(self, principal: Principal, project: str, dataset: str) -> Resource:
        """Give any dataset that is asked for."""
        del principal
        reference = {"projectId": project, "datasetId": dataset}
        return {"id": f"{project}:{dataset}", "datasetReference": reference, "location": "US"}

    async def tables(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give one table."""
        del page
        return table_list([await self.table(principal, project, dataset, "customers")], 1)

    async def table(self, principal: Principal, project: str, dataset: str, table: str) -> Resource:
        """Give any table that is asked for."""
        del principal
        reference = {"projectId": project, "datasetId": dataset, "tableId": table}
        return {
            "id": f"{project}:{dataset}.{table}",
            "tableReference": reference,
            "type": "TABLE",
            "schema": {"fields": [{"name": "id", "type": "INTEGER", "mode": "NULLABLE"}]},
        }

    async def permissions(
        self, principal: Principal, table: TableId, asked: Collection[str]
    ) -> list[str]:
        """Give those that read."""
        del principal, table
        return [name for name in asked if name.endswith(("get", "getData"))]

    async def routines(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give one routine."""
        del page
        return routine_list([await self.routine(principal, project, dataset, "same")])

    async def service_account(self, _principal: Principal, project: str) -> Resource:
        """Give an address."""
        return service_account({"email": f"bq-{project}@example.com"})

    async def models(
        self, _principal: Principal, project: str, dataset: str, _page: PageRequest
    ) -> Resource:
        """Give one model."""
        reference = {"projectId": project, "datasetId": dataset, "modelId": "m"}
        return model_list([{"modelReference": reference, "modelType": "LINEAR_REGRESSION"}])

    async def routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> Resource:
        """Give any routine that is asked for."""
        del principal
        reference = {"projectId": project, "datasetId": dataset, "routineId": routine}
        return {"routineReference": reference, "routineType": "SCALAR_FUNCTION"}

    async def create_dataset(self, principal: Principal, new: NewDataset) -> Resource:
        """Make nothing, and give it."""
        return await self.dataset(principal, new.project, new.dataset)

    async def update_dataset(
        self, principal: Principal, project: str, dataset: str, update: Update
    ) -> Resource:
        """Change nothing, and give it."""
        del update
        return await self.dataset(principal, project, dataset)

    async def delete_dataset(
        self, principal: Principal, project: str, dataset: str, *, contents: bool
    ) -> None:
        """Drop nothing."""

    async def create_table(self, principal: Principal, new: NewTable) -> Resource:
        """Make nothing, and give it."""
        return await self.table(principal, new.id.project, new.id.dataset, new.id.table)

    async def update_table(
        self, principal: Principal, project: str, dataset: str, table: str, update: Update
    ) -> Resource:
        """Change nothing, and give it."""
        del update
        return await self.table(principal, project, dataset, table)

    async def delete_table(
        self, principal: Principal, project: str, dataset: str, table: str
    ) -> None:
        """Drop nothing."""

    async def create_routine(self, principal: Principal, new: NewRoutine) -> Resource:
        """Make nothing, and give it."""
        return await self.routine(principal, *new.id.path)

    async def replace_routine(self, principal: Principal, new: NewRoutine, etag: str) -> Resource:
        """Replace nothing, and give it."""
        del etag
        return await self.routine(principal, *new.id.path)

    async def delete_routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> None:
        """Drop nothing."""

    async def _wait(self, key: tuple[str, str, str], timeout_ms: int) -> None:
        self._now(key)
        left = self._jobs[key][1] - time.monotonic()
        await asyncio.sleep(max(0.0, min(left, timeout_ms / 1000)))

    def _now(self, key: tuple[str, str, str]) -> JobView:
        if key not in self._jobs:
            raise NotFoundError(f"Not found: Job {key[1]}:{key[2]}")
        job, done_at = self._jobs[key]
        if time.monotonic() < done_at:
            return job
        error = job.error or (JobError.of(self._failure) if self._failure else None)
        ended = msgspec.structs.replace(job, state="DONE", error=error, ended=time.time())
        return ended if error else msgspec.structs.replace(ended, schema=_SCHEMA, total_rows=3)


class FakeUploads:
    """Takes the bytes of every upload into memory; an id is `upload-` and its number."""

    def __init__(self) -> None:
        """Start with none."""
        self.begun: list[QueryRequest] = []
        self.bytes = bytearray()
        self.dropped: list[str] = []

    async def begin(self, _principal: Principal, request: QueryRequest) -> str:
        """Begin one."""
        self.begun.append(request)
        return f"upload-{len(self.begun)}"

    async def go_on(
        self,
        principal: Principal,
        project: str,
        id_: str,
        piece: Piece,
        chunks: AsyncIterator[bytes],
    ) -> Progress:
        """Take a piece; the last one makes the job."""
        if id_ != f"upload-{len(self.begun)}":
            raise NotFoundError("Not found: Upload")
        async for chunk in chunks:
            self.bytes += chunk
        job = self._job(principal, project) if piece.is_last else None
        return Progress(job, len(self.bytes))

    async def whole(
        self, principal: Principal, request: QueryRequest, chunks: AsyncIterator[bytes]
    ) -> JobView:
        """Take all of one."""
        self.begun.append(request)
        async for chunk in chunks:
            self.bytes += chunk
        return self._job(principal, request.project)

    async def drop(self, _principal: Principal, _project: str, id_: str) -> None:
        """Note it."""
        self.dropped.append(id_)

    def _job(self, principal: Principal, project: str) -> JobView:
        return JobView(project, "job-1", "US", principal.agent, "RUNNING", "", time.time())


class FakePrincipals:
    """Tokens and whose they are, as given."""

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        """Know these tokens."""
        self._tokens = tokens
        self.disabled: set[str] = set()
        self.sender: Sender | None = None
        self.refusal: UnauthenticatedError | None = None

    async def principal(self, unverified_token: str, sender: Sender) -> Principal:
        """Look the token up, and remember who sent it."""
        self.sender = sender
        if self.refusal:
            raise self.refusal
        if unverified_token not in self._tokens:
            raise UnauthenticatedError("the gateway token is not valid", hint="exchange a new one")
        return self._tokens[unverified_token]

    async def current(self, principal: Principal) -> Principal:
        """Give the agent, unless it was disabled meanwhile."""
        if principal.agent in self.disabled:
            raise RefusedError(f"the agent `{principal.agent}` is disabled")
        return principal


class FakeToken(msgspec.Struct, frozen=True):
    """An issued token."""

    access_token: str
    expires_in: int
    issued_token_type: str = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name
    token_type: str = "Bearer"  # noqa: S105  a name


class FakeExchange:
    """Gives the gateway token `to-SUBJECT` for any subject token that does not say `bad`."""

    def __init__(self) -> None:
        """Remember who sent the last request."""
        self.sender: Sender | None = None

    async def exchange(self, body: bytes, content_type: str, sender: Sender) -> FakeToken:
        """Look at the subject token alone."""
        del content_type
        self.sender = sender
        subject = dict(parse_qsl(body.decode())).get("subject_token", "bad")
        if "bad" in subject:
            raise TokenRefusedError("the subject token is expired", hint="fetch a new one")
        return FakeToken(f"to-{subject}", 600)

    async def revoke(self, body: bytes, content_type: str, sender: Sender) -> None:
        """Refuse what says `bad`, and remember nothing."""
        del content_type
        self.sender = sender
        if b"bad" in body:
            raise TokenRefusedError("the parameter `token` is missing")


class FakeIssuer:
    """Documents that name nothing real."""

    def discovery(self) -> Mapping[str, object]:
        """Give the metadata."""
        return {"issuer": "http://gateway.example/issuer"}

    def jwks(self) -> Mapping[str, object]:
        """Give no keys."""
        return {"keys": []}
