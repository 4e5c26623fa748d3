"""Rows that a client puts into a table without SQL: tabledata.insertAll.

It is `INSERT` of constants in all but name, and is decided on as that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from keystile.analysis.information_schema import view_of
from keystile.analysis.text import quoted
from keystile.gate.at_once import AtOnce, Same
from keystile.gate.records import Direct
from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.errors import InvalidRequestError, KeystileError
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId, TableKind
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.accounts import Accounts
from keystile.wire.streaming import BadRow, NewRows


class Streaming:
    """Answers tabledata.insertAll."""

    def __init__(self, at_once: AtOnce, accounts: Accounts, policy: Callable[[], Policy]) -> None:
        """`policy` gives the snapshot that holds now."""
        self._at_once = at_once
        self._accounts = accounts
        self._policy = policy

    async def insert(self, principal: Principal, rows: NewRows) -> tuple[BadRow, ...]:
        """Put rows into a table, and give those that are not in it.

        Raises `NotFoundError` for a table that is hidden or absent, `RefusedError` where `INSERT`
        would be refused or would wait, and what BigQuery refuses the request with.
        """
        id_ = rows.table
        try:
            columns = _columns(await self._table(principal, id_), rows)
        except KeystileError as error:
            await self._at_once.refuse(_direct(principal, rows, _insert(id_, ())), error)
            raise
        statement = _insert(id_, columns)
        # What the constants are decides nothing.
        constants = ", ".join(["NULL"] * len(columns))
        same = Same(
            f"{statement} VALUES ({constants})",
            "INSERT",
            id_,
            f"putting rows into `{id_}`",
            "write them with an INSERT statement, which waits until people have decided",
        )
        return await self._at_once.done(
            _direct(principal, rows, statement), same, lambda bigquery: bigquery.insert_rows(rows)
        )

    async def _table(self, principal: Principal, id_: TableId) -> Table:
        """Look the table up as the agent sees it."""
        if not is_plain(id_) or view_of(id_):
            raise not_found(id_)
        context = Context(id_.project, datetime.now(UTC))
        policy = self._policy()
        bigquery = await self._accounts.of(policy.connection_of(principal))
        objects = VisibleObjects(bigquery, policy, principal, context)
        table = await objects.table(id_)
        if table.kind is not TableKind.TABLE:
            raise InvalidRequestError(f"Cannot add rows to a table of type {table.kind}")
        if not table.fields:
            raise InvalidRequestError("The destination table has no schema.")
        return table


def _direct(principal: Principal, rows: NewRows, statement: str) -> Direct:
    request = {
        "project": rows.table.project,
        "method": "tabledata.insertAll",
        "skip_invalid_rows": rows.skip_invalid,
        "ignore_unknown_values": rows.ignore_unknown,
    }
    sql = f"-- {len(rows.rows)} rows by tabledata.insertAll\n{statement}"
    return Direct(uuid4().hex, principal, sql, request, rows.rows)


def _insert(id_: TableId, columns: tuple[str, ...]) -> str:
    """Write the statement that the request is, without its values."""
    path = ".".join(map(quoted, (id_.project, id_.dataset, id_.table)))
    listed = ", ".join(map(quoted, columns))
    return f"INSERT INTO {path}" + (f" ({listed})" if listed else "")


def _columns(table: Table, rows: NewRows) -> tuple[str, ...]:
    """Give those of the table's columns that rows name; all where they name none of them.

    Others are BigQuery's to refuse, or to leave out.
    """
    named = {name.lower() for name in rows.names}
    columns = tuple(field.name for field in table.fields)
    return tuple(name for name in columns if name.lower() in named) or columns
