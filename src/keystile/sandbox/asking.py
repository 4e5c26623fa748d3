"""Query jobs as the sandbox serves them: what `wire` reads, and what only BigQuery itself does.

Source of fact: `JobConfigurationQuery` and `QueryRequest` of the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.sandbox.asks import Ask
from keystile.sandbox.errors import unsupported
from keystile.sandbox.transfer.requests import Create, Reference, Write, named_table
from keystile.wire.job_bodies import parse_insert, parse_query
from keystile.wire.jsonbody import parse_object
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import Resource

_PARTS = ("clustering", "rangePartitioning", "timePartitioning")
_OF_INSERT = (
    "createDisposition",
    "destinationTable",
    "schemaUpdateOptions",
    "writeDisposition",
    *_PARTS,
)
_OF_BOTH = ("connectionProperties", "createSession")


class Into(msgspec.Struct, frozen=True):
    """Where a query's result goes. `details` are parts of the table's resource."""

    table: TableId
    create: Create
    write: Write
    options: tuple[str, ...]
    details: dict[str, object]


class Asked(msgspec.Struct, frozen=True):
    """A query that a client asks for. `told` is what jobs.get repeats of `configuration.query`.

    `session` is the id of the session that it is part of; with `creates_session` there is none yet.
    """

    request: QueryRequest
    into: Into | None = None
    session: str = ""
    creates_session: bool = False
    told: Resource = {}


def asked_by_query(ask: Ask) -> Asked:
    """Read the body of jobs.query.

    Raises `InvalidRequestError`, `RefusedError` and `UnsupportedError` naming the field.
    """
    given = parse_object(ask.body)
    own = _taken(given, _OF_BOTH)
    request = parse_query(ask.call.project, msgspec.json.encode(given))
    return Asked(request, None, *_session(own), told=own)


def asked_by_insert(ask: Ask) -> Asked:
    """Read the body of jobs.insert. Raises as `asked_by_query` does."""
    given = parse_object(ask.body)
    configuration = given.get("configuration")
    query = configuration.get("query") if isinstance(configuration, dict) else None
    own = _taken(query, (*_OF_INSERT, *_OF_BOTH)) if isinstance(query, dict) else {}
    request = parse_insert(ask.call.project, msgspec.json.encode(given))
    return Asked(request, _into(own, request), *_session(own), told=own)


def _taken(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Take out what says something."""
    taken = {name: given.pop(name) for name in names if name in given}
    return {name: value for name, value in taken.items() if value is not None}


def _into(own: Mapping[str, Any], request: QueryRequest) -> Into | None:
    if "destinationTable" not in own:
        if options := own.get("schemaUpdateOptions"):
            raise InvalidRequestError(
                f"`schemaUpdateOptions` is {options}, which needs a `destinationTable`"
            )
        return None
    table = named_table(
        _read(own, "destinationTable", Reference), request.project, "destinationTable"
    )
    details = {name: own[name] for name in _PARTS if own.get(name)}
    if partitioning := details.get("timePartitioning"):
        details["timePartitioning"] = {"type": "DAY", **partitioning}
    return Into(
        table,
        _read(own, "createDisposition", Create, "CREATE_IF_NEEDED"),
        _read(own, "writeDisposition", Write, "WRITE_EMPTY"),
        _read(
            own,
            "schemaUpdateOptions",
            tuple[Literal["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"], ...],
            (),
        ),
        details,
    )


def _read(own: Mapping[str, Any], name: str, type_: Any, default: Any = None) -> Any:
    try:
        return msgspec.convert(own.get(name, default), type_)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"`{name}` is not understood: {str(error)[:300]}") from error


def _session(own: Mapping[str, Any]) -> tuple[str, bool]:
    session = ""
    for item in own.get("connectionProperties") or ():
        key, value = (item.get("key"), item.get("value")) if isinstance(item, dict) else ("", "")
        if key != "session_id" or not isinstance(value, str):
            raise unsupported(f"the connection property `{str(key)[:60]}`")
        session = value
    creates = own.get("createSession") is True
    if creates and session:
        raise InvalidRequestError("`createSession` and a `session_id` exclude each other")
    return session, creates
