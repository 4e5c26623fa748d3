"""Resources as BigQuery writes them: datasets, tables, results, jobs."""

from __future__ import annotations

from keystile.model.schema import TableId, TableKind
from keystile.sandbox.data import Stored
from keystile.sandbox.jobs import Job
from keystile.sandbox.store import LOCATION, Dataset
from keystile.wire import responses
from keystile.wire.responses import JobView, Resource, ResultsView
from keystile.wire.schema import schema_json


def dataset_resource(dataset: Dataset) -> Resource:
    """Give the answer of datasets.get."""
    project, name = dataset.id
    resource: Resource = {
        "kind": "bigquery#dataset",
        "id": f"{project}:{name}",
        "datasetReference": {"projectId": project, "datasetId": name},
        "location": LOCATION,
        "type": "DEFAULT",
        "access": [{"role": "OWNER", "specialGroup": "projectOwners"}],
        "creationTime": str(int(dataset.created * 1000)),
        "lastModifiedTime": str(int(dataset.created * 1000)),
        **dataset.details,
    }
    return {**resource, "etag": responses.etag(resource)}


def table_resource(stored: Stored) -> Resource:
    """Give the answer of tables.get."""
    resource: Resource = {
        "kind": "bigquery#table",
        "id": f"{stored.id.project}:{stored.id.dataset}.{stored.id.table}",
        "etag": stored.etag,
        "tableReference": responses.table_reference(stored.id),
        "type": stored.kind.value,
        "location": LOCATION,
        "schema": schema_json(stored.fields),
        "creationTime": str(int((stored.created or stored.modified) * 1000)),
        "lastModifiedTime": str(int(stored.modified * 1000)),
        **stored.details,
    }
    if stored.description:
        resource["description"] = stored.description
    if stored.defaults:
        _add_defaults(resource["schema"], stored.defaults)
    if stored.kind is TableKind.VIEW:
        return {**resource, "view": {"query": stored.view_query, "useLegacySql": False}}
    size = str(sum(stored.sizes.values()))
    return {**resource, "numRows": str(stored.row_count), "numBytes": size}


def _add_defaults(schema: object, defaults: dict[str, str]) -> None:
    if isinstance(schema, dict):
        for field in schema["fields"]:
            if field["name"] in defaults:
                field["defaultValueExpression"] = defaults[field["name"]]


def result_resource(id_: TableId, job: JobView) -> Resource:
    """Give the answer of tables.get for the anonymous table of a job's result."""
    return {
        "kind": "bigquery#table",
        "id": f"{id_.project}:{id_.dataset}.{id_.table}",
        "etag": responses.etag(str(id_)),
        "tableReference": responses.table_reference(id_),
        "type": "TABLE",
        "location": LOCATION,
        "schema": schema_json(job.schema or ()),
        "numRows": str(job.total_rows or 0),
        "creationTime": str(int(job.created * 1000)),
    }


def job_resource(job: Job) -> Resource:
    """Give the answer of jobs.get, with what the job changed."""
    resource = responses.job_resource(job.view)
    if job.moved:
        return job.moved.told(resource)
    statistics = resource["statistics"]
    if isinstance(statistics, dict):
        statistics["query"] |= job.effects.statistics()
    return resource


def results_resource(job: Job, results: ResultsView) -> Resource:
    """Give the answer of jobs.getQueryResults."""
    return _with_effects(responses.results_resource(results), job)


def query_resource(job: Job, results: ResultsView) -> Resource:
    """Give the answer of jobs.query."""
    told = _with_effects(responses.query_resource(results), job)
    stats = job.effects.statistics().get("dmlStats")
    return {**told, "dmlStats": stats} if stats else told


def _with_effects(resource: Resource, job: Job) -> Resource:
    """Tell of a statement without a result how many rows it changed, and of no rows."""
    if not job.view.done or job.view.schema is not None:
        return resource
    resource.pop("totalRows", None)
    if job.effects.affected is not None:
        resource["numDmlAffectedRows"] = str(job.effects.affected)
    return resource
