"""A query from its text to its result: names, views, routines, parameters, evaluation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec

from keystile.googlesql.cached import CachedRunner
from keystile.googlesql.messages import service
from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.model.errors import InvalidQueryError, InvalidRequestError, RefusedError
from keystile.model.schema import Field, Parameter, SqlType, TableId, TableKind
from keystile.sandbox import evaluating, information, wildcards
from keystile.sandbox.binding import INFORMATION_SCHEMA, Question, table_id
from keystile.sandbox.bound import Bound, bind
from keystile.sandbox.cells import parameter_value
from keystile.sandbox.data import Folder, Stored
from keystile.sandbox.describing import DESCRIBE, Described
from keystile.sandbox.dialect import Given, Spelled, Statement
from keystile.sandbox.errors import unsupported
from keystile.sandbox.geography import check_calls, holds_geography, kept_as
from keystile.sandbox.modifying import ROW
from keystile.sandbox.names import FIND_NAMES, Names
from keystile.sandbox.plans import Answer, Plan, statement_type
from keystile.sandbox.results import flattened, result_fields
from keystile.sandbox.rights import Rights
from keystile.sandbox.rows import Rows
from keystile.sandbox.store import Store

_MAX_VIEW_DEPTH = 16

_PURE = (FIND_NAMES, DESCRIBE, evaluating.CONVERT_VALUES)
"""Tasks whose answer is the same the next time: a dry run comes before most jobs."""

_RESOLVABLE = frozenset(
    ("Query", "Insert", "Update", "Delete", "Merge", "AlterTable", "CreateFunction")
)


class Catalog:
    """The store's tables, and what an engine has made of them so far."""

    def __init__(self, folder: Folder, runner: TaskRunner) -> None:
        """Start with nothing evaluated; contents are made on first use and kept."""
        self.store = Store(folder)
        self.rights = Rights(self.store)
        self.changing = asyncio.Lock()
        self._runner, self._known = runner, CachedRunner(runner)
        self._fields: dict[TableId, tuple[int, tuple[Field, ...]]] = {}
        self._contents: dict[TableId, tuple[object, asyncio.Task[bytes]]] = {}

    async def look_up(self, id_: TableId, depth: int = 0) -> Stored:
        """Give a table, a view with its fields, a wildcard's table or one of INFORMATION_SCHEMA.

        Raises `NotFoundError` in BigQuery's words.
        """
        if id_.table.startswith(f"{INFORMATION_SCHEMA}."):
            return await information.table(self, id_)
        if id_.table.endswith("*"):
            return wildcards.table(self.store, id_)
        stored = self.store.table(id_)
        if not stored.view_query:
            return stored
        known = self._fields.get(id_)
        if known is None or known[0] != self.store.changes:
            fields = (await self.plan(_view_question(stored), depth + 1)).fields
            named = zip(fields, stored.view_columns or [each.name for each in fields], strict=True)
            fields = tuple(msgspec.structs.replace(field, name=name) for field, name in named)
            fields = tuple(map(_noted, fields, stored.fields)) if stored.fields else fields
            known = self.store.changes, fields
            self._fields[id_] = known
        return msgspec.structs.replace(stored, fields=known[1])

    async def plan(self, question: Question, depth: int = 0) -> Plan:
        """Resolve a statement.

        Raises `InvalidQueryError` in GoogleSQL's words or with what is not supported, and
        `NotFoundError` for a table.
        """
        if depth > _MAX_VIEW_DEPTH:
            raise InvalidQueryError("views are nested too deeply")
        names = await self.run(FIND_NAMES, question.sql)
        if names.script:
            return Plan(question, "SCRIPT", names, None, Bound())
        bound = await bind(self, names, question)
        for _, id_ in bound.paths:
            self.rights.check_query(question.account, id_)
        spelled = [
            _spelled(path, id_, await self.look_up(id_, depth), question)
            for path, id_ in bound.paths
        ]
        statement = Statement(
            bound.names.sql,
            tuple(spelled),
            question.given,
            bound.callees,
            # Without their values, so that the engine may keep the catalog for the next round.
            tuple(Given(each.name, each.type) for each in bound.variables),
            names.connections,
        )
        try:
            described = await self.run(DESCRIBE, statement)
        except InvalidQueryError as error:
            if names.kind == "AlterTable" and not self._has_target(bound, names):
                self.store.table(table_id(names.target, question))
            if names.kind not in _RESOLVABLE and "not found" in error.message:
                # What such a statement changes was not looked up; what it is, is known.
                return Plan(question, statement_type(names.kind), names, None, bound)
            message = names.placed(error.message)
            raise evaluating.honest(InvalidQueryError(message)) from error
        return Plan(
            question,
            statement_type(described.kind),
            names,
            described,
            bound,
            result_fields(described),
            await self._referenced(bound, depth, question.account),
            await self._scanned(described, bound, depth),
        )

    def _has_target(self, bound: Bound, names: Names) -> bool:
        return names.target in bound.ids

    async def evaluated(self, plan: Plan) -> Answer:
        """Run what was planned.

        Raises `InvalidQueryError` for a statement that is no query, and for errors at run time.
        """
        described = plan.described
        if described is None or described.kind != "Query":
            raise unsupported(f"statements of type {plan.statement}")
        result = await self.run(evaluating.EVALUATE, await self._evaluable(plan, described))
        if not described.flat or described.columns[0][1].kind != "STRUCT":
            return Answer(result.rows, result.content)
        # `SELECT AS STRUCT` gives one struct a row; its fields are the columns.
        return Answer([row["f"][0]["v"] for row in result.rows], flattened(result.content))

    async def _evaluable(self, plan: Plan, described: Described) -> Statement:
        question, bound = plan.question, plan.bound
        for callee in bound.callees:
            if callee.opaque:
                raise unsupported(f"running the function `{'.'.join(callee.path)}`; it is no SQL")
        spelled = {}
        for id_ in dict.fromkeys(id_ for _, id_ in bound.paths):
            stored = await self.look_up(id_)
            made = _spelled((str(id_),), id_, stored, question, await self.content(stored))
            _check_geographies(made, plan, described)
            spelled[made.name] = made
        versions: dict[int, str] = {}
        for place in bound.names.places:
            if place.time_sql:
                version = await self._as_of(place.time_sql, bound.ids[place.path], question)
                versions[place.start] = version.name
                spelled[version.name] = version
        return Statement(
            evaluating.evaluable(bound.names, described, versions),
            tuple(map(_as_kept, spelled.values())),
            question.using or await self._parameters(question.parameters),
            bound.callees,
            bound.variables,
        )

    async def _as_of(self, sql: str, id_: TableId, question: Question) -> Spelled:
        moment = f"SELECT UNIX_MICROS(CAST({sql} AS TIMESTAMP))"
        answer = await self.evaluated(await self.plan(question.of(moment)))
        at = int(answer.rows[0]["f"][0]["v"]) / 1e6
        stored = self.store.table_at(id_, at)
        content = await self._made_content(stored)
        name = f"{id_}@{int(at * 1000)}"
        return msgspec.structs.replace(_spelled((name,), id_, stored, question, content), name=name)

    async def rows(self, id_: TableId) -> Rows:
        """Give all rows of a table in the order in which it holds them."""
        stored = self.store.table(id_)
        return Rows(stored.fields, await self.content(stored))

    async def content(self, stored: Stored) -> bytes:
        """Give the rows of a table or view as values, with its pseudo columns last."""
        if stored.content is not None:
            return stored.content
        plain = stored.kind is TableKind.TABLE and stored.raw
        stamp = (stored.etag, stored.modified) if plain else self.store.changes
        known = self._contents.get(stored.id)
        if known is None or known[0] != stamp or _failed(known[1]):
            task = asyncio.get_running_loop().create_task(self._made_content(stored))
            known = self._contents[stored.id] = stamp, task
        return await asyncio.shield(known[1])

    async def _made_content(self, stored: Stored) -> bytes:
        if stored.content is not None:
            return stored.content
        if stored.id.table.endswith("*"):
            return await wildcards.content(self, stored)
        if stored.view_query:
            return (await self.evaluated(await self.plan(_view_question(stored)))).content
        types = tuple(field.sql_type for field in stored.fields + stored.hidden)
        return await self.run(evaluating.CONVERT, evaluating.Raw(types, stored.raw))

    async def recast(
        self, content: bytes, types: Sequence[SqlType], wanted: Sequence[SqlType]
    ) -> bytes:
        """Coerce rows to other types, as writing them into a table does."""
        before, after = tuple(map(kept_as, types)), tuple(map(kept_as, wanted))
        asked = evaluating.Recast(before, after, content)
        return await self.run(evaluating.RECAST, asked)

    async def _referenced(self, bound: Bound, depth: int, account: str) -> tuple[TableId, ...]:
        """List the tables and views of a statement, and what its views read in turn.

        The account must be allowed to read those as well: no view is an authorized one.
        """
        found: dict[TableId, None] = {}
        for id_ in dict.fromkeys(id_ for _, id_ in bound.paths):
            found[id_] = None
            if self.store.has_table(id_) and (view := self.store.table(id_)).view_query:
                inner = await self.plan(_view_question(view, account), depth + 1)
                found.update(dict.fromkeys(inner.tables))
        return tuple(found)

    async def _scanned(self, described: Described, bound: Bound, depth: int) -> dict[TableId, int]:
        ids = {str(id_): id_ for _, id_ in bound.paths}
        found = Counter[TableId]()
        for name, columns in described.used.items():
            stored = await self.look_up(ids[name], depth)
            if stored.view_query:
                found.update((await self.plan(_view_question(stored), depth + 1)).scanned)
            else:
                found[stored.id] += sum(stored.sizes.get(column, 0) for column in columns)
        for path, id_ in bound.paths:
            if path == (str(id_),) and str(id_) not in described.used:
                # Read by a routine; which columns its body reads is not looked into.
                found[id_] += sum((await self.look_up(id_, depth)).sizes.values())
        return dict(found)

    async def _parameters(self, parameters: tuple[Parameter, ...]) -> tuple[Given, ...]:
        if not parameters:
            return ()
        if any(holds_geography(each.type) for each in parameters):
            raise unsupported("query parameters of type GEOGRAPHY")
        texts = evaluating.Texts(
            tuple(each.type for each in parameters),
            tuple(
                parameter_value(each.value, each.type).SerializeToString() for each in parameters
            ),
        )
        try:
            made = await self.run(evaluating.CONVERT_VALUES, texts)
        except InvalidQueryError as error:
            raise InvalidRequestError(f"a query parameter is invalid: {error}") from error
        cells = service.TableContent.FromString(made).table_data.row[0].cell
        return tuple(
            Given(each.name, each.type, cell.SerializeToString())
            for each, cell in zip(parameters, cells, strict=True)
        )

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Have the engine do a task. Raises `InvalidQueryError` where it is beyond its bounds."""
        runner = self._known if task in _PURE else self._runner
        try:
            return await runner.run(task, request)
        except RefusedError as error:
            # The engine's bounds: BigQuery would go on, so say that it is the sandbox that ends.
            raise unsupported(str(error)) from error


def _noted(field: Field, note: Field) -> Field:
    """Give the column of a view what was noted of it."""
    inner = tuple(map(_noted, field.fields, note.fields)) if note.fields else field.fields
    return msgspec.structs.replace(
        field, description=note.description, policy_tags=note.policy_tags, fields=inner
    )


def _check_geographies(table: Spelled, plan: Plan, described: Described) -> None:
    """Refuse a statement that does more with a geography than to hand it on."""
    used = described.used.get(table.name, ())
    if any(name in used and holds_geography(type_) for name, type_ in table.columns):
        check_calls((*plan.names.calls, *(callee.path for callee in plan.bound.callees)))


def _as_kept(table: Spelled) -> Spelled:
    columns = tuple((name, kept_as(type_)) for name, type_ in table.columns)
    return msgspec.structs.replace(table, columns=columns)


def _failed(task: asyncio.Task[bytes]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _view_question(stored: Stored, account: str = "") -> Question:
    return Question(stored.view_query, stored.id.project, account=account)


def _spelled(
    path: tuple[str, ...],
    id_: TableId,
    stored: Stored,
    question: Question | None,
    content: bytes = b"",
) -> Spelled:
    columns = [(field.name, field.sql_type) for field in stored.fields + stored.hidden]
    hidden = len(stored.hidden)
    if question and question.numbered == id_:
        columns.append((ROW, SqlType("INT64")))
        hidden += 1
        content = numbered(content)
    return Spelled(path, str(id_), tuple(columns), content, hidden)


def numbered(content: bytes) -> bytes:
    """Put each row's number behind its cells."""
    rows = service.TableContent.FromString(content)
    for at, row in enumerate(rows.table_data.row):
        row.cell.add(int64_value=at)
    encoded: bytes = rows.SerializeToString()
    return encoded
