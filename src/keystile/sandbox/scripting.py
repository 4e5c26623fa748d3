"""Running a script: its control flow, exceptions, and what it does with variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from keystile.googlesql.messages import value_pb2
from keystile.model.errors import DuplicateError, InUseError, InvalidQueryError, NotFoundError
from keystile.model.schema import SqlType
from keystile.sandbox.binding import Question
from keystile.sandbox.dialect import Given
from keystile.sandbox.errors import UnsupportedError
from keystile.sandbox.plans import Answer, Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.script_context import Ran, ScriptContext, placed, type_of
from keystile.sandbox.script_steps import READ_SCRIPT, Script, Step

_HANDLED = (DuplicateError, InUseError, InvalidQueryError, NotFoundError)
"""What a handler of exceptions gets: errors of statements, not the end of the job."""


async def planned(catalog: Catalog, question: Question) -> Plan:
    """Plan a statement or a script; temporary functions and a query are planned as the query.

    Raises what `Catalog.plan` raises.
    """
    plan = await catalog.plan(question)
    if not plan.names.script:
        return plan
    script = await _read(catalog, question)
    if not script.plain or question.scope.dataset:
        return plan  # in a session its functions would stay, though nothing has run
    context = ScriptContext(catalog, question)
    context.begin()
    try:
        *functions, query = script.steps
        await _Run(context).run(tuple(functions))
        found = await context.planned(query.needs())
    finally:
        context.end()
    return found.as_script(plan)


async def run_script(
    catalog: Catalog,
    question: Question,
    told: Callable[[Ran], None],
    left: Callable[[tuple[Given, ...]], None] = lambda _: None,
    most_billed: int | None = None,
) -> Ran | None:
    """Run a script to its end; give the last query that ran.

    `told` hears of each statement that has run, `left` of the variables that there are at the end.
    Raises the first error that nothing handles.
    """
    script = await _read(catalog, question)
    context = ScriptContext(catalog, question, told, most_billed)
    context.begin()
    try:
        await _Run(context).run(script.steps)
    finally:
        left(context.given)
        context.end()
    return context.result


async def _read(catalog: Catalog, question: Question) -> Script:
    return await catalog.run(READ_SCRIPT, question.sql)


class _Leaving(NamedTuple):
    """On the way out of a loop or a block, back to a loop's beginning, or out of the script."""

    kind: str
    label: str = ""

    def ends(self, label: str) -> bool:
        """Tell whether this means the loop or block of a label."""
        return self.kind != "return" and self.label in {"", label}


class _Run:
    """Takes the steps of a script."""

    def __init__(self, context: ScriptContext) -> None:
        self._context = context

    async def run(self, steps: tuple[Step, ...]) -> _Leaving | None:
        for step in steps:
            if leaving := await self._step(step):
                return leaving
        return None

    async def _step(self, step: Step) -> _Leaving | None:  # noqa: C901 - one case for each kind
        context = self._context
        match step.kind:
            case "if":
                return await self.run(
                    step.body if await context.holds(step.needs()) else step.other
                )
            case "while" | "repeat":
                return await self._loop(step)
            case "for":
                return await self._for(step)
            case "block":
                return await self._block(step)
            case "leave" | "continue" | "return":
                return _Leaving(step.kind, step.label)
            case "begin" | "commit" | "rollback":
                context.transaction(step.kind, step.place)
            case "raise":
                await self._raise(step)
            case "execute":
                await self._execute(step)
            case "assert":
                if not await context.holds(step.needs()):
                    raise placed(InvalidQueryError(step.words or "Assertion failed"), step.place)
            case "declare" | "set" | "unpack":
                await self._assign(step)
            case _:
                await context.statement(step.needs())
        return None

    async def _loop(self, step: Step) -> _Leaving | None:
        while step.kind == "repeat" or step.text is None or await self._context.holds(step.text):
            self._context.count()
            leaving = await self.run(step.body)
            if leaving and not leaving.ends(step.label):
                return leaving
            if leaving and leaving.kind == "leave":
                return None
            if step.kind == "repeat" and await self._context.holds(step.needs()):
                return None
        return None

    async def _for(self, step: Step) -> _Leaving | None:
        context = self._context
        plan, rows = await context.rows(step.needs())
        around, (name,) = context.variables, step.names
        fields = tuple((field.name, field.sql_type) for field in plan.fields)
        context.declare(name, SqlType("STRUCT", fields=fields), step.place)
        leaving = None
        for row in rows:
            context.count()
            value = value_pb2.ValueProto()
            value.struct_value.field.extend(row.cell)
            context.replace(name, value.SerializeToString())
            leaving = await self.run(step.body)
            if leaving and not (leaving.kind == "continue" and leaving.ends(step.label)):
                break
        context.keep(around)
        return None if leaving and leaving.ends(step.label) else leaving

    async def _block(self, step: Step) -> _Leaving | None:
        context = self._context
        around = context.variables
        try:
            leaving = await self.run(step.body)
        except _HANDLED as error:
            if not step.handled or isinstance(error, UnsupportedError):
                raise
            context.keep(around)
            context.errors.append(error)
            try:
                leaving = await self.run(step.other)
            finally:
                context.errors.pop()
        context.keep(around)
        return None if leaving and leaving.label and leaving.ends(step.label) else leaving

    async def _raise(self, step: Step) -> None:
        if step.text:
            message = await self._context.string(step.text)
            raise placed(InvalidQueryError(message), step.place)
        if not self._context.errors:
            message = "RAISE without a message is for handlers of exceptions"
            raise placed(InvalidQueryError(message), step.place)
        raise self._context.errors[-1]

    async def _execute(self, step: Step) -> None:
        context, at = self._context, step.place
        sql = await context.string(step.needs())
        using = []
        for name, text in step.using:
            type_, value = await context.value(text)
            using.append(Given(name, type_, value.SerializeToString()))
        ran = await context.dynamic(sql, tuple(using), at)
        if not step.names:
            return
        rows = ran.rows()
        if (
            len(rows) > 1
            or not isinstance(ran.done, Answer)
            or len(ran.plan.fields) != len(step.names)
        ):
            message = "EXECUTE IMMEDIATE … INTO takes one row with a column for each variable"
            raise placed(InvalidQueryError(message), at)
        cells = rows[0].cell if rows else [value_pb2.ValueProto() for _ in step.names]
        for name, field, cell in zip(step.names, ran.plan.fields, cells, strict=True):
            await context.put(name, cell, field.sql_type, at)

    async def _assign(self, step: Step) -> None:
        """Run DECLARE or SET."""
        context, at = self._context, step.place
        type_, value = SqlType("INT64"), value_pb2.ValueProto()
        if step.text:
            type_, value = await context.value(step.text)
        if step.kind == "declare":
            declared = type_of(await context.planned(step.type)) if step.type else type_
            for name in step.names:
                context.declare(name, declared, at)
        if step.text and step.kind != "unpack":
            for name in step.names:
                await context.put(name, value, type_, at)
        if step.kind == "unpack":
            fields = type_.fields
            if len(fields) != len(step.names) or value.WhichOneof("value") is None:
                message = "SET of several variables takes a STRUCT with a field for each"
                raise placed(InvalidQueryError(message), at)
            cells = value.struct_value.field
            for name, (_, inner), cell in zip(step.names, fields, cells, strict=True):
                await context.put(name, cell, inner, at)
