"""What BigQuery does at once, without a job."""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.model.schema import TableId
from keystile.upstream.objects import Objects
from keystile.upstream.paths import dataset_path, table_path
from keystile.upstream.streaming import InsertAnswer, bad_rows, sent
from keystile.upstream.transport import Call
from keystile.wire.encode import table_clustering, table_without_columns
from keystile.wire.resources import NewTable
from keystile.wire.streaming import BadRow, NewRows


class Changes(Objects):
    """Changes of tables. After a `RefusedError` from an outage one may have come to pass."""

    async def insert_rows(self, rows: NewRows) -> tuple[BadRow, ...]:
        """Put rows into a table, and give those that are not in it.

        After a `RefusedError` from an outage they may be in it all the same.
        """
        answer = await sent(self._transport, rows)
        return bad_rows(self._decoded(answer, InsertAnswer), self._secrets)

    async def create_table(self, new: NewTable) -> None:
        """Make a table without columns. Raises `DuplicateError` where there is one of the name.

        After a `RefusedError` from an outage it may be there all the same.
        """
        path = (*dataset_path(new.id.project, new.id.dataset), "tables")
        body = msgspec.json.encode(table_without_columns(new))
        call = Call("POST", path, body=body, once=True)
        self._decoded(await self._transport.send(call), dict[str, Any])
        self.forget((new.id,))

    async def cluster_table(self, id: TableId, columns: tuple[str, ...]) -> None:  # noqa: A002 - the port's own word
        """Have a table clustered by columns, or by none any more, and nothing else of it changed.

        Raises `NotFoundError`, and `InvalidRequestError` for columns that do not fit.
        """
        body = msgspec.json.encode(table_clustering(columns))
        answer = await self._transport.send(Call("PATCH", table_path(id), body=body))
        self._decoded(answer, dict[str, Any])
        self.forget((id,))
