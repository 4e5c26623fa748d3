"""Functions made, replaced and dropped without SQL: decided on as the statement is."""

from __future__ import annotations

from keystile.analysis.tasks import ENCLOSED
from keystile.gate import routine_ddl
from keystile.gate.by_statement import ByStatement
from keystile.gate.metadata import Metadata
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import InvalidRequestError, PreconditionError
from keystile.model.principal import Principal
from keystile.model.schema import RoutineId
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import Resource
from keystile.wire.routines import NewRoutine
from keystile.wire.updates import check_state


class RoutineChanges:
    """Answers insert, update and delete of routines. Raises as `Changes` does."""

    def __init__(self, statements: ByStatement, metadata: Metadata, runner: TaskRunner) -> None:
        """Answer with what `metadata` then says; `runner` has an engine look at texts."""
        self._statements = statements
        self._metadata = metadata
        self._runner = runner

    async def create(self, principal: Principal, new: NewRoutine) -> Resource:
        """Make a function, and give it as routines.get does, its text as it was written."""
        request = await self._request(new, replaces=False)
        await self._statements.done(principal, request, f"making `{new.id}`")
        return await self._told(principal, new)

    async def replace(self, principal: Principal, new: NewRoutine, etag: str) -> Resource:
        """Replace a routine that is there by a function, and give that as `create` does.

        `etag` is the state that the client knows; empty or `*` for any.
        """
        now = await self._metadata.routine(principal, new.id)
        if new.is_as(now):
            return new.as_written(now)
        request, what = await self._request(new, replaces=True), f"changing `{new.id}`"
        try:
            check_state(etag, now)
        except PreconditionError:
            # The client may have given up waiting for this very change, which was made since.
            left = await self._statements.left(principal, request)
            if left is None:
                raise
            await self._statements.end(left, what)
        else:
            await self._statements.done(principal, request, what)
        return await self._told(principal, new)

    async def delete(self, principal: Principal, id_: RoutineId) -> None:
        """Drop a routine."""
        now = await self._metadata.routine(principal, id_)
        sql = routine_ddl.drop_routine(id_, str(now.get("routineType")))
        request = QueryRequest(sql, id_.project)
        await self._statements.done(principal, request, f"dropping `{id_}`")

    async def _request(self, new: NewRoutine, *, replaces: bool) -> QueryRequest:
        """Give the statement. Raises `InvalidRequestError` where the text goes on beyond its place.

        INVARIANT: what runs makes this one function of all of its text, and does nothing else.
        """
        sql, check = routine_ddl.create_function(new, replaces=replaces)
        if check and not (await self._runner.run(ENCLOSED, check)).whole:
            raise InvalidRequestError(
                "`definitionBody` is no single expression", hint="close every bracket in it"
            )
        return QueryRequest(sql, new.id.project)

    async def _told(self, principal: Principal, new: NewRoutine) -> Resource:
        return new.as_written(await self._metadata.routine(principal, new.id))
