"""Jobs and tables as bodies that BigQuery understands. Built from typed values alone."""

from __future__ import annotations

import msgspec

from keystile.model.schema import Parameter
from keystile.wire.resources import NewTable
from keystile.wire.responses import Resource, table_reference
from keystile.wire.schema import parameter_json


class NewJob(msgspec.Struct, frozen=True):
    """A job to start upstream: a query, or the `transfer` that it is instead.

    `job_id` is fixed beforehand, so it runs at most once. `transfer` is the configuration of a
    load, copy or extract job under its kind, `into` are those fields of a query's configuration
    that say where its result goes. `session` is BigQuery's id of the session that it runs in.
    """

    project: str
    job_id: str
    sql: str = ""
    location: str = ""
    default_project: str = ""
    default_dataset: str = ""
    parameters: tuple[Parameter, ...] = ()
    labels: dict[str, str] = {}
    maximum_bytes_billed: int | None = None
    use_query_cache: bool = True
    job_timeout_ms: int | None = None
    dry_run: bool = False
    transfer: dict[str, object] | None = None
    into: dict[str, object] = {}
    session: str = ""
    creates_session: bool = False


def job_body(job: NewJob) -> bytes:
    """Write the body of jobs.insert."""
    if job.transfer is None:
        configuration: dict[str, object] = {"query": _query(job), "dryRun": job.dry_run}
    else:
        configuration = dict(job.transfer)
    if job.labels:
        configuration["labels"] = job.labels
    if job.job_timeout_ms is not None:
        configuration["jobTimeoutMs"] = str(job.job_timeout_ms)
    reference = {"projectId": job.project, "jobId": job.job_id}
    if job.location:
        reference["location"] = job.location
    return msgspec.json.encode({"jobReference": reference, "configuration": configuration})


def table_without_columns(new: NewTable) -> Resource:
    """Give the resource that tables.insert makes such a table of."""
    cut = new.partitioning
    said: dict[str, object] = {
        "description": new.words.description,
        "friendlyName": new.words.friendly_name,
        "labels": new.words.labels,
        "expirationTime": None if new.expires_ms is None else str(new.expires_ms),
        "requirePartitionFilter": new.require_partition_filter,
    }
    if cut:
        kept = {} if cut.expiration_ms is None else {"expirationMs": str(cut.expiration_ms)}
        said["timePartitioning"] = {"type": cut.unit, **kept}
    given = {name: value for name, value in said.items() if value}
    return {"tableReference": table_reference(new.id), **given}


def table_clustering(columns: tuple[str, ...]) -> Resource:
    """Give the patch that has a table clustered by columns, or by none any more."""
    return {"clustering": {"fields": list(columns)} if columns else None}


def _query(job: NewJob) -> dict[str, object]:
    """Give the query's own part. `useLegacySql` is always said: its absence means true."""
    query: dict[str, object] = {
        **job.into,
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
    if job.session:
        query["connectionProperties"] = [{"key": "session_id", "value": job.session}]
    if job.creates_session:
        query["createSession"] = True
    return query
