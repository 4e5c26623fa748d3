"""The bodies of jobs.query and jobs.insert. Only fields on a list pass.

A field that the API has but that is not served here raises `RefusedError` with its reason; a field
that is not known at all raises `InvalidRequestError` with its name. A refused field that says
nothing (absent, null, false, empty) is as good as absent.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.wire.into import into_of, split
from keystile.wire.jsonbody import parse_object
from keystile.wire.list_parameters import TimestampFormat, wait_ms
from keystile.wire.requests import QueryRequest
from keystile.wire.schema import parameters_from_json
from keystile.wire.strict import Int64, Strict, converted, int64, plain_labels, without_refused
from keystile.wire.transfers import Transfer, kind_of, transfer_of

MAX_SQL_CHARACTERS = 1 << 20
"""BigQuery's own bound on the length of a query."""

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}")
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,126}[A-Za-z0-9])?")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")


# Fields of JobConfigurationQuery and QueryRequest that would change what the query reads, writes,
# costs or answers in a way that is not followed here.
_REFUSED_IN_QUERY = {
    "useLegacySql": "legacy SQL is not served; use GoogleSQL with `useLegacySql: false`",
    "destinationTable": "jobs.query writes no table of your choice; send the query to jobs.insert",
    "tableDefinitions": "external tables defined in the request are not served",
    "externalTableDefinitions": "external tables defined in the request are not served",
    "userDefinedFunctionResources": "functions from outside the query are not served",
    "destinationEncryptionConfiguration": "a key of your own for the result is not served",
    "scriptOptions": "scripts are not served",
    "continuous": "continuous queries are not served",
    "writeIncrementalResults": "incremental results are not served",
    "arrowSerializationOptions": "results in Arrow are not served",
    "reservation": "choosing a reservation is not served",
    "maxSlots": "choosing slots is not served",
    "secureContext": "a secure context is not served",
    "maximumBillingTier": "billing tiers are not served; use `maximumBytesBilled`",
    "systemVariables": "system variables are not served",
}

_REFUSED_IN_CONFIGURATION = {
    "reservation": "choosing a reservation is not served",
    "maxSlots": "choosing slots is not served",
}


class _FormatOptions(Strict, frozen=True):
    use_int64_timestamp: bool | None = None
    timestamp_output_format: TimestampFormat | None = None


class _DatasetReference(Strict, frozen=True):
    dataset_id: str
    project_id: str | None = None


class _Property(Strict, frozen=True):
    key: str
    value: str


class _Query(Strict, frozen=True):
    query: str
    create_session: bool | None = None
    connection_properties: tuple[_Property, ...] | None = None
    default_dataset: _DatasetReference | None = None
    query_parameters: list[object] | None = None
    parameter_mode: str | None = None
    use_query_cache: bool | None = None
    maximum_bytes_billed: Int64 | None = None
    # These say how a query is queued, or speak of the old dialect: they change nothing.
    priority: Literal["INTERACTIVE", "BATCH"] | None = None
    allow_large_results: bool | None = None
    flatten_results: bool | None = None


class _QueryBody(_Query, frozen=True):
    """`QueryRequest`, the body of jobs.query."""

    kind: str | None = None
    location: str | None = None
    dry_run: bool | None = None
    labels: dict[str, str] | None = None
    job_timeout_ms: Int64 | None = None
    timeout_ms: Int64 | None = None
    max_results: Int64 | None = None
    request_id: str | None = None
    preserve_nulls: bool | None = None
    format_options: _FormatOptions | None = None
    job_creation_mode: (
        Literal["JOB_CREATION_MODE_UNSPECIFIED", "JOB_CREATION_REQUIRED", "JOB_CREATION_OPTIONAL"]
        | None
    ) = None
    query_results_format: Literal["STRUCT_ENCODING"] | None = None


class _JobReference(Strict, frozen=True):
    project_id: str | None = None
    job_id: str | None = None
    location: str | None = None


class _Configuration(Strict, frozen=True):
    query: dict[str, object] | None = None
    load: object = None
    copy: object = None
    extract: object = None
    dry_run: bool | None = None
    labels: dict[str, str] | None = None
    job_timeout_ms: Int64 | None = None
    job_type: Literal["QUERY", "LOAD", "COPY", "EXTRACT"] | None = None


class _InsertBody(Strict, frozen=True):
    configuration: dict[str, object]
    job_reference: _JobReference | None = None
    kind: str | None = None


def parse_query(project: str, body: bytes) -> QueryRequest:
    """Read the body of jobs.query, which has no field that says where the result goes.

    Raises `InvalidRequestError` for what is malformed or unknown, `RefusedError` for what is
    understood and not served.
    """
    given = without_refused(parse_object(body), _REFUSED_IN_QUERY)
    parsed = converted(given, _QueryBody)
    options = parsed.format_options or _FormatOptions()
    return msgspec.structs.replace(
        _common(project, parsed),
        location=parsed.location or "",
        dry_run=bool(parsed.dry_run),
        labels=plain_labels(parsed.labels),
        job_timeout_ms=int64(parsed.job_timeout_ms, "jobTimeoutMs"),
        request_id=_bounded(parsed.request_id, "requestId"),
        timeout_ms=wait_ms(parsed.timeout_ms),
        max_results=int64(parsed.max_results, "maxResults"),
        use_int64_timestamp=bool(options.use_int64_timestamp)
        or options.timestamp_output_format == "INT64",
        job_creation_optional=parsed.job_creation_mode == "JOB_CREATION_OPTIONAL",
    )


def parse_insert(project: str, body: bytes, *, upload: bool = False) -> QueryRequest:
    """Read the body of jobs.insert, or the job of an `upload`, which is a load job.

    Raises as `parse_query` does.
    """
    parsed = converted(parse_object(body), _InsertBody)
    reference = parsed.job_reference or _JobReference()
    if reference.project_id not in (None, "", project):
        raise InvalidRequestError("`jobReference.projectId` is not the project of the path")
    if reference.job_id and not _JOB_ID.fullmatch(reference.job_id):
        raise InvalidRequestError("`jobReference.jobId` has characters that a job id cannot have")
    given = without_refused(parsed.configuration, _REFUSED_IN_CONFIGURATION)
    kind, configuration = kind_of(given), converted(given, _Configuration)
    if configuration.job_type not in {None, (kind or "query").upper()}:
        raise InvalidRequestError("`jobType` is not that of the configuration")
    if upload and kind != "load":
        raise InvalidRequestError("an upload is for a load job", hint="send `configuration.load`")
    if kind is None:
        rest, target = split(configuration.query or {})
        query = converted(without_refused(rest, _REFUSED_IN_QUERY), _Query)
        request = _common(project, query)
        request = msgspec.structs.replace(request, into=into_of(project, target))
    else:
        request = _moving(project, transfer_of(project, kind, given[kind], upload=upload))
        if configuration.dry_run:
            raise InvalidRequestError("`dryRun` is for query jobs", hint="leave it out")
    return msgspec.structs.replace(
        request,
        location=reference.location or "",
        dry_run=bool(configuration.dry_run),
        labels=plain_labels(configuration.labels),
        job_timeout_ms=int64(configuration.job_timeout_ms, "jobTimeoutMs"),
        job_id=reference.job_id or "",
    )


def _moving(project: str, transfer: Transfer) -> QueryRequest:
    if not _PROJECT.fullmatch(project):
        raise InvalidRequestError("the project of the path is not a project id")
    text = transfer.text
    if len(text) > MAX_SQL_CHARACTERS:
        raise InvalidRequestError(f"the job is longer than {MAX_SQL_CHARACTERS} characters")
    return QueryRequest(text, project, transfer=transfer)


def _common(project: str, query: _Query) -> QueryRequest:
    if not _PROJECT.fullmatch(project):
        raise InvalidRequestError("the project of the path is not a project id")
    if not query.query.strip():
        raise InvalidRequestError("`query` is empty")
    if len(query.query) > MAX_SQL_CHARACTERS:
        raise InvalidRequestError(f"`query` is longer than {MAX_SQL_CHARACTERS} characters")
    dataset = query.default_dataset
    if dataset is not None and (
        not _DATASET.fullmatch(dataset.dataset_id)
        or not _PROJECT.fullmatch(dataset.project_id or project)
    ):
        raise InvalidRequestError("`defaultDataset` does not name a dataset")
    session = _session(query.connection_properties or ())
    if session and query.create_session:
        raise InvalidRequestError("`createSession` and a `session_id` exclude each other")
    return QueryRequest(
        sql=query.query,
        project=project,
        session=session,
        creates_session=bool(query.create_session),
        default_project=(dataset.project_id or project) if dataset else "",
        default_dataset=dataset.dataset_id if dataset else "",
        parameters=parameters_from_json(query.query_parameters, query.parameter_mode),
        use_query_cache=query.use_query_cache is not False,
        maximum_bytes_billed=int64(query.maximum_bytes_billed, "maximumBytesBilled"),
    )


def _session(properties: tuple[_Property, ...]) -> str:
    """Give the id of the session that is named. Raises `RefusedError` for any other property."""
    session = ""
    for given in properties:
        if given.key != "session_id":
            raise RefusedError(
                f"`connectionProperties` is refused: the property `{given.key[:60]}` is not served"
            )
        if session:
            raise InvalidRequestError("`connectionProperties` has two of `session_id`")
        session = given.value
    return session


def _bounded(value: str | None, name: str) -> str:
    if value and not _JOB_ID.fullmatch(value):
        raise InvalidRequestError(f"`{name}` has characters that it cannot have")
    return value or ""
