"""A query from its text to its result: names, views, parameters, evaluation."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service

from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.model.errors import (
    InvalidQueryError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
)
from keystile.model.schema import Field, Parameter, TableId, TableKind
from keystile.sandbox import tasks
from keystile.sandbox.cells import parameter_value
from keystile.sandbox.data import Folder, Stored
from keystile.sandbox.errors import unsupported
from keystile.wire.schema import field_of

LOCATION = "US"
"""Where the sandbox says that all its data is."""

_MAX_VIEW_DEPTH = 16
_MIN_PATH, _MAX_PATH = 1, 3

# BigQuery's `statementType` where it is not the engine's own name of the statement.
_KINDS = {
    "Query": "SELECT",
    "Truncate": "TRUNCATE_TABLE",
    "ExecuteImmediate": "SCRIPT",
    "Begin": "BEGIN_TRANSACTION",
    "Commit": "COMMIT_TRANSACTION",
    "Rollback": "ROLLBACK_TRANSACTION",
    "AuxLoadData": "LOAD_DATA",
}
_RESOLVABLE = frozenset(("Query", "Insert", "Update", "Delete", "Merge"))


# Wildcard tables, INFORMATION_SCHEMA and `__TABLES__`.
_META = re.compile(r"\*|^INFORMATION_SCHEMA$|^__", re.IGNORECASE)


class Question(msgspec.Struct, frozen=True):
    """SQL with what its names and parameters mean."""

    sql: str
    project: str
    default_project: str = ""
    default_dataset: str = ""
    parameters: tuple[Parameter, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """What a dry run says, and what `evaluated` needs."""

    question: Question
    statement: str
    names: tasks.Names
    described: tasks.Described | None
    paths: tuple[tuple[tuple[str, ...], TableId], ...]
    fields: tuple[Field, ...] = ()
    tables: tuple[TableId, ...] = ()
    bytes_processed: int = 0


class Answer(msgspec.Struct, frozen=True):
    """A result: its rows with timestamps as microseconds."""

    rows: list[dict[str, Any]]
    content: bytes


class Catalog:
    """The folder's tables, and what an engine has made of them so far."""

    def __init__(self, folder: Folder, runner: TaskRunner) -> None:
        """Start with nothing evaluated; contents are made on first use and kept."""
        self._folder = folder
        self._runner = runner
        self._fields: dict[TableId, tuple[Field, ...]] = {}
        self._contents: dict[TableId, asyncio.Task[bytes]] = {}

    @property
    def datasets(self) -> tuple[tuple[str, str], ...]:
        """Pairs of project and dataset."""
        return self._folder.datasets

    def in_dataset(self, project: str, dataset: str) -> list[Stored]:
        """List a dataset's tables and views. Raises `NotFoundError`."""
        if (project, dataset) not in self._folder.datasets:
            raise NotFoundError(f"Not found: Dataset {project}:{dataset}")
        tables = self._folder.tables
        return [
            tables[id_]
            for id_ in sorted(tables)
            if (id_.project, id_.dataset) == (project, dataset)
        ]

    def stored(self, id_: TableId) -> Stored:
        """Give a table or view. Raises `NotFoundError` in BigQuery's words."""
        if (id_.project, id_.dataset) not in self._folder.datasets:
            raise NotFoundError(
                f"Not found: Dataset {id_.project}:{id_.dataset} was not found in location "
                f"{LOCATION}"
            )
        if id_ not in self._folder.tables:
            raise NotFoundError(
                f"Not found: Table {id_.project}:{id_.dataset}.{id_.table} was not found in "
                f"location {LOCATION}"
            )
        return self._folder.tables[id_]

    async def fields(self, id_: TableId, depth: int = 0) -> tuple[Field, ...]:
        """Give a table's columns, or those that a view's query has."""
        stored = self.stored(id_)
        if stored.kind is TableKind.TABLE:
            return stored.fields
        if id_ not in self._fields:
            self._fields[id_] = (await self.plan(_view_question(stored), depth + 1)).fields
        return self._fields[id_]

    async def plan(self, question: Question, depth: int = 0) -> Plan:
        """Resolve a statement.

        Raises `InvalidQueryError` in GoogleSQL's words or with what is not supported, and
        `NotFoundError` for a table.
        """
        if depth > _MAX_VIEW_DEPTH:
            raise InvalidQueryError("views are nested too deeply")
        names = await self._run(tasks.FIND_NAMES, question.sql)
        if names.script:
            return Plan(question, "SCRIPT", names, None, ())
        paths = tuple((path, _table_id(path, question)) for path in names.paths)
        if len({id_ for _, id_ in paths}) != len({str(id_).lower() for _, id_ in paths}):
            raise unsupported("two tables whose names differ by case alone in one query")
        spelled = [_spelled(path, id_, await self.fields(id_, depth)) for path, id_ in paths]
        given = tuple(tasks.Given(each.name, each.type) for each in question.parameters)
        statement = tasks.Statement(names.sql, tuple(spelled), given)
        try:
            described = await self._run(tasks.DESCRIBE, statement)
        except InvalidQueryError as error:
            if names.kind not in _RESOLVABLE and "not found" in error.message:
                # What such a statement changes was not looked up; what it is, is known.
                return Plan(question, _statement_type(names.kind), names, None, paths)
            raise tasks.honest(InvalidQueryError(names.placed(error.message))) from error
        ids = {str(id_): id_ for _, id_ in paths}
        used = {ids[name]: columns for name, columns in described.used.items()}
        return Plan(
            question,
            _statement_type(described.kind),
            names,
            described,
            paths,
            _result_fields(described),
            tuple(dict.fromkeys(id_ for _, id_ in paths)),
            sum([await self._bytes(id_, columns, depth) for id_, columns in used.items()]),
        )

    async def evaluated(self, plan: Plan) -> Answer:
        """Run what was planned.

        Raises `InvalidQueryError` for a statement that is no query, and for errors at run time.
        """
        described = plan.described
        if described is None or described.kind != "Query":
            raise unsupported(f"statements of type {plan.statement}")
        spelled = [
            _spelled((str(id_),), id_, await self.fields(id_), await self._content(id_))
            for id_ in plan.tables
        ]
        given = await self._parameters(plan.question.parameters)
        statement = tasks.Statement(described.sql, tuple(spelled), given)
        result = await self._run(tasks.EVALUATE, statement)
        if not described.flat or described.columns[0][1].kind != "STRUCT":
            return Answer(result.rows, result.content)
        # `SELECT AS STRUCT` gives one struct a row; its fields are the columns.
        return Answer([row["f"][0]["v"] for row in result.rows], _flattened(result.content))

    async def rows(self, id_: TableId) -> list[dict[str, Any]]:
        """Give all rows of a table in the order of its file."""
        fields = await self.fields(id_)
        spelled = _spelled((str(id_),), id_, fields, await self._content(id_))
        sql = f"SELECT * FROM `{id_}`"  # noqa: S608  # a name of the folder
        return (await self._run(tasks.EVALUATE, tasks.Statement(sql, (spelled,)))).rows

    async def _bytes(self, id_: TableId, columns: Sequence[str], depth: int) -> int:
        stored = self.stored(id_)
        if stored.kind is TableKind.VIEW:
            return (await self.plan(_view_question(stored), depth + 1)).bytes_processed
        return sum(stored.sizes[name] for name in columns)

    async def _content(self, id_: TableId) -> bytes:
        task = self._contents.get(id_)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.get_running_loop().create_task(self._made_content(self.stored(id_)))
            self._contents[id_] = task
        return await asyncio.shield(task)

    async def _made_content(self, stored: Stored) -> bytes:
        if stored.kind is TableKind.VIEW:
            return (await self.evaluated(await self.plan(_view_question(stored)))).content
        types = tuple(field.sql_type for field in stored.fields)
        return await self._run(tasks.CONVERT, tasks.Raw(types, stored.raw))

    async def _parameters(self, parameters: tuple[Parameter, ...]) -> tuple[tasks.Given, ...]:
        if not parameters:
            return ()
        content = service.TableContent()
        row = content.table_data.row.add()
        row.cell.add(int64_value=0)
        row.cell.extend(parameter_value(each.value, each.type) for each in parameters)
        types = tuple(each.type for each in parameters)
        try:
            made = await self._run(tasks.CONVERT, tasks.Raw(types, content.SerializeToString()))
        except InvalidQueryError as error:
            raise InvalidRequestError(f"a query parameter is invalid: {error}") from error
        cells = service.TableContent.FromString(made).table_data.row[0].cell
        return tuple(
            tasks.Given(each.name, each.type, cell.SerializeToString())
            for each, cell in zip(parameters, cells, strict=True)
        )

    async def _run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        try:
            return await self._runner.run(task, request)
        except RefusedError as error:
            # The engine's bounds: BigQuery would go on, so say that it is the sandbox that ends.
            raise unsupported(str(error)) from error


def _statement_type(kind: str) -> str:
    return _KINDS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).upper()


def _view_question(stored: Stored) -> Question:
    return Question(stored.view_query, stored.id.project)


def _table_id(path: tuple[str, ...], question: Question) -> TableId:
    if any(_META.search(name) for name in path):
        raise unsupported(f"the table `{'.'.join(path)}`")
    if not _MIN_PATH <= len(path) <= _MAX_PATH:
        raise InvalidQueryError(f"`{'.'.join(path)}` is not the name of a table")
    if len(path) == _MIN_PATH and not question.default_dataset:
        raise InvalidQueryError(
            f'Table "{path[0]}" must be qualified with a dataset (e.g. dataset.table).'
        )
    if len(path) == _MIN_PATH:
        return TableId(question.default_project, question.default_dataset, path[0])
    return TableId(path[0] if len(path) == _MAX_PATH else question.project, *path[-2:])


def _spelled(
    path: tuple[str, ...], id_: TableId, fields: tuple[Field, ...], content: bytes = b""
) -> tasks.Spelled:
    columns = tuple((field.name, field.sql_type) for field in fields)
    return tasks.Spelled(path, str(id_), columns, content)


def _result_fields(described: tasks.Described) -> tuple[Field, ...]:
    """Name the columns as BigQuery does: `f0_`, `_field_1` inside structs, `a_1` for a second `a`.

    Raises `InvalidQueryError` where such a name is there already.
    """
    columns = described.columns
    if described.flat and columns[0][1].kind == "STRUCT":
        columns = columns[0][1].fields
    fields = [_named(field_of(name, type_)) for name, type_ in tasks.named(columns)]
    seen: Counter[str] = Counter()
    for at, field in enumerate(fields):
        if repeated := seen[field.name.lower()]:
            fields[at] = msgspec.structs.replace(field, name=f"{field.name}_{repeated}")
        seen[field.name.lower()] += 1
    if len({field.name.lower() for field in fields}) != len(fields):
        raise unsupported("a name like that which a repeated column name gets")
    return tuple(fields)


def _named(field: Field) -> Field:
    inner = tuple(
        msgspec.structs.replace(_named(part), name=part.name or f"_field_{at}")
        for at, part in enumerate(field.fields, start=1)
    )
    return msgspec.structs.replace(field, fields=inner)


def _flattened(content: bytes) -> bytes:
    flat = service.TableContent()
    flat.table_data.SetInParent()
    for row in service.TableContent.FromString(content).table_data.row:
        flat.table_data.row.add().cell.extend(row.cell[0].struct_value.field)
    return flat.SerializeToString()
