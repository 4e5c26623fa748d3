"""A query job as a body that BigQuery understands. Built from typed values alone."""

from __future__ import annotations

import msgspec

from keystile.model.schema import Parameter
from keystile.wire.schema import parameter_json


class QueryJob(msgspec.Struct, frozen=True):
    """A query job to start upstream. `job_id` is fixed beforehand, so it runs at most once."""

    project: str
    job_id: str
    sql: str
    location: str = ""
    default_project: str = ""
    default_dataset: str = ""
    parameters: tuple[Parameter, ...] = ()
    labels: dict[str, str] = {}
    maximum_bytes_billed: int | None = None
    use_query_cache: bool = True
    job_timeout_ms: int | None = None
    dry_run: bool = False


def query_job_body(job: QueryJob) -> bytes:
    """Write the body of jobs.insert. `useLegacySql` is always said: its absence means true."""
    query: dict[str, object] = {
        "query": job.sql,
        "useLegacySql": False,
        "useQueryCache": job.use_query_cache,
    }
    if job.default_dataset:
        query["defaultDataset"] = {
            "projectId": job.default_project,
            "datasetId": job.default_dataset,
        }
    if job.parameters:
        named = bool(job.parameters[0].name)
        query["parameterMode"] = "NAMED" if named else "POSITIONAL"
        query["queryParameters"] = [parameter_json(parameter) for parameter in job.parameters]
    if job.maximum_bytes_billed is not None:
        query["maximumBytesBilled"] = str(job.maximum_bytes_billed)
    configuration: dict[str, object] = {"query": query, "dryRun": job.dry_run}
    if job.labels:
        configuration["labels"] = job.labels
    if job.job_timeout_ms is not None:
        configuration["jobTimeoutMs"] = str(job.job_timeout_ms)
    reference = {"projectId": job.project, "jobId": job.job_id}
    if job.location:
        reference["location"] = job.location
    return msgspec.json.encode({"jobReference": reference, "configuration": configuration})
