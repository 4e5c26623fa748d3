"""The rows of a table, without SQL: tabledata.list.

Listing a table is `SELECT` of the same columns in all but name: the same analysis, decision, masks,
approval and record, and a job like any other. Pages are pages of that job's result.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec

from keystile.analysis.text import quoted
from keystile.gate.by_statement import ByStatement
from keystile.gate.jobs import Job
from keystile.gate.pages import job_of_token
from keystile.gate.reading import ResultReader
from keystile.gate.result_tables import ResultTables
from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.errors import InvalidRequestError
from keystile.model.principal import Principal
from keystile.model.schema import Field, Table, TableId, TableKind
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.accounts import Accounts
from keystile.wire.cells import only_columns
from keystile.wire.requests import PageRequest, QueryRequest
from keystile.wire.responses import ResultsView


class TableData:
    """Answers tabledata.list."""

    def __init__(
        self,
        statements: ByStatement,
        results: ResultTables,
        reader: ResultReader,
        accounts: Accounts,
        policy: Callable[[], Policy],
    ) -> None:
        """`policy` gives the snapshot that holds now."""
        self._statements = statements
        self._results = results
        self._reader = reader
        self._accounts = accounts
        self._policy = policy

    async def rows(
        self, principal: Principal, table: TableId, page: PageRequest
    ) -> ResultsView | None:
        """Give a page of a table that the agent may read, or of a result of its own.

        A table without columns has none.

        Raises `NotFoundError` for a table that is hidden or absent, `RefusedError` where policy
        says so or the rows are not there in time, `JobFailedError` where they never will be.
        """
        job = await self._results.job(principal.key, table)
        if job is not None:
            return await self._of_result(job, page)
        found = await self._found(principal, table)
        sql = _select(found, page.selected_fields)
        if not found.fields:
            # No query can read nothing.
            return None
        what = f"reading `{table}`"
        request = QueryRequest(sql, table.project)
        if not page.page_token:
            job = await self._statements.done(principal, request, what)
            return await self._reader.page(job, page)
        begun = job_of_token(page.page_token)
        job = await self._statements.begun(principal, request, begun)
        if job is None:
            raise InvalidRequestError("`pageToken` belongs to another table or other columns")
        return await self._reader.page(await self._statements.end(job, what), page)

    async def _of_result(self, job: Job, page: PageRequest) -> ResultsView:
        given = await self._reader.page(job, page)
        fields = given.job.schema or ()
        wanted = set(chosen(fields, page.selected_fields))
        if not wanted:
            return given
        places = [at for at, field in enumerate(fields) if field.name in wanted]
        cut = _only(given, places)
        return (
            cut
            if given.rest is None
            else msgspec.structs.replace(cut, rest=_each(given.rest, places))
        )

    async def query(
        self, principal: Principal, table: TableId, fields: tuple[str, ...], where: str = ""
    ) -> str:
        """Write the query that reading a table is. Cells come in the order of the schema.

        `where` must be one condition by itself. Raises `NotFoundError` for a table that is hidden
        or absent, `InvalidRequestError` for one that has no rows of its own.
        """
        return _select(await self._found(principal, table), fields, where)

    async def _found(self, principal: Principal, table: TableId) -> Table:
        context = Context(table.project, datetime.now(UTC))
        policy = self._policy()
        bigquery = await self._accounts.of(policy.connection_of(principal))
        objects = VisibleObjects(bigquery, policy, principal, context)
        if not is_plain(table):
            raise not_found(table)
        found = await objects.table(table)
        if found.kind not in {TableKind.TABLE, TableKind.SNAPSHOT}:
            raise InvalidRequestError(
                f"Cannot list a table of type {found.kind}", hint="query it with SELECT instead"
            )
        return found


def _select(table: Table, fields: tuple[str, ...], where: str = "") -> str:
    names = ", ".join(quoted(name) for name in chosen(table.fields, fields))
    path = ".".join(map(quoted, (table.id.project, table.id.dataset, table.id.table)))
    sql = f"SELECT {names or '*'} FROM {path}"  # noqa: S608 - every name stands in backticks
    return f"{sql} WHERE ({where}\n)" if where else sql


def _only(piece: ResultsView, places: Sequence[int]) -> ResultsView:
    return msgspec.structs.replace(piece, rows=only_columns(piece.rows, places))


async def _each(
    pieces: AsyncGenerator[ResultsView], places: Sequence[int]
) -> AsyncGenerator[ResultsView]:
    async with aclosing(pieces):
        async for piece in pieces:
            yield _only(piece, places)


def chosen(fields: tuple[Field, ...], wanted: tuple[str, ...]) -> list[str]:
    """Give the names of the chosen columns in the order of the schema; empty for all.

    Raises `InvalidRequestError` for what is no column.
    """
    known = {field.name.lower(): field.name for field in fields}
    found = set()
    for name in wanted:
        if name.lower() not in known:
            message = f"the selected field `{name[:100]}` is no column"
            raise InvalidRequestError(
                message, hint="name whole columns; for a part of one, use a query"
            )
        found.add(known[name.lower()])
    return [field.name for field in fields if field.name in found]
