"""tabledata.insertAll at BigQuery: rows are sent at most as often as does no harm."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from keystile.model.errors import RefusedError
from keystile.upstream.errors import scrub
from keystile.upstream.paths import table_path
from keystile.upstream.transport import Answer, Call, Transport
from keystile.wire.streaming import BadRow, NewRows, RowFault, rows_body

_REASON = re.compile(r"[A-Za-z]{1,64}")


class _Fault(msgspec.Struct, frozen=True):
    reason: str = ""
    location: str = ""
    message: str = ""


class _Row(msgspec.Struct, frozen=True):
    index: int = 0
    errors: tuple[_Fault, ...] = ()


class InsertAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`TableDataInsertAllResponse`."""

    insert_errors: tuple[_Row, ...] = ()


async def sent(transport: Transport, rows: NewRows) -> Answer:
    """Send rows. INVARIANT: again only where all have ids, by which BigQuery takes each once.

    Raises `RefusedError` on an outage, saying that the rows may be in the table.
    """
    table = rows.table
    call = Call(
        "POST", (*table_path(table), "insertAll"), body=rows_body(rows), once=not rows.repeatable
    )
    try:
        return await transport.send(call)
    except RefusedError as error:
        hint = "send them again within a minute, under the same `insertId`s"
        if call.once:
            hint = "look for them before you send them again"
        message = f"{error.message}, and rows of the request may be in `{table}`"
        raise RefusedError(message, hint=hint) from None


def bad_rows(answer: InsertAnswer, secrets: Collection[str]) -> tuple[BadRow, ...]:
    """Give the rows that are not in the table. `debugInfo` stays behind: it is Google's own."""
    return tuple(
        BadRow(
            row.index,
            tuple(
                RowFault(
                    fault.reason if _REASON.fullmatch(fault.reason) else "invalid",
                    scrub(fault.location, secrets),
                    scrub(fault.message, secrets),
                )
                for fault in row.errors
            ),
        )
        for row in answer.insert_errors
    )
