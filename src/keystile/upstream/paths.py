"""Where resources stand in BigQuery's API, as the parts of their paths."""

from __future__ import annotations

from keystile.model.schema import RoutineId, TableId
from keystile.upstream.values import JobRef


def dataset_path(project: str, dataset: str) -> tuple[str, ...]:
    """Give the path of a dataset."""
    return ("projects", project, "datasets", dataset)


def table_path(id_: TableId) -> tuple[str, ...]:
    """Give the path of a table or view."""
    return (*dataset_path(id_.project, id_.dataset), "tables", id_.table)


def routine_path(id_: RoutineId) -> tuple[str, ...]:
    """Give the path of a routine."""
    return (*dataset_path(id_.project, id_.dataset), "routines", id_.routine)


def job_path(job: JobRef) -> tuple[str, ...]:
    """Give the path of a job."""
    return ("projects", job.project, "jobs", job.job)


def results_path(job: JobRef) -> tuple[str, ...]:
    """Give the path of the rows of a query's result."""
    return ("projects", job.project, "queries", job.job)


def place_of(job: JobRef) -> dict[str, str]:
    """Say in a request where its job runs."""
    return {"location": job.location} if job.location else {}
