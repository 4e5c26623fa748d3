"""Tables that a job names, and how it may write to one: what load, copy and query jobs share."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.strict import Int64, Strict

_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,126}[A-Za-z0-9])?")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
_TABLE = re.compile(r"[\w -]{1,1024}")

Create = Literal["CREATE_IF_NEEDED", "CREATE_NEVER"]
Write = Literal["WRITE_EMPTY", "WRITE_APPEND", "WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"]
FieldUpdate = Literal["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"]


class Reference(Strict, frozen=True):
    """A table's name; without a project it lies in that of the request."""

    dataset_id: str
    table_id: str
    project_id: str | None = None


class TimePartitioning(Strict, frozen=True):
    """How a new table is cut by time; without a `field` by the time of arrival."""

    type: Literal["HOUR", "DAY", "MONTH", "YEAR"] | None = None
    field: str | None = None
    expiration_ms: Int64 | None = None
    require_partition_filter: bool | None = None


class _Range(Strict, frozen=True):
    start: Int64
    end: Int64
    interval: Int64


class RangePartitioning(Strict, frozen=True):
    """How a new table is cut by the values of a number."""

    field: str
    range: _Range


class Clustering(Strict, frozen=True):
    """The columns that a new table is sorted by."""

    fields: tuple[str, ...] = ()


def named_table(project: str, given: Reference, what: str) -> TableId:
    """Name one table as it is now: no partition of it, no earlier state, no wildcard.

    Raises `RefusedError` for those, `InvalidRequestError` for what is no name; `what` is the field.
    """
    named = TableId(given.project_id or project, given.dataset_id, given.table_id)
    if set(named.table) & set("$@*"):
        raise RefusedError(
            f"`{what}` `{named.table[:100]}` is a part or an earlier state of a table",
            hint="name whole tables; read a part with a query",
        )
    if not (
        _PROJECT.fullmatch(named.project)
        and _DATASET.fullmatch(named.dataset)
        and _TABLE.fullmatch(named.table)
    ):
        raise InvalidRequestError(f"`{what}` does not name a table")
    return named


def reference(table: TableId) -> dict[str, str]:
    """Write a table's full name in the words of the API."""
    return {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table}


def configuration_of(body: Strict, **tables: object) -> dict[str, object]:
    """Give what was said, in the words of the API; `tables` with their full names."""
    # Through JSON, so that it equals what the store gives back.
    said = msgspec.json.decode(msgspec.json.encode(body), type=dict[str, object])
    return _without_nothing(said) | tables


def _without_nothing(said: dict[str, object]) -> dict[str, object]:
    return {
        name: _without_nothing(value) if isinstance(value, dict) and name != "schema" else value
        for name, value in said.items()
        if value is not None
    }
