"""Which API method a path names. An exact table; what is not in it is refused.

Source of fact: the discovery document of `bigquery:v2`, which lists 47 methods.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from keystile.model.errors import InvalidRequestError, RefusedError

_DATASET = "projects/{project}/datasets/{dataset}"
_TABLE = f"{_DATASET}/tables/{{table}}"
_MODEL = f"{_DATASET}/models/{{item}}"
_ROUTINE = f"{_DATASET}/routines/{{item}}"
_POLICY = f"{_TABLE}/rowAccessPolicies/{{item}}"

METHODS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "projects.list": ("GET", "projects"),
        "projects.getServiceAccount": ("GET", "projects/{project}/serviceAccount"),
        "jobs.query": ("POST", "projects/{project}/queries"),
        "jobs.getQueryResults": ("GET", "projects/{project}/queries/{job}"),
        "jobs.insert": ("POST", "projects/{project}/jobs"),
        "jobs.list": ("GET", "projects/{project}/jobs"),
        "jobs.get": ("GET", "projects/{project}/jobs/{job}"),
        "jobs.cancel": ("POST", "projects/{project}/jobs/{job}/cancel"),
        "jobs.delete": ("DELETE", "projects/{project}/jobs/{job}/delete"),
        "datasets.list": ("GET", "projects/{project}/datasets"),
        "datasets.insert": ("POST", "projects/{project}/datasets"),
        "datasets.undelete": ("POST", f"{_DATASET}:undelete"),
        "datasets.get": ("GET", _DATASET),
        "datasets.patch": ("PATCH", _DATASET),
        "datasets.update": ("PUT", _DATASET),
        "datasets.delete": ("DELETE", _DATASET),
        "tables.list": ("GET", f"{_DATASET}/tables"),
        "tables.insert": ("POST", f"{_DATASET}/tables"),
        "tables.get": ("GET", _TABLE),
        "tables.patch": ("PATCH", _TABLE),
        "tables.update": ("PUT", _TABLE),
        "tables.delete": ("DELETE", _TABLE),
        "tables.getIamPolicy": ("POST", f"{_TABLE}:getIamPolicy"),
        "tables.setIamPolicy": ("POST", f"{_TABLE}:setIamPolicy"),
        "tables.testIamPermissions": ("POST", f"{_TABLE}:testIamPermissions"),
        "tabledata.list": ("GET", f"{_TABLE}/data"),
        "tabledata.insertAll": ("POST", f"{_TABLE}/insertAll"),
        "models.list": ("GET", f"{_DATASET}/models"),
        "models.get": ("GET", _MODEL),
        "models.patch": ("PATCH", _MODEL),
        "models.delete": ("DELETE", _MODEL),
        "routines.list": ("GET", f"{_DATASET}/routines"),
        "routines.insert": ("POST", f"{_DATASET}/routines"),
        "routines.get": ("GET", _ROUTINE),
        "routines.update": ("PUT", _ROUTINE),
        "routines.delete": ("DELETE", _ROUTINE),
        "routines.getIamPolicy": ("POST", f"{_ROUTINE}:getIamPolicy"),
        "routines.setIamPolicy": ("POST", f"{_ROUTINE}:setIamPolicy"),
        "routines.testIamPermissions": ("POST", f"{_ROUTINE}:testIamPermissions"),
        "rowAccessPolicies.list": ("GET", f"{_TABLE}/rowAccessPolicies"),
        "rowAccessPolicies.insert": ("POST", f"{_TABLE}/rowAccessPolicies"),
        "rowAccessPolicies.batchDelete": ("POST", f"{_TABLE}/rowAccessPolicies:batchDelete"),
        "rowAccessPolicies.get": ("GET", _POLICY),
        "rowAccessPolicies.update": ("PUT", _POLICY),
        "rowAccessPolicies.delete": ("DELETE", _POLICY),
        "rowAccessPolicies.getIamPolicy": ("POST", f"{_POLICY}:getIamPolicy"),
        "rowAccessPolicies.testIamPermissions": ("POST", f"{_POLICY}:testIamPermissions"),
    }
)
"""Every method of the API: its HTTP method and its path."""

_ROWS = ("maxResults", "pageToken", "startIndex")
_FORMAT = ("formatOptions.useInt64Timestamp", "formatOptions.timestampOutputFormat")
_ANY = ("prettyPrint", "fields", "alt", "quotaUser", "$.xgafv", "key")
_OWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "jobs.query": (),
        "jobs.insert": (),
        "jobs.get": ("location", "projection"),
        "jobs.cancel": ("location", "projection"),
        "jobs.list": (
            "allUsers",
            "maxResults",
            "maxCreationTime",
            "minCreationTime",
            "pageToken",
            "parentJobId",
            "projection",
            "stateFilter",
        ),
        "jobs.getQueryResults": ("location", "timeoutMs", *_ROWS, *_FORMAT),
        "tabledata.list": ("selectedFields", *_ROWS, *_FORMAT),
        "datasets.list": ("all", "filter", "maxResults", "pageToken"),
        "datasets.get": ("datasetView", "accessPolicyVersion"),
        "tables.list": ("maxResults", "pageToken"),
        "tables.get": ("selectedFields", "view"),
        "projects.list": ("maxResults", "pageToken"),
        "routines.get": ("readMask",),
        "routines.list": ("filter", "maxResults", "pageToken", "readMask"),
    }
)

_NAMES = {
    "project": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,126}[A-Za-z0-9])?"),
    "dataset": re.compile(r"[A-Za-z0-9_]{1,1024}"),
    "table": re.compile(r"[\w $@*-]{1,1024}"),
    "job": re.compile(r"[A-Za-z0-9_-]{1,1024}"),
    "item": re.compile(r"[A-Za-z0-9_]{1,256}"),
}
_PREFIXES = (("bigquery", "v2", "bigquery", "v2"), ("bigquery", "v2"), ())
_CREDENTIALS = frozenset(("access_token", "oauth_token"))
_MAX_TARGET = 16_384
_MAX_PARAMETERS = 64


class Call(msgspec.Struct, frozen=True):
    """One API method and the names in its path, decoded; a name that it lacks is empty.

    `item` is a model, routine or row access policy. `parameters` are the query parameters that the
    method knows; for a method outside `SERVED` they are not read.
    """

    method: str
    project: str = ""
    dataset: str = ""
    table: str = ""
    job: str = ""
    item: str = ""
    parameters: dict[str, str] = {}

    @property
    def fields(self) -> str:
        """The partial response that the client asks for; empty for all of it."""
        return self.parameters.get("fields", "")


SERVED = frozenset(_OWN)
"""The methods whose query parameters are understood."""

_TABLE_OF_PATHS: dict[tuple[str, int], list[tuple[str, tuple[str, ...]]]] = {}
for _method, (_verb, _path) in METHODS.items():
    _parts = tuple(_path.split("/"))
    _TABLE_OF_PATHS.setdefault((_verb, len(_parts)), []).append((_method, _parts))


def route(http_method: str, raw_path: str, query: str, *, override: str = "") -> Call:
    """Find the method that a request names.

    `raw_path` is the path as sent, still percent-encoded; `query` what follows `?`. With the header
    `x-http-method-override` in `override`, `query` is the form body: this is how Google's Python
    API client sends a GET with a long address, and the only override that is understood.

    Raises `RefusedError` for a path that is not in the API, `InvalidRequestError` for a malformed
    address or an unknown query parameter.
    """
    if override:
        if (http_method, override) != ("POST", "GET"):
            raise RefusedError("the header `x-http-method-override` is not accepted here")
        http_method = "GET"
    if len(raw_path) > _MAX_TARGET:
        raise InvalidRequestError("the path is too long")
    segments = _segments(raw_path)
    for prefix in _PREFIXES:
        if segments[: len(prefix)] == prefix and (
            call := _match(http_method, segments[len(prefix) :])
        ):
            return msgspec.structs.replace(call, parameters=_parameters(call.method, query))
    if "upload" in segments[:2]:
        raise RefusedError("uploads are not served", hint="query tables that exist already")
    raise RefusedError(f"`{http_method[:10]} {raw_path[:200]}` is not a method that is served")


def _segments(raw_path: str) -> tuple[str, ...]:
    """Split first, decode once after: an encoded slash never makes a segment."""
    if not raw_path.startswith("/"):
        raise InvalidRequestError("the path does not start with `/`")
    try:
        parts = tuple(unquote_to_bytes(part).decode("utf-8") for part in raw_path[1:].split("/"))
    except UnicodeError as error:
        raise InvalidRequestError("the path is not UTF-8") from error
    if any(part in {"", ".", ".."} or "/" in part or "%" in part for part in parts):
        raise InvalidRequestError("the path has an empty or ambiguous segment")
    return parts


def _match(http_method: str, segments: tuple[str, ...]) -> Call | None:
    for method, pattern in _TABLE_OF_PATHS.get((http_method, len(segments)), ()):
        names: dict[str, str] = {}
        if all(_fits(part, text, names) for part, text in zip(pattern, segments, strict=True)):
            return msgspec.structs.replace(Call(method), **names)
    return None


def _fits(part: str, text: str, names: dict[str, str]) -> bool:
    if not part.startswith("{"):
        return part == text
    name, _, action = part[1:].partition("}")
    value = text.removesuffix(action)
    if (action and value == text) or not _NAMES[name].fullmatch(value):
        return False
    names[name] = value
    return True


def _parameters(method: str, query: str) -> dict[str, str]:
    if method not in SERVED:
        return {}
    try:
        pairs = parse_qsl(
            query,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError as error:
        raise InvalidRequestError("the query parameters are malformed") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in _CREDENTIALS:
            raise RefusedError(f"the query parameter `{name}` is not accepted")
        if name not in _ANY and name not in _OWN[method]:
            raise InvalidRequestError(f"unknown query parameter `{name[:100]}`")
        if name in found:
            raise InvalidRequestError(f"the query parameter `{name}` is there twice")
        found[name] = value
    if found.get("alt", "json") != "json":
        raise RefusedError("only `alt=json` is served")
    return found
