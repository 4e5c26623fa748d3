"""The methods of jobs: query, insert, get, list, cancel, delete, getQueryResults."""

from __future__ import annotations

from keystile.model.errors import InvalidRequestError
from keystile.sandbox import resources
from keystile.sandbox.asking import asked_by_insert, asked_by_query
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.errors import AccessDeniedError
from keystile.sandbox.job import Job
from keystile.sandbox.jobs import Jobs
from keystile.sandbox.pages import page_of_list, page_of_rows
from keystile.sandbox.transfer.requests import parse_transfer
from keystile.sandbox.transfer.running import Transfers
from keystile.wire import job_resources
from keystile.wire.jsonbody import parse_object
from keystile.wire.list_parameters import parse_jobs, parse_page, truth_value
from keystile.wire.requests import JobsRequest, PageRequest, QueryRequest
from keystile.wire.responses import Resource, ResultsView


class JobMethods:
    """Answers from the jobs."""

    def __init__(self, jobs: Jobs, transfers: Transfers) -> None:
        """Answer of `jobs`, to which `transfers` adds those that are no queries."""
        self._jobs, self._transfers = jobs, transfers
        self.answers: Answers = {
            "jobs.query": self._query,
            "jobs.insert": self._insert,
            "jobs.get": self._get,
            "jobs.list": self._list,
            "jobs.cancel": self._cancel,
            "jobs.delete": self._delete,
            "jobs.getQueryResults": self._results,
        }

    async def _query(self, ask: Ask) -> Resource:
        asked = await self._jobs.placed(asked_by_query(ask))
        request = asked.request
        if request.dry_run:
            view = await self._jobs.dry_run(asked, ask.account)
            return job_resources.query_resource(ResultsView(view))
        job = self._jobs.start(asked, ask.account)
        await self._jobs.wait(job, request.timeout_ms)
        return resources.query_resource(job, _page(job, _first_page(request)))

    async def _insert(self, ask: Ask) -> Resource:
        if transfer := parse_transfer(ask.call.project, parse_object(ask.body)):
            return resources.job_resource(self._transfers.start(transfer, ask.account))
        asked = await self._jobs.placed(asked_by_insert(ask))
        if asked.request.dry_run:
            return job_resources.job_resource(await self._jobs.dry_run(asked, ask.account))
        return resources.job_resource(self._jobs.start(asked, ask.account))

    async def _get(self, ask: Ask) -> Resource:
        return resources.job_resource(self._found(ask))

    async def _cancel(self, ask: Ask) -> Resource:
        job = self._found(ask)
        await self._jobs.cancel(job)
        return {"kind": "bigquery#jobCancelResponse", "job": resources.job_resource(job)}

    async def _results(self, ask: Ask) -> Resource:
        page = parse_page(ask.call)
        job = self._found(ask)
        if job.moved:
            raise InvalidRequestError("Cannot get results of a job that is not a query job.")
        await self._jobs.wait(job, page.timeout_ms)
        return resources.results_resource(job, _page(job, page))

    async def _delete(self, ask: Ask) -> None:
        self._jobs.delete(self._found(ask))

    async def _list(self, ask: Ask) -> Resource:
        wanted = parse_jobs(ask.call)
        everyone = truth_value(ask.call.parameters, "allUsers")
        jobs = [
            {**resources.job_resource(job), "state": job.view.state}
            for job in self._jobs.newest_first(ask.call.project, wanted.parent)
            if _is_wanted(job, wanted) and (everyone or job.view.owner == ask.account)
        ]
        listed, token = page_of_list(jobs, ask.call)
        shown = [job if wanted.full else _minimal(job) for job in listed]
        resource: Resource = {"kind": "bigquery#jobList", "jobs": shown}
        return {**resource, "nextPageToken": token} if token else resource

    def _found(self, ask: Ask) -> Job:
        call = ask.call
        job = self._jobs.get(call.project, call.job, call.parameters.get("location", ""))
        if job.view.owner != ask.account:
            name = f"{call.project}:{job.view.location}.{call.job}"
            raise AccessDeniedError(
                f"Access Denied: Job {name}: Permission bigquery.jobs.get denied on job {name} "
                "(or it may not exist)."
            )
        return job


def _is_wanted(job: Job, wanted: JobsRequest) -> bool:
    created = int(job.view.created * 1000)
    return (
        wanted.state in ("", job.view.state.lower())
        and (wanted.created_from or 0) <= created
        and (wanted.created_until is None or created <= wanted.created_until)
    )


def _minimal(job: Resource) -> Resource:
    return {name: value for name, value in job.items() if name != "configuration"}


def _first_page(request: QueryRequest) -> PageRequest:
    return PageRequest(
        max_results=request.max_results, use_int64_timestamp=request.use_int64_timestamp
    )


def _page(job: Job, page: PageRequest) -> ResultsView:
    """Give a page of a job. Raises the job's own failure, as BigQuery answers it."""
    if job.failure:
        raise job.failure
    if not job.view.done:
        return ResultsView(job.view)
    shown, token = page_of_rows(job.rows, job.view.schema or (), page, job.view.job_id)
    return ResultsView(job.view, tuple(shown), token)
