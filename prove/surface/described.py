"""All that the data port answers, as an OpenAPI description for random requests.

BigQuery's methods are those of the discovery document that the gateway serves, and the refused ones
of the table of methods. Bodies have the fields that the gateway reads, as its own types say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import msgspec

from keystile.wire import (
    job_bodies,
    keys,
    permissions,
    resources,
    routines,
    streaming,
    transfer_bodies,
    updates,
)
from keystile.wire.methods import METHODS


class _PatchOfTable(updates._OfTable, frozen=True):
    clustering: resources._Clustering | None = None
    table_constraints: keys._Constraints | None = None
    schema: dict[str, object] | None = None


_WITH_BODY = frozenset(("PATCH", "POST", "PUT"))
_BODIES: Mapping[str, Any] = {
    "jobs.query": job_bodies._QueryBody,
    "datasets.insert": resources._Dataset,
    "datasets.patch": updates._OfDataset,
    "datasets.update": updates._OfDataset,
    "routines.insert": routines._Routine,
    "routines.update": routines._Routine,
    "tables.insert": resources._Table,
    "tables.patch": _PatchOfTable,
    "tables.update": _PatchOfTable,
    "tables.testIamPermissions": permissions._Body,
    "tabledata.insertAll": streaming._Body,
}
_JOBS = {
    "query": job_bodies._Query,
    "load": transfer_bodies.LoadBody,
    "copy": transfer_bodies.CopyBody,
    "extract": transfer_bodies.ExtractBody,
}
_TEXTS = (
    "SELECT 1",
    "SELECT id, email FROM shop.customers ORDER BY id LIMIT 3",
    "SELECT * FROM shop.orders, UNNEST([1, 2]) AS n WHERE amount > @x",
    "SELECT ssn FROM shop.customers WHERE ssn LIKE '9%'",
    "SELECT CAST(email AS INT64) FROM shop.customers",
    "SELECT * FROM shop.`orders$2026`, shop.nothing",
    "SELECT * FROM shop.INFORMATION_SCHEMA.TABLES",
    "DECLARE n INT64 DEFAULT 1; SELECT n; SELECT n + 1",
    "CREATE OR REPLACE TABLE lab.made AS SELECT id, ssn FROM shop.customers",
    "INSERT INTO lab.notes (n) VALUES (1)",
    "DROP TABLE IF EXISTS lab.made",
    "EXPORT DATA OPTIONS (uri = 'gs://b/*', format = 'CSV') AS SELECT 1",
    "SELECT '",
    "#legacySQL\nSELECT 1",
    "SELECT \u0000\U0001f600",
)
_LOAD = (
    '--b\r\nContent-Type: application/json\r\n\r\n{"configuration": {"load": {"destinationTable":'
    ' {"projectId": "acme-shop", "datasetId": "lab", "tableId": "notes"}, "sourceFormat": "CSV"}}}'
    "\r\n--b\r\nContent-Type: text/csv\r\n\r\n1\n2\n\r\n--b--"
)
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "projectId": ("acme-shop",),
    "datasetId": ("shop", "lab", "_anon"),
    "tableId": ("customers", "orders", "notes", "none"),
    "jobId": ("known", "job_1", "job_2"),
    "modelId": ("none",),
    "routineId": ("none", "made"),
    "policyId": ("none",),
    "query": _TEXTS,
    "type": ("INT64", "STRING", "STRUCT", "RECORD", "DAY"),
    "mode": ("NULLABLE", "REPEATED"),
    "fields": ("rows", "kind,schema(fields)", "rows/f/v", "*", "jobReference,totalRows"),
    "alt": ("json",),
    "location": ("US", ""),
    "pageToken": ("",),
    "filter": ("",),
    "selectedFields": ("id", "ssn,id", "nothing"),
    "formatOptions.timestampOutputFormat": ("INT64", "FLOAT64"),
    "view": ("BASIC", "FULL"),
    "routineType": ("SCALAR_FUNCTION", "TABLE_VALUED_FUNCTION", "PROCEDURE"),
    "language": ("SQL", "JAVASCRIPT", "PYTHON"),
    "definitionBody": ("x", "SELECT 1 AS n", "1) + (2", "return 1;"),
    "datasetView": ("METADATA", "FULL"),
    "projection": ("full", "minimal"),
    "stateFilter": ("done", "running"),
    "parentJobId": ("",),
    "minCreationTime": ("0", "1"),
    "maxCreationTime": ("1900000000000",),
    "sourceUris": ("gs://lab-files/a.csv",),
    "destinationUri": ("gs://lab-files/b.csv",),
    "upload_id": ("none",),
    "uploadType": ("multipart", "resumable"),
    "parts": (_LOAD, _LOAD[:-3], _LOAD[:-40], _LOAD.replace("--b", "--c"), "--b--"),
    "content-range": ("bytes 0-9/10", "bytes */*", "bytes 5-1/3", "bytes 0-9/*"),
    "x-http-method-override": ("GET",),
    "readMask": ("*",),
    "maxResults": ("0", "1"),
    "maximumBytesBilled": ("100000000",),
    "timeoutMs": ("0", "1000"),
    "jobTimeoutMs": ("60000",),
    "parameterMode": ("NAMED", "POSITIONAL"),
    "grant_type": ("urn:ietf:params:oauth:grant-type:token-exchange",),
    "subject_token_type": ("urn:ietf:params:oauth:token-type:jwt",),
    "audience": ("//keystile/agents",),
}
"""What there is, and what is understood, by the name of the field or parameter."""

_PAGES = ("healthz", "readyz", "metrics", "issuer/jwks", "discovery/v1/apis/bigquery/v2/rest")
_ITEMS = {"models": "modelId", "routines": "routineId", "rowAccessPolicies": "policyId"}

PARTED = "multipart/related"
"""The media type of an upload in one request."""

Paths = dict[str, dict[str, Any]]


def described(discovery: Mapping[str, Any], *, likely: bool) -> dict[str, Any]:
    """Give the description, for a discovery document and all that is beside it.

    A `likely` one has what there is for names and texts, so that requests get far; else they are
    any text at all.
    """
    paths = _Describer(likely=likely).paths(discovery)
    for operation in chain.from_iterable(one.values() for one in paths.values()):
        operation["responses"] = {"default": {"description": "any"}}
    return {"openapi": "3.1.0", "info": {"title": "Keystile", "version": "2"}, "paths": paths}


class _Describer:
    def __init__(self, *, likely: bool) -> None:
        self._likely = likely

    def paths(self, discovery: Mapping[str, Any]) -> Paths:
        """Describe BigQuery's methods, the uploads, and the gateway's own addresses."""
        found: Paths = {f"/{path}": {"get": {"operationId": path}} for path in _PAGES}
        base, common = discovery["basePath"], discovery["parameters"]
        for resource in discovery["resources"].values():
            for method in resource["methods"].values():
                name = method["id"].removeprefix("bigquery.")
                parameters = self._parameters({**method["parameters"], **common})
                operation = self._method(name, method["httpMethod"], parameters)
                found.setdefault(base + method["path"], {}).update(operation)
        for name, refused in METHODS.items():
            if not refused.served:
                path = _named(refused.path, name)
                names = re.findall(r"{(\w+)}", path)
                given = dict.fromkeys(names, "path") | dict.fromkeys(refused.parameters, "query")
                parameters = self._parameters(
                    {one: {"location": where, "type": "string"} for one, where in given.items()}
                )
                operation = self._method(name, refused.verb, parameters)
                found.setdefault(base + path, {}).update(operation)
        form = ("grant_type", "subject_token", "subject_token_type", "audience", "scope")
        found["/v1/token"] = self._form("token", form)
        found |= self._overridden(f"{base}projects/acme-shop/queries/known")
        for root in ("/upload", "/resumable/upload"):
            found[f"{root}{base}projects/{{projectId}}/jobs"] = self._upload(root)
        return found

    def _method(
        self, name: str, verb: str, parameters: list[dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        operation: dict[str, Any] = {"operationId": name, "parameters": parameters}
        if verb in _WITH_BODY:
            content = {"application/json": {"schema": self._body(name)}}
            operation["requestBody"] = {"content": content}
        return {verb.lower(): operation}

    def _form(self, name: str, fields: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        schema = {"type": "object", "properties": {one: self._text(one) for one in fields}}
        content = {"application/x-www-form-urlencoded": {"schema": schema}}
        return {"post": {"operationId": name, "requestBody": {"content": content}}}

    def _overridden(self, path: str) -> Paths:
        """Describe a GET with a long address, as Google's API client for Python sends it."""
        operation = self._form("jobs.getQueryResults by POST", ("maxResults", "startIndex"))
        operation["post"]["parameters"] = [self._parameter("x-http-method-override", "header")]
        return {path: operation}

    def _upload(self, root: str) -> dict[str, dict[str, Any]]:
        project = self._parameter("projectId", "path")
        kind, upload = (self._parameter(one, "query") for one in ("uploadType", "upload_id"))
        binary = {"schema": {"type": "string", "format": "binary"}}
        job = {"application/json": {"schema": self._body("jobs.insert")}}
        parted = {f"{PARTED}; boundary=b": {"schema": self._text("parts")}}
        begun = {"parameters": [project, kind], "requestBody": {"content": job | parted}}
        piece = {
            "parameters": [project, kind, upload, self._parameter("content-range", "header")],
            "requestBody": {"content": {"application/octet-stream": binary}},
        }
        operations: dict[str, dict[str, Any]] = {
            "post": begun,
            "put": piece,
            "delete": {"parameters": [project, upload]},
        }
        return {verb: {"operationId": f"{verb} {root}"} | one for verb, one in operations.items()}

    def _parameters(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [self._parameter(name, one["location"], one["type"]) for name, one in given.items()]

    def _parameter(self, name: str, where: str, kind: str = "string") -> dict[str, Any]:
        schema = self._text(name) if kind == "string" else self._bounded({"type": kind})
        required = where == "path" or name == "uploadType"
        return {"name": name, "in": where, "required": required, "schema": schema}

    def _body(self, name: str) -> dict[str, Any]:
        if name != "jobs.insert":
            type_ = _BODIES.get(name)
            return self._schema(type_) if type_ else {"type": "object"}
        kinds = [
            {
                "type": "object",
                "properties": {kind: self._schema(type_), "dryRun": {"type": "boolean"}},
                "required": [kind],
            }
            for kind, type_ in _JOBS.items()
        ]
        properties = {
            "configuration": {"anyOf": kinds},
            "jobReference": self._schema(job_bodies._JobReference),
        }
        return {"type": "object", "properties": properties, "required": ["configuration"]}

    def _schema(self, type_: Any) -> dict[str, Any]:
        """Give the schema of what the gateway reads, with its parts in place."""
        schema, parts = msgspec.json.schema_components(
            [type_], schema_hook=lambda _: {"description": "any"}, ref_template="{name}"
        )
        whole: dict[str, Any] = self._whole(schema[0], parts, "")
        return whole

    def _whole(self, schema: Any, parts: Mapping[str, Any], name: str) -> Any:
        if isinstance(schema, list):
            return [self._whole(one, parts, name) for one in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self._whole(parts[schema["$ref"]], parts, name)
        if schema == {"type": "string"}:
            return self._text(name)
        inner = schema.get("properties", {})
        rest = {
            key: self._whole(value, parts, name)
            for key, value in schema.items()
            if key not in {"properties", "title", "description", "default"}
        }
        if inner:
            rest["properties"] = {key: self._whole(one, parts, key) for key, one in inner.items()}
        return self._bounded(rest)

    def _text(self, name: str) -> dict[str, Any]:
        known = self._likely and name in _KNOWN
        return {"enum": list(_KNOWN[name])} if known else {"type": "string"}

    def _bounded(self, schema: dict[str, Any]) -> dict[str, Any]:
        number = self._likely and schema.get("type") == "integer"
        return schema | ({"minimum": 0, "maximum": 1000} if number else {})


def _named(path: str, name: str) -> str:
    item = _ITEMS.get(name.partition(".")[0], "")
    path = path.replace("{item}", f"{{{item}}}")
    return re.sub(r"{(project|dataset|table|job)}", r"{\1Id}", path)
