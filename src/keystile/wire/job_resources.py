"""Jobs and their rows in BigQuery's shape. Their cells are never decoded here."""

from __future__ import annotations

from collections.abc import Sequence

from keystile.wire.responses import JobView, Resource, ResultsView, Row, etag, table_reference
from keystile.wire.schema import parameter_json, schema_json
from keystile.wire.scripts import script_statistics


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
