"""Which API method an address names, by the exact table in `methods`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    MethodNotAllowedError,
    NotFoundError,
    RefusedError,
)
from keystile.wire.methods import METHODS

_ANY = ("prettyPrint", "fields", "alt", "quotaUser", "$.xgafv", "key")

NAMES = {
    "project": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,126}[A-Za-z0-9])?"),
    "dataset": re.compile(r"[A-Za-z0-9_]{1,1024}"),
    "table": re.compile(r"[\w $@*-]{1,1024}"),
    "job": re.compile(r"[A-Za-z0-9_-]{1,1024}"),
    "item": re.compile(r"[A-Za-z0-9_]{1,256}"),
}
"""What each kind of name may look like."""

_PREFIXES = (("bigquery", "v2", "bigquery", "v2"), ("bigquery", "v2"), ())
_OVERRIDES = frozenset(("GET", "PATCH"))
_CREDENTIALS = frozenset(("access_token", "oauth_token"))
_MAX_TARGET = 16_384
_MAX_PARAMETERS = 64


class Call(msgspec.Struct, frozen=True):
    """One API method and the names in its path, decoded; a name that it lacks is empty.

    `item` is a model, routine or row access policy. `parameters` are query parameters that the
    method knows. `if_match` is the header of that name, empty where there is none. With
    `finds_storage` the client finds the Storage Read API here as well as this one.
    """

    method: str
    project: str = ""
    dataset: str = ""
    table: str = ""
    job: str = ""
    item: str = ""
    parameters: dict[str, str] = {}
    if_match: str = ""
    finds_storage: bool = False

    @property
    def fields(self) -> str:
        """The partial response that the client asks for; empty for all of it."""
        return self.parameters.get("fields", "")


_BY_LENGTH: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
for _name, _method in METHODS.items():
    _parts = tuple(_method.path.split("/"))
    _BY_LENGTH.setdefault(len(_parts), []).append((_name, _parts))


def route(http_method: str, raw_path: str, query: str, *, override: str = "") -> Call:
    """Find the method that a request names.

    `raw_path` is the path as sent, still percent-encoded; `query` what follows `?`. `override` is
    the header `x-http-method-override`. Two are understood: GET, where `query` is the form body,
    is how Google's API clients send a GET with a long address; PATCH is how Java's sends a PATCH.

    Raises `NotFoundError` for a path that is not in the API and `MethodNotAllowedError` for a verb
    that its path does not take, `InvalidRequestError` for a malformed address or an unknown query
    parameter, `RefusedError` for batches and tokens in the address.
    """
    if override:
        if http_method != "POST" or override not in _OVERRIDES:
            raise RefusedError("the header `x-http-method-override` is not accepted here")
        http_method = override
    if len(raw_path) > _MAX_TARGET:
        raise InvalidRequestError("the path is too long")
    segments = _segments(raw_path)
    calls = [
        call
        for prefix in _PREFIXES
        if segments[: len(prefix)] == prefix
        for call in _matches(segments[len(prefix) :])
    ]
    for call in calls:
        if METHODS[call.method].verb == http_method:
            return msgspec.structs.replace(call, parameters=_parameters(call.method, query))
    raise _unknown(http_method, raw_path, segments, [call.method for call in calls])


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


def _unknown(
    http_method: str, raw_path: str, segments: tuple[str, ...], others: list[str]
) -> KeystileError:
    """Say why an address names no method; `others` are those that its path has for other verbs."""
    if "batch" in segments[:1]:
        return RefusedError(
            "batches of requests are not served", hint="send each request by itself"
        )
    if others:
        verbs = ", ".join(sorted({METHODS[method].verb for method in others}))
        return MethodNotAllowedError(
            f"`{raw_path[:200]}` takes no `{http_method[:10]}`", hint=f"it takes {verbs}"
        )
    return NotFoundError(
        f"`{http_method[:10]} {raw_path[:200]}` is not a method of BigQuery's API",
        hint="check the address; docs/reference/api.md lists all that there are",
    )


def _matches(segments: tuple[str, ...]) -> Iterator[Call]:
    for method, pattern in _BY_LENGTH.get(len(segments), ()):
        names: dict[str, str] = {}
        if all(_fits(part, text, names) for part, text in zip(pattern, segments, strict=True)):
            yield msgspec.structs.replace(Call(method), **names)


def _fits(part: str, text: str, names: dict[str, str]) -> bool:
    if not part.startswith("{"):
        return part == text
    name, _, action = part[1:].partition("}")
    value = text.removesuffix(action)
    if (action and value == text) or not NAMES[name].fullmatch(value):
        return False
    names[name] = value
    return True


def _parameters(method: str, query: str) -> dict[str, str]:
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
        if name not in _ANY and name not in METHODS[method].parameters:
            raise InvalidRequestError(f"unknown query parameter `{name[:100]}`")
        if name in found:
            raise InvalidRequestError(f"the query parameter `{name}` is there twice")
        found[name] = value
    if found.get("alt", "json") != "json":
        raise RefusedError("only `alt=json` is served")
    return found
