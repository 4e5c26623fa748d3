"""Resources as BigQuery writes them: datasets, tables, results, jobs."""

from __future__ import annotations

from urllib.parse import quote

from keystile.model.schema import TableKind
from keystile.sandbox.columns import columns_json
from keystile.sandbox.data import Stored
from keystile.sandbox.job import Job
from keystile.sandbox.store import LOCATION, Dataset
from keystile.wire import job_resources, responses
from keystile.wire.responses import Resource, ResultsView

_ROOT = "https://bigquery.googleapis.com/bigquery/v2"


def dataset_resource(dataset: Dataset) -> Resource:
    """Give the answer of datasets.get."""
    project, name = dataset.id
    resource: Resource = {
        "kind": "bigquery#dataset",
        "id": f"{project}:{name}",
        "selfLink": f"{_ROOT}/projects/{project}/datasets/{name}",
        "datasetReference": {"projectId": project, "datasetId": name},
        "type": "DEFAULT",
        "access": [{"role": "OWNER", "specialGroup": "projectOwners"}],
        "creationTime": _millis(dataset.created),
        "lastModifiedTime": _millis(dataset.modified or dataset.created),
        **dataset.details,
        "location": dataset.location,
    }
    return {**resource, "etag": responses.etag(resource)}


def _millis(seconds: float) -> str:
    return str(int(seconds * 1000))


def table_resource(stored: Stored, location: str = LOCATION) -> Resource:
    """Give the answer of tables.get."""
    id_ = stored.id
    resource: Resource = {
        "kind": "bigquery#table",
        "id": f"{id_.project}:{id_.dataset}.{id_.table}",
        "selfLink": (
            f"{_ROOT}/projects/{id_.project}/datasets/{id_.dataset}/tables/{quote(id_.table)}"
        ),
        "etag": stored.etag,
        "tableReference": responses.table_reference(id_),
        "type": stored.kind.value,
        "location": location,
        "creationTime": _millis(stored.created or stored.modified),
        "lastModifiedTime": _millis(stored.modified),
        **stored.details,
    }
    if stored.fields:
        resource["schema"] = columns_json(stored.fields, stored.attributes, stored.defaults)
    if stored.description:
        resource["description"] = stored.description
    if stored.kind is TableKind.VIEW:
        return {**resource, "view": {"query": stored.view_query, "useLegacySql": False}}
    if stored.kind is TableKind.MATERIALIZED_VIEW:
        said = stored.details.get("materializedView")
        resource["materializedView"] = {
            "query": stored.view_query,
            "enableRefresh": True,
            "refreshIntervalMs": "1800000",
            "lastRefreshTime": _millis(stored.modified),
            **(said if isinstance(said, dict) else {}),
        }
    size = str(sum(stored.sizes.values()))
    return {
        **resource,
        "numRows": str(stored.row_count),
        "numBytes": size,
        "numTotalLogicalBytes": size,
        "numActiveLogicalBytes": size,
        "numLongTermBytes": "0",
        "numLongTermLogicalBytes": "0",
    }


def job_resource(job: Job) -> Resource:
    """Give the answer of jobs.get, with what the job changed."""
    resource = job_resources.job_resource(job.view)
    if job.moved:
        return job.moved.told(resource)
    statistics, configuration = resource["statistics"], resource["configuration"]
    if isinstance(statistics, dict) and isinstance(configuration, dict):
        statistics["query"] |= job.effects.statistics()
        statistics |= _session(job)
        configuration["query"] = {**job.told, **configuration["query"]}
    return resource


def results_resource(job: Job, results: ResultsView) -> Resource:
    """Give the answer of jobs.getQueryResults."""
    return _with_effects(job_resources.results_resource(results), job)


def query_resource(job: Job, results: ResultsView) -> Resource:
    """Give the answer of jobs.query."""
    told = _with_effects(job_resources.query_resource(results), job) | _session(job)
    stats = job.effects.statistics().get("dmlStats")
    return {**told, "dmlStats": stats} if stats else told


def _session(job: Job) -> Resource:
    return {"sessionInfo": {"sessionId": job.session}} if job.session else {}


def _with_effects(resource: Resource, job: Job) -> Resource:
    """Tell of a statement without a result how many rows it changed, and of no rows."""
    if not job.view.done or job.view.schema is not None:
        return resource
    resource.pop("totalRows", None)
    if job.effects.affected is not None:
        resource["numDmlAffectedRows"] = str(job.effects.affected)
    return resource
