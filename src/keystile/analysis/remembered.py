"""Analyses that are known already: of the same statement while all that it names stays the same."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.catalog import ObjectSource
from keystile.analysis.statement import Statement
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import KeystileError
from keystile.model.schema import Routine, RoutineId, SqlType, Table, TableId

_ANALYSES_KEPT = 1024
_LARGEST_TEXT = 64 << 10


class _Asked(NamedTuple):
    """A question to the source and its answer. `method` is the one of `ObjectSource`."""

    method: str
    id: TableId | RoutineId
    answer: Any


class _Key(NamedTuple):
    """What an analysis depends on beside its source. Of parameters only the types count."""

    sql: str
    project: str
    dataset: str
    parameters: tuple[tuple[str, SqlType], ...]


class _Known(NamedTuple):
    analysed: Analysed
    asked: tuple[_Asked, ...]


class RememberingAnalyst(Analyst):
    """Remembers the newest analyses.

    INVARIANT: an analysis is a pure function of the statement and of what its source answers. What
    is known is given again only after the caller's own source, which knows what that caller may
    see, has answered every question anew and with the same. Errors are not remembered.
    """

    def __init__(self, runner: TaskRunner, max_sql_bytes: int, kept: int = _ANALYSES_KEPT) -> None:
        """Take what an `Analyst` takes, and how many analyses to keep."""
        super().__init__(runner, max_sql_bytes)
        self._kept = kept
        self._known: OrderedDict[_Key, _Known] = OrderedDict()

    async def analyse(self, statement: Statement, source: ObjectSource) -> Analysed:
        """Find out what the statement does; see `Analyst.analyse`."""
        if statement.in_session:
            # INVARIANT: what it means depends on the texts before it; none is mistaken for another.
            return await super().analyse(statement, source)
        parameters = tuple((one.name, one.type) for one in statement.parameters)
        key = _Key(statement.sql, statement.project, statement.dataset, parameters)
        known = self._known.get(key)
        if known is not None and await _still_holds(known, source):
            self._known.move_to_end(key)
            return msgspec.structs.replace(known.analysed, statement=statement)
        noting = _Noting(source)
        analysed = await super().analyse(statement, noting)
        # The parts of a script hold the values of its parameters as well.
        if noting.complete and not (analysed.parts and parameters):
            self._remember(key, _Known(analysed, tuple(noting.asked)))
        return analysed

    def _remember(self, key: _Key, known: _Known) -> None:
        if len(key.sql) > _LARGEST_TEXT:
            return
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > self._kept:
            self._known.popitem(last=False)


async def _still_holds(known: _Known, source: ObjectSource) -> bool:
    """Ask anew. An error is for the analysis to raise, which knows its place in the text."""
    try:
        for asked in known.asked:
            answer = await getattr(source, asked.method)(asked.id)
            if answer is not asked.answer and answer != asked.answer:
                return False
    except KeystileError:
        return False
    return True


class _Noting:
    """Another source, and all that it was asked. `complete` tells that each question had answer."""

    def __init__(self, source: ObjectSource) -> None:
        self._source = source
        self.asked: list[_Asked] = []
        self.complete = True

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        answer: Table = await self._noted("table", id)
        return answer

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        answer: Routine = await self._noted("routine", id)
        return answer

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        answer: tuple[Table, ...] = await self._noted("tables_like", id)
        return answer

    async def _noted(self, method: str, id_: TableId | RoutineId) -> Any:
        try:
            answer = await getattr(self._source, method)(id_)
        except BaseException:
            self.complete = False
            raise
        self.asked.append(_Asked(method, id_, answer))
        return answer
