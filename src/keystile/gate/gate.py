"""The gate as the API sees it: queries in, jobs and rows out, each only for its owner."""

from __future__ import annotations

import time
from collections.abc import Collection

from keystile.gate.changes import Changes
from keystile.gate.children import Children
from keystile.gate.duties import Duties
from keystile.gate.failed_jobs import failed_job
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import JobState
from keystile.gate.metadata import Metadata
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.permissions import Permissions
from keystile.gate.reading import ResultReader
from keystile.gate.result_tables import ResultTables
from keystile.gate.routine_changes import RoutineChanges
from keystile.gate.running import cancel
from keystile.gate.streaming import Streaming
from keystile.gate.table_data import TableData
from keystile.gate.views import view_of
from keystile.model.errors import InvalidQueryError, InvalidRequestError, NotFoundError
from keystile.model.principal import Principal
from keystile.model.schema import RoutineId, TableId
from keystile.upstream.accounts import Accounts
from keystile.wire.metadata import result_table_resource
from keystile.wire.requests import JobsRequest, PageRequest, QueryRequest
from keystile.wire.resources import NewDataset, NewTable
from keystile.wire.responses import JobsView, JobView, Resource, ResultsView
from keystile.wire.routines import NewRoutine
from keystile.wire.streaming import BadRow, NewRows
from keystile.wire.updates import Update


class Gate:
    """Implements `api.ports.Gate`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that the methods below stand on
        self,
        duties: Duties,
        jobs: JobStore,
        own: OwnJobs,
        results: ResultTables,
        reader: ResultReader,
        table_data: TableData,
        streaming: Streaming,
        metadata: Metadata,
        changes: Changes,
        permissions: Permissions,
        routines: RoutineChanges,
        children: Children,
        accounts: Accounts,
    ) -> None:
        """Wire the parts together."""
        self._duties = duties
        self._jobs = jobs
        self._own = own
        self._results = results
        self._reader = reader
        self._table_data = table_data
        self._streaming = streaming
        self._metadata = metadata
        self._changes = changes
        self._permissions = permissions
        self._routines = routines
        self._children = children
        self._accounts = accounts

    async def query(
        self, principal: Principal, request: QueryRequest, page: PageRequest
    ) -> ResultsView:
        """Plan and start a query, wait for it up to `page.timeout_ms`, and give a page of its rows.

        The same `requestId` within 15 minutes gives the job that it started before.
        """
        job = None
        if request.request_id:
            job = await self._jobs.by_request(
                principal.key, request.project, request.request_id, time.time()
            )
        if job is None:
            job = await self._duties.accept(principal, request)
        job = await self._duties.wait(job, page.timeout_ms / 1000)
        return await self._reader.page(job, page)

    async def insert(self, principal: Principal, request: QueryRequest) -> JobView:
        """Plan and start a query without waiting for its end.

        As with BigQuery, a query that is wrong is a job that has failed; clients hear of it where
        they ask for its rows, and may be told to try again there.
        """
        try:
            return view_of(await self._duties.accept(principal, request))
        except (InvalidQueryError, NotFoundError) as error:
            if request.dry_run or request.transfer:
                raise
            return view_of(await failed_job(self._jobs, principal, request, error))

    async def job(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Give the principal's job as it stands. Raises `NotFoundError`."""
        return view_of(await self._jobs.owned(principal.key, project, job_id))

    async def jobs(self, principal: Principal, project: str, asked: JobsRequest) -> JobsView:
        """List the principal's jobs, or the statements of one that is a script, newest first.

        A script has none before it has ended. Raises `NotFoundError` for a parent that is not the
        principal's.
        """
        if asked.parent:
            script = await self._jobs.owned(principal.key, project, asked.parent)
            if script.state is JobState.DONE and script.started_at is not None:
                await self._children.find(script)
        found, token = await self._own.page(principal.key, project, asked)
        return JobsView(tuple(map(view_of, found)), token)

    async def results(
        self, principal: Principal, project: str, job_id: str, page: PageRequest
    ) -> ResultsView:
        """Wait for a job up to `page.timeout_ms`, then give a page of its rows."""
        job = await self._jobs.owned(principal.key, project, job_id)
        if job.request.transfer is not None:
            raise InvalidRequestError(
                f"Cannot list the results of a {job.request.transfer.kind} job",
                hint="ask for the job itself with jobs.get",
            )
        job = await self._duties.wait(job, page.timeout_ms / 1000)
        return await self._reader.page(job, page)

    async def cancel(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Ask for a job's end. A job that waits for people ends at once."""
        job = await self._jobs.owned(principal.key, project, job_id)
        if job.state is JobState.PENDING:
            await self._duties.withdraw(job)
        elif job.state is not JobState.DONE:
            await cancel(self._accounts.at(job.account), job)
        return view_of(await self._jobs.get(job.id))

    async def rows(
        self, principal: Principal, project: str, dataset: str, table: str, page: PageRequest
    ) -> ResultsView | None:
        """Give a page of a table's rows, as its query would; none of one without columns."""
        return await self._table_data.rows(principal, TableId(project, dataset, table), page)

    async def insert_rows(self, principal: Principal, rows: NewRows) -> tuple[BadRow, ...]:
        """Put rows into a table at once, under the decision on `INSERT` of constants."""
        return await self._streaming.insert(principal, rows)

    async def projects(self, principal: Principal, page: PageRequest) -> Resource:
        """Give the answer of projects.list."""
        return await self._metadata.projects(principal, page)

    async def datasets(
        self, principal: Principal, project: str, page: PageRequest, labels: str
    ) -> Resource:
        """Give the answer of datasets.list."""
        return await self._metadata.datasets(principal, project, page, labels)

    async def dataset(self, principal: Principal, project: str, dataset: str) -> Resource:
        """Give the answer of datasets.get."""
        return await self._metadata.dataset(principal, project, dataset)

    async def tables(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give the answer of tables.list."""
        return await self._metadata.tables(principal, project, dataset, page)

    async def table(self, principal: Principal, project: str, dataset: str, table: str) -> Resource:
        """Give the answer of tables.get, of a result of the principal's own too."""
        job = await self._results.job(principal.key, TableId(project, dataset, table))
        if job is not None:
            return result_table_resource(TableId(project, dataset, table), view_of(job))
        return await self._metadata.table(principal, project, dataset, table)

    async def permissions(
        self, principal: Principal, table: TableId, asked: Collection[str]
    ) -> list[str]:
        """Give those of these permissions that policy gives the principal."""
        return await self._permissions.of_table(principal, table, asked)

    async def routines(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give the answer of routines.list."""
        return await self._metadata.routines(principal, project, dataset, page)

    async def service_account(self, principal: Principal, project: str) -> Resource:
        """Give the answer of projects.getServiceAccount."""
        return await self._metadata.service_account(principal, project)

    async def models(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give the answer of models.list."""
        return await self._metadata.models(principal, project, dataset, page)

    async def routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> Resource:
        """Give the answer of routines.get."""
        return await self._metadata.routine(principal, RoutineId(project, dataset, routine))

    async def create_dataset(self, principal: Principal, new: NewDataset) -> Resource:
        """Make a dataset, by the statement that this is."""
        return await self._changes.create_dataset(principal, new)

    async def update_dataset(
        self, principal: Principal, project: str, dataset: str, update: Update
    ) -> Resource:
        """Change a dataset, by the statement that this is."""
        return await self._changes.update_dataset(principal, project, dataset, update)

    async def delete_dataset(
        self, principal: Principal, project: str, dataset: str, *, contents: bool
    ) -> None:
        """Drop a dataset, by the statement that this is."""
        await self._changes.delete_dataset(principal, project, dataset, contents=contents)

    async def create_table(self, principal: Principal, new: NewTable) -> Resource:
        """Make a table or a view, by the statement that this is."""
        return await self._changes.create_table(principal, new)

    async def update_table(
        self, principal: Principal, project: str, dataset: str, table: str, update: Update
    ) -> Resource:
        """Change a table or a view, by the statements that this is."""
        id_ = TableId(project, dataset, table)
        return await self._changes.update_table(principal, id_, update)

    async def delete_table(
        self, principal: Principal, project: str, dataset: str, table: str
    ) -> None:
        """Drop a table or a view, by the statement that this is."""
        await self._changes.delete_table(principal, TableId(project, dataset, table))

    async def create_routine(self, principal: Principal, new: NewRoutine) -> Resource:
        """Make a function, by the statement that this is."""
        return await self._routines.create(principal, new)

    async def replace_routine(self, principal: Principal, new: NewRoutine, etag: str) -> Resource:
        """Replace a routine by a function, by the statement that this is."""
        return await self._routines.replace(principal, new, etag)

    async def delete_routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> None:
        """Drop a routine, by the statement that this is."""
        await self._routines.delete(principal, RoutineId(project, dataset, routine))
