"""Rows that a client puts into a table without SQL: tabledata.insertAll.

It is `INSERT` of constants in all but name: the same analysis, decision and checks. It is no job:
BigQuery answers at once, so one that people must approve is refused.

INVARIANT: the rows are on record before the first byte of them is sent, and what became of them
before the client hears of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from keystile.analysis.information_schema import view_of
from keystile.analysis.text import quoted
from keystile.gate import records
from keystile.gate.planning import Decided, Planner, refuse_denied
from keystile.gate.recorder import Recorder
from keystile.gate.records import Streamed
from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.decision import Effect
from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    OverloadedError,
    RefusedError,
)
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId, TableKind
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.bigquery import BigQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError
from keystile.wire.streaming import BadRow, NewRows


class Streaming:
    """Answers tabledata.insertAll."""

    def __init__(
        self,
        planner: Planner,
        bigquery: BigQuery,
        recorder: Recorder,
        policy: Callable[[], Policy],
    ) -> None:
        """`policy` gives the snapshot that holds now."""
        self._planner = planner
        self._bigquery = bigquery
        self._recorder = recorder
        self._policy = policy

    async def insert(self, principal: Principal, rows: NewRows) -> tuple[BadRow, ...]:
        """Put rows into a table, and give those that are not in it.

        Raises `NotFoundError` for a table that is hidden or absent, `RefusedError` where `INSERT`
        would be refused or would wait, and what BigQuery refuses the request with.
        """
        streamed = Streamed(uuid4().hex, principal, rows, _insert(rows.table, ()))
        decided: Decided | None = None
        try:
            columns = _columns(await self._table(principal, rows.table), rows)
            streamed = streamed._replace(statement=_insert(rows.table, columns))
            decided = await self._planner.decide(principal, _request(streamed, len(columns)))
            await self._check(decided, rows.table)
        except OverloadedError:
            raise
        except KeystileError as error:
            refused = records.rows_refused(streamed, error, decided, time.time())
            await self._recorder.record(refused)
            raise
        started = time.time()
        await self._recorder.record(records.rows_intent(streamed, decided, started))
        return await self._sent(streamed, started)

    async def _table(self, principal: Principal, id_: TableId) -> Table:
        """Look the table up as the agent sees it."""
        if not is_plain(id_) or view_of(id_):
            raise not_found(id_)
        context = Context(id_.project, datetime.now(UTC))
        objects = VisibleObjects(self._bigquery, self._policy(), principal, context)
        table = await objects.table(id_)
        if table.kind is not TableKind.TABLE:
            raise InvalidRequestError(f"Cannot add rows to a table of type {table.kind}")
        if not table.fields:
            raise InvalidRequestError("The destination table has no schema.")
        return table

    async def _check(self, decided: Decided, id_: TableId) -> None:
        """Raise `RefusedError` where the statement would not run at once, or is not what it is."""
        decision = decided.decision
        refuse_denied(decision)
        if decision.effect is Effect.REQUIRE_APPROVAL:
            rules = ", ".join(f"`{demand.rule}`" for demand in decision.approvals)
            raise RefusedError(
                f"rows for `{id_}` need approval (rule {rules}), for which this method cannot wait",
                hint="write them with an INSERT statement, which waits until people have decided",
            )
        await self._planner.rewrite(decided)
        facts = decided.analysed.facts
        # INVARIANT: what was decided on is putting constants into this table, and nothing else.
        if (facts.statement, facts.reads, facts.writes) != ("INSERT", (), (id_,)):
            raise RefusedError(
                f"putting rows into `{id_}` is not understood", hint="use an INSERT statement"
            )

    async def _sent(self, streamed: Streamed, started: float) -> tuple[BadRow, ...]:
        try:
            bad = await self._bigquery.insert_rows(streamed.rows)
        except BaseException as error:
            # Also where the gateway is told to stop meanwhile: what was begun has an end on record.
            failed = records.rows_failed(streamed, _said(error), started, time.time())
            await self._recorder.record(failed)
            raise
        await self._recorder.record(records.rows_done(streamed, bad, started, time.time()))
        return bad


def _insert(id_: TableId, columns: tuple[str, ...]) -> str:
    """Write the statement that the request is, without its values."""
    path = ".".join(map(quoted, (id_.project, id_.dataset, id_.table)))
    listed = ", ".join(map(quoted, columns))
    return f"INSERT INTO {path}" + (f" ({listed})" if listed else "")


def _request(streamed: Streamed, columns: int) -> QueryRequest:
    """Give the statement as a query. What the constants are decides nothing."""
    constants = ", ".join(["NULL"] * columns)
    return QueryRequest(f"{streamed.statement} VALUES ({constants})", streamed.rows.table.project)


def _columns(table: Table, rows: NewRows) -> tuple[str, ...]:
    """Give those of the table's columns that rows name; all where they name none of them.

    Others are BigQuery's to refuse, or to leave out.
    """
    named = {name.lower() for name in rows.names}
    columns = tuple(field.name for field in table.fields)
    return tuple(name for name in columns if name.lower() in named) or columns


def _said(error: BaseException) -> JobError:
    if isinstance(error, KeystileError):
        return JobError.of(error)
    return JobError.of(RefusedError("the gateway did not get to BigQuery's answer"))
