"""Tables without columns, which clients make and fill by a load job later.

No statement makes one, so it is decided on as the `CREATE TABLE` that has a column.
"""

from __future__ import annotations

from uuid import uuid4

import msgspec

from keystile.gate import ddl
from keystile.gate.at_once import AtOnce, Same
from keystile.gate.records import Direct
from keystile.model.principal import Principal
from keystile.model.schema import Field
from keystile.upstream.bigquery import BigQuery
from keystile.wire.encode import table_without_columns
from keystile.wire.resources import NewTable
from keystile.wire.streaming import BadRow

_SOME_COLUMN = (Field("nothing", "INT64"),)


class BlankTables:
    """Makes them by tables.insert."""

    def __init__(self, at_once: AtOnce) -> None:
        """Send what `at_once` lets pass."""
        self._at_once = at_once

    async def make(self, principal: Principal, new: NewTable) -> None:
        """Make a table that has no columns.

        Raises `RefusedError` where CREATE TABLE would be refused or would wait, and what BigQuery
        refuses the request with.
        """
        sql = f"-- a table without columns, by tables.insert\n{ddl.create_table(new)}"
        request: dict[str, object] = {
            "project": new.id.project,
            "method": "tables.insert",
            "table": table_without_columns(new),
        }
        same = Same(
            ddl.create_table(msgspec.structs.replace(new, fields=_SOME_COLUMN)),
            "CREATE_TABLE",
            new.id,
            f"making `{new.id}` without columns",
            "name its columns in a CREATE TABLE statement, which waits until people have decided",
        )

        async def send(bigquery: BigQuery) -> tuple[BadRow, ...]:
            """Make it; no row can be wrong."""
            await bigquery.create_table(new)
            return ()

        await self._at_once.done(Direct(uuid4().hex, principal, sql, request), same, send)
