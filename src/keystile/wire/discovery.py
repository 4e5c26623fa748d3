"""The discovery document: the methods there are here, for clients that build themselves from it.

Made from the table of methods, so that it names what is served and nothing else. Its form is that
of the API Discovery Service, `discovery#restDescription`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from keystile.wire.methods import METHODS, Method
from keystile.wire.responses import Resource
from keystile.wire.uploads import UPLOADED

PATHS = ("/discovery/v1/apis/bigquery/v2/rest", "/$discovery/rest", "/%24discovery/rest")
"""Where clients look for it."""

_SCOPE = "https://www.googleapis.com/auth/bigquery"
_NUMBERS = frozenset(("maxResults", "startIndex", "timeoutMs", "accessPolicyVersion"))
_TRUTHS = frozenset(
    ("all", "allUsers", "deleteContents", "formatOptions.useInt64Timestamp", "prettyPrint")
)
_COMMON = {
    "alt": "The form of the answer: `json` alone.",
    "fields": "Which fields of the answer are wanted.",
    "key": "Not used.",
    "prettyPrint": "Not used.",
    "quotaUser": "Not used.",
}
_ITEMS = {"models": "modelId", "routines": "routineId", "rowAccessPolicies": "policyId"}
_BODIES = {
    "jobs.query": "QueryRequest",
    "jobs.insert": "Job",
    "datasets.insert": "Dataset",
    "datasets.patch": "Dataset",
    "datasets.update": "Dataset",
    "routines.insert": "Routine",
    "routines.update": "Routine",
    "tables.insert": "Table",
    "tables.patch": "Table",
    "tables.update": "Table",
    "tables.testIamPermissions": "TestIamPermissionsRequest",
    "tabledata.insertAll": "TableDataInsertAllRequest",
}
_SERVED = frozenset(name for name, method in METHODS.items() if method.served)
_UPLOADS = {"resumable": "/resumable/upload", "simple": "/upload"}


def document(root_url: str, names: Collection[str] = _SERVED) -> Resource:
    """Describe the methods of these names, served at `root_url`, which ends in no slash."""
    resources: dict[str, dict[str, Resource]] = {}
    for name, method in METHODS.items():
        if name in names:
            resource, _, verb = name.partition(".")
            methods = resources.setdefault(resource, {"methods": {}})["methods"]
            methods[verb] = _method(name, method)
    root, service = f"{root_url}/", "bigquery/v2/"
    anything = {"type": "object", "additionalProperties": {"type": "any"}}
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "bigquery:v2",
        "name": "bigquery",
        "version": "v2",
        "title": "BigQuery API through Keystile",
        "description": "The methods of the BigQuery API that this gateway serves.",
        "protocol": "rest",
        "rootUrl": root,
        "servicePath": service,
        "baseUrl": root + service,
        "basePath": f"/{service}",
        "auth": {"oauth2": {"scopes": {_SCOPE: {"description": "Use BigQuery"}}}},
        "parameters": {
            name: {**_kind(name), "description": text, "location": "query"}
            for name, text in _COMMON.items()
        },
        "schemas": {name: {"id": name, **anything} for name in ("Answer", *_BODIES.values())},
        "resources": resources,
    }


def _method(name: str, method: Method) -> Resource:
    item = _ITEMS.get(name.partition(".")[0], "")
    path = method.path.replace("{item}", f"{{{item}}}")
    path = re.sub(r"{(project|dataset|table|job)}", r"{\1Id}", path)
    names = re.findall(r"{(\w+)}", path)
    required = {"type": "string", "required": True, "location": "path"}
    described: Resource = {
        "id": f"bigquery.{name}",
        "path": path,
        "httpMethod": method.verb,
        "description": f"{method.checks[:1].upper()}{method.checks[1:]}",
        "parameterOrder": names,
        "parameters": dict.fromkeys(names, required)
        | {one: {**_kind(one), "location": "query"} for one in method.parameters},
        "response": {"$ref": "Answer"},
        "scopes": [_SCOPE],
    }
    if name in _BODIES:
        described["request"] = {"$ref": _BODIES[name]}
    if name == UPLOADED:
        described |= {"supportsMediaUpload": True, "mediaUpload": _media_upload(path)}
    return described


def _media_upload(path: str) -> Resource:
    where = {
        protocol: {"multipart": True, "path": f"{prefix}/bigquery/v2/{path}"}
        for protocol, prefix in _UPLOADS.items()
    }
    return {"accept": ["*/*"], "protocols": where}


def _kind(parameter: str) -> Resource:
    if parameter in _NUMBERS:
        return {"type": "integer", "format": "uint32"}
    return {"type": "boolean" if parameter in _TRUTHS else "string"}
