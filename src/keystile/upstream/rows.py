"""Rows at BigQuery: of the results of jobs, and of tables as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from keystile.model.errors import RefusedError
from keystile.model.schema import Table
from keystile.upstream.answers import ResultsAnswer, TableDataAnswer
from keystile.upstream.exchange import Exchange
from keystile.upstream.paths import place_of, results_path, table_path
from keystile.upstream.row_stream import Rows, RowSplitter
from keystile.upstream.tables import fields_of
from keystile.upstream.transport import Answer, Call
from keystile.upstream.values import JobRef, Page

_OK = 200


class StoredRows(Exchange):
    """Rows that one account may read."""

    async def rows(
        self,
        job: JobRef,
        *,
        page_token: str = "",
        start_index: int = 0,
        max_results: int | None = None,
        use_int64_timestamp: bool = False,
    ) -> Page:
        """Give one page of a finished job's rows.

        With `page_token`, `start_index` is ignored. Raises `RefusedError` if the job still runs.
        """
        query = {"formatOptions.useInt64Timestamp": "true"} if use_int64_timestamp else {}
        if page_token:
            query["pageToken"] = page_token
        elif start_index:
            query["startIndex"] = str(start_index)
        if max_results is not None:
            query["maxResults"] = str(max_results)
        answer = await self._transport.send(
            Call("GET", results_path(job), query | {"timeoutMs": "0"} | place_of(job))
        )
        results = self._decoded(answer, ResultsAnswer)
        if not results.job_complete:
            raise RefusedError(f"the job `{job.job}` has no rows yet")
        return page_of(results)

    async def pieces(
        self, job: JobRef, *, start_index: int, max_results: int, use_int64_timestamp: bool
    ) -> AsyncGenerator[tuple[Rows, bool]]:
        """Give a page of a finished job's rows in pieces, while it arrives; each tells if it ends.

        Raises as `rows` does, after some pieces too: what came before is as good.
        """
        query = {"formatOptions.useInt64Timestamp": "true"} if use_int64_timestamp else {}
        query |= {"startIndex": str(start_index), "maxResults": str(max_results), "timeoutMs": "0"}
        splitter, refused = RowSplitter(), bytearray()
        status = 0
        call = Call("GET", results_path(job), query | place_of(job))
        async for status, chunk in self._transport.arriving(call):
            if status != _OK:
                refused += chunk
            elif rows := splitter.feed(chunk):
                yield rows, False
        results = self._read(Answer(status, refused), lambda _: splitter.end())
        if not results.job_complete:
            raise RefusedError(f"the job `{job.job}` has no rows yet")
        yield results.rows, True

    async def table_rows(
        self, table: Table, columns: Sequence[str], *, start: int, count: int
    ) -> Page:
        """Give some rows of a table as they are, for the gateway's operator: `tabledata.list`.

        Only `columns` of them, in the order of the schema. BigQuery bills nothing for it, and gives
        fewer rows where they are large.
        """
        fields = tuple(field for field in table.fields if field.name in columns)
        query = {
            "selectedFields": ",".join(field.name for field in fields),
            "startIndex": str(start),
            "maxResults": str(count),
        }
        answer = await self._transport.send(Call("GET", (*table_path(table.id), "data"), query))
        data = self._decoded(answer, TableDataAnswer)
        return Page(data.rows, "", data.total_rows, fields)


def page_of(results: ResultsAnswer) -> Page:
    """Read a page of a result."""
    return Page(results.rows, results.page_token, results.total_rows, fields_of(results.schema))
