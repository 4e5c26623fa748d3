"""Projects, datasets, tables and routines as far as an agent may see them, in BigQuery's shape."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from keystile.model.schema import TableId
from keystile.wire.responses import JobView, Resource, etag, table_reference
from keystile.wire.schema import schema_json

_RESULT_SECONDS = 24 * 3600  # how long BigQuery keeps the result of a query

_DATASET_IN_LIST = frozenset(
    ("id", "datasetReference", "friendlyName", "labels", "location", "type")
)
DATASET_FIELDS = _DATASET_IN_LIST | {
    "kind",
    "etag",
    "selfLink",
    "description",
    "creationTime",
    "lastModifiedTime",
    "defaultCollation",
    "defaultPartitionExpirationMs",
    "defaultRoundingMode",
    "defaultTableExpirationMs",
    "isCaseInsensitive",
    "maxTimeTravelHours",
    "storageBillingModel",
}
"""What an agent may see of a dataset."""

_TABLE_IN_LIST = frozenset(
    (
        "id",
        "tableReference",
        "friendlyName",
        "type",
        "labels",
        "creationTime",
        "expirationTime",
        "timePartitioning",
        "rangePartitioning",
        "clustering",
    )
)
TABLE_FIELDS = _TABLE_IN_LIST | {
    "kind",
    "etag",
    "selfLink",
    "description",
    "schema",
    "numRows",
    "numBytes",
    "lastModifiedTime",
    "location",
    "requirePartitionFilter",
    "caseInsensitive",
}
"""What an agent may see of a table, with those of its keys that `visible_keys` gives."""

_FIELD = frozenset(
    (
        "name",
        "type",
        "mode",
        "fields",
        "description",
        "maxLength",
        "precision",
        "scale",
        "collation",
        "roundingMode",
        "rangeElementType",
        "timestampPrecision",
    )
)
_MODEL_IN_LIST = frozenset(
    ("modelReference", "modelType", "creationTime", "lastModifiedTime", "labels")
)
_ROUTINE_IN_LIST = frozenset(
    ("routineReference", "routineType", "language", "creationTime", "lastModifiedTime", "etag")
)
_ROUTINE = _ROUTINE_IN_LIST | {
    "arguments",
    "returnType",
    "returnTableType",
    "description",
    "determinismLevel",
}
_ROUTINE_TEXT = frozenset(("definitionBody", "dataGovernanceType"))


def visible_schema(schema: object, defaults: Collection[str] = ()) -> Resource:
    """Keep what an agent may see of a `TableSchema`; `defaults` are columns whose defaults it sees.

    INVARIANT: other default values, policy tags and data policies stay behind: the one may hold a
    secret, the others tell who protects what.
    """
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    return {
        "fields": [
            _visible_field(field, default=field.get("name") in defaults)
            for field in fields or ()
            if isinstance(field, dict)
        ]
    }


def _visible_field(field: Mapping[str, object], *, default: bool) -> Resource:
    names = _FIELD | {"defaultValueExpression"} if default else _FIELD
    kept = {name: value for name, value in field.items() if name in names}
    if "fields" in kept:
        kept["fields"] = visible_schema(kept)["fields"]
    return kept


def with_fields(table: Resource, names: Collection[str]) -> Resource:
    """Keep these columns of a table's schema; all where there are no names."""
    schema = table.get("schema")
    if not names or not isinstance(schema, dict):
        return table
    wanted = {name.lower() for name in names}
    fields = [field for field in schema["fields"] if field["name"].lower() in wanted]
    return {**table, "schema": {"fields": fields}}


def result_table_resource(table: TableId, job: JobView) -> Resource:
    """Give the answer of tables.get for the table that stands for a job's result."""
    resource: Resource = {
        "kind": "bigquery#table",
        "id": f"{table.project}:{table.dataset}.{table.table}",
        "tableReference": table_reference(table),
        "type": "TABLE",
        "location": job.location,
        "schema": schema_json(job.schema or ()),
        "numRows": str(job.total_rows or 0),
        "creationTime": str(int(job.created * 1000)),
        "lastModifiedTime": str(int(job.created * 1000)),
        "expirationTime": str(int((job.created + _RESULT_SECONDS) * 1000)),
    }
    return {**resource, "etag": etag(resource)}


def visible_project(resource: Mapping[str, object]) -> Resource:
    """Keep what an agent may see of an entry of projects.list."""
    kept = ("id", "numericId", "projectReference", "friendlyName")
    found = {name: resource[name] for name in kept if name in resource}
    return {"kind": "bigquery#project", **found}


def service_account(resource: Mapping[str, object]) -> Resource:
    """Give the answer of projects.getServiceAccount."""
    return {"kind": "bigquery#getServiceAccountResponse", "email": str(resource.get("email", ""))}


def project_list(projects: Sequence[Resource], total: int, page_token: str = "") -> Resource:
    """Give the answer of projects.list from resources that `visible_project` made."""
    resource: Resource = {
        "kind": "bigquery#projectList",
        "etag": etag(projects),
        "projects": list(projects),
        "totalItems": total,
    }
    return {**resource, "nextPageToken": page_token} if page_token else resource


def visible_routine(resource: Mapping[str, object], *, text: bool) -> Resource:
    """Keep what an agent may see of a `Routine`; what it does, and is for, only with `text`.

    Libraries, connections and options of remote and Spark routines stay behind.
    """
    kept = _ROUTINE | _ROUTINE_TEXT if text else _ROUTINE
    return {name: value for name, value in resource.items() if name in kept}


def model_list(models: Sequence[Mapping[str, object]], page_token: str = "") -> Resource:
    """Give the answer of models.list: nothing in it tells of the rows that a model is made from."""
    listed = [_only(model, _MODEL_IN_LIST) for model in models]
    return {"models": listed} | ({"nextPageToken": page_token} if page_token else {})


def routine_list(routines: Sequence[Mapping[str, object]], page_token: str = "") -> Resource:
    """Give the answer of routines.list."""
    listed = [
        {name: value for name, value in routine.items() if name in _ROUTINE_IN_LIST}
        for routine in routines
    ]
    return {"routines": listed} | ({"nextPageToken": page_token} if page_token else {})


def dataset_list(datasets: Sequence[Mapping[str, object]], page_token: str = "") -> Resource:
    """Give the answer of datasets.list from resources that `visible_dataset` made."""
    listed = [{**_only(item, _DATASET_IN_LIST), "kind": "bigquery#dataset"} for item in datasets]
    resource: Resource = {"kind": "bigquery#datasetList", "datasets": listed}
    return {**resource, "nextPageToken": page_token} if page_token else resource


def table_list(
    tables: Sequence[Mapping[str, object]], total: int, page_token: str = ""
) -> Resource:
    """Give the answer of tables.list from resources that `visible_table` made."""
    listed = [{**_only(item, _TABLE_IN_LIST), "kind": "bigquery#table"} for item in tables]
    resource: Resource = {"kind": "bigquery#tableList", "tables": listed, "totalItems": total}
    return {**resource, "nextPageToken": page_token} if page_token else resource


def visible_dataset(resource: Mapping[str, object]) -> Resource:
    """Keep what an agent may see of a `Dataset`: who has access and key names stay behind."""
    return _only(resource, DATASET_FIELDS)


def visible_table(
    resource: Mapping[str, object], withheld: frozenset[str] = frozenset()
) -> Resource:
    """Keep what an agent may see of a `Table`.

    Texts of views, sources of external tables, keys and access rules stay behind, and `withheld`.
    """
    return _only(resource, TABLE_FIELDS - withheld)


def _only(resource: Mapping[str, object], names: frozenset[str]) -> Resource:
    return {name: value for name, value in resource.items() if name in names}
