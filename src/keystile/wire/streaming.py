"""tabledata.insertAll: rows that a client wants put into a table, and what became of them.

Source of fact: `TableDataInsertAllRequest` and `TableDataInsertAllResponse` of the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.wire.jsonbody import parse_object
from keystile.wire.responses import Resource
from keystile.wire.strict import Strict, converted, without_refused

MAX_BYTES = 10 << 20
"""BigQuery's own bound on the size of one request ("Streaming inserts" of its quotas)."""

MAX_ROWS = 50_000
"""BigQuery's own bound on the rows of one request."""

_REFUSED = {"templateSuffix": "it makes a table; make the table first and name it"}
# A number is written again with the digits that it came with.
_encoder = msgspec.json.Encoder(decimal_format="number")


class _Row(Strict, frozen=True):
    json: dict[str, Any]
    insert_id: str | int | None = None  # Python's client sends the ids of `insert_rows` as given


class _Body(Strict, frozen=True):
    rows: list[_Row]
    skip_invalid_rows: bool | None = None
    ignore_unknown_values: bool | None = None
    kind: str | None = None
    trace_id: str | None = None


class NewRow(msgspec.Struct, frozen=True):
    """One row: `json` is its object as text, `insert_id` what makes sending it twice one row."""

    json: str
    insert_id: str = ""


class NewRows(msgspec.Struct, frozen=True):
    """Rows for one table.

    `names` are the columns that they name, each once, as spelled first. Without `skip_invalid` a
    row that is wrong keeps all others out; with `ignore_unknown`, columns that the table lacks are
    left out of the rows.
    """

    table: TableId
    rows: tuple[NewRow, ...]
    names: tuple[str, ...] = ()
    skip_invalid: bool = False
    ignore_unknown: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether sending them again puts none into the table twice."""
        return all(row.insert_id for row in self.rows)


class RowFault(msgspec.Struct, frozen=True):
    """What is wrong with a row, in BigQuery's words; `location` is the column."""

    reason: str
    location: str = ""
    message: str = ""


class BadRow(msgspec.Struct, frozen=True):
    """A row that is not in the table, by its place among those that were sent, from 0."""

    index: int
    faults: tuple[RowFault, ...]


def parse_rows(table: TableId, body: bytes) -> NewRows:
    """Read the body of tabledata.insertAll.

    `traceId` is understood and stays here: it is a word of the agent's for BigQuery's logs. Raises
    `InvalidRequestError` for what is malformed, unknown or too much, `RefusedError` for a template.
    """
    given = without_refused(parse_object(body, MAX_BYTES, exact=True), _REFUSED)
    parsed = converted(given, _Body)
    if not parsed.rows:
        raise InvalidRequestError("No rows present in the request.")
    if len(parsed.rows) > MAX_ROWS:
        raise InvalidRequestError(
            f"the request has {len(parsed.rows)} rows, more than {MAX_ROWS}",
            hint="send them in several requests",
        )
    return NewRows(
        table=table,
        rows=tuple(
            NewRow(_encoder.encode(row.json).decode(), _text(row.insert_id)) for row in parsed.rows
        ),
        names=tuple(_names(parsed.rows)),
        skip_invalid=bool(parsed.skip_invalid_rows),
        ignore_unknown=bool(parsed.ignore_unknown_values),
    )


def _text(id_: str | int | None) -> str:
    return "" if id_ is None else str(id_)


def rows_body(rows: NewRows) -> bytes:
    """Give the body of tabledata.insertAll for BigQuery, made of these values and nothing else."""
    return msgspec.json.encode(
        {
            "skipInvalidRows": rows.skip_invalid,
            "ignoreUnknownValues": rows.ignore_unknown,
            "rows": [
                {
                    **({"insertId": row.insert_id} if row.insert_id else {}),
                    "json": msgspec.Raw(row.json.encode()),
                }
                for row in rows.rows
            ],
        }
    )


def insert_all_resource(bad: Sequence[BadRow]) -> Resource:
    """Give the answer of tabledata.insertAll."""
    resource: Resource = {"kind": "bigquery#tableDataInsertAllResponse"}
    if bad:
        resource["insertErrors"] = [
            {
                "index": row.index,
                "errors": [{**msgspec.to_builtins(fault), "debugInfo": ""} for fault in row.faults],
            }
            for row in bad
        ]
    return resource


def _names(rows: Sequence[_Row]) -> list[str]:
    found: dict[str, str] = {}
    for row in rows:
        for name in row.json:
            found.setdefault(name.lower(), name)
    return list(found.values())
