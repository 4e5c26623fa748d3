"""Analyses a script: each statement and each expression of it like a query of its own.

What a variable or a temporary table holds was read by a statement of the same script, masked, so
neither needs watching: it is a name with a type, and nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from keystile.analysis.analysed import Analysed, AnalysedPart
from keystile.analysis.catalog import ObjectSource
from keystile.analysis.outlined import Outline, OutlineRequest
from keystile.analysis.places import Translation
from keystile.analysis.resolve import ResolveRequest
from keystile.analysis.schema import result_schema
from keystile.analysis.scope import SYSTEM, Declared, Scope, SpelledRoutine
from keystile.analysis.scripts.facts import script_facts, script_scope, shows_result
from keystile.analysis.scripts.parts import READABLE_VARIABLES, Part, Role, Script, Variable
from keystile.analysis.scripts.state import BEFORE
from keystile.analysis.scripts.tables import ScriptTables
from keystile.analysis.statement import Statement
from keystile.analysis.tasks import MADE_COLUMNS, MADE_ROUTINE, SPLIT
from keystile.analysis.temporary import is_temporary
from keystile.googlesql.batched import BatchedRunner
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.facts import QueryFacts
from keystile.model.schema import Parameter, SqlType


class Around(msgspec.Struct, frozen=True):
    """What the script around a statement gives it to name.

    `temporary` are the names of temporary tables, `routines` temporary functions.
    """

    temporary: tuple[str, ...] = ()
    routines: tuple[SpelledRoutine, ...] = ()
    variables: tuple[Declared, ...] = ()


AnalysePart = Callable[[Statement, ObjectSource, Around, TaskRunner], Awaitable[Analysed]]
"""Analyses one statement of a script."""

_SYSTEM = tuple(Declared(f"{SYSTEM}{name}", type_) for name, type_ in READABLE_VARIABLES.items())


async def analyse_script(
    statement: Statement,
    outline: Outline,
    source: ObjectSource,
    runner: TaskRunner,
    analyse: AnalysePart,
) -> Analysed:
    """Analyse a script. Raises as `Analyst.analyse` does."""
    request = OutlineRequest(statement.sql, statement.project, statement.dataset)
    script = await runner.run(SPLIT, request)
    script = msgspec.structs.replace(script, opaque=(*outline.opaque, *script.opaque))
    parts = await Parts(statement, source, script, BatchedRunner(runner), analyse).all()
    return put_together(statement, script, parts)


def put_together(statement: Statement, script: Script, parts: tuple[AnalysedPart, ...]) -> Analysed:
    """Give the analysis of a script from those of its parts."""
    plain = script.plain and len(parts) > 0
    return Analysed(
        statement,
        statement.sql,
        script_scope(parts),
        script_facts(script, parts),
        parts[-1].analysed.schema if plain else (),
        derived=tuple(dict.fromkeys(d for part in parts for d in part.analysed.derived)),
        made=tuple(
            table
            for table in dict.fromkeys(made for part in parts for made in part.analysed.made)
            if not is_temporary(table.id)
        ),
        parts=parts,
        skeleton=script.skeleton,
        routines=tuple(dict.fromkeys(r for part in parts for r in part.analysed.routines)),
        mentions=tuple(mention for part in parts for mention in part.analysed.mentions),
        results=tuple(dict.fromkeys(part.analysed.schema for part in parts if shows_result(part))),
    )


class Parts:
    """One analysis of one script, part by part; those that wait for none together.

    Places are told as those of the text that begins at the byte `begins`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - a script, and what it is analysed with
        self,
        statement: Statement,
        source: ObjectSource,
        script: Script,
        runner: TaskRunner,
        analyse: AnalysePart,
        begins: int = 0,
    ) -> None:
        """Take a script apart already."""
        self._statement = statement
        self._begins = begins
        self._own = statement.sql.encode()[begins:].decode()
        self._script = script
        self._tables = ScriptTables(source, script.parts)
        self._runner = runner
        self._analyse = analyse
        self._done: dict[int, Analysed] = {}
        self._functions: dict[int, SpelledRoutine] = {}

    async def all(self) -> tuple[AnalysedPart, ...]:
        """Analyse them. Raises as `Analyst.analyse` does."""
        waiting = dict(enumerate(self._script.parts))
        while waiting:
            # A part waits for earlier ones only, so the first of those left never waits.
            ready = [n for n, part in waiting.items() if not self._needs(n, part) & set(waiting)]
            answers = await asyncio.gather(*map(self._one, ready), return_exceptions=True)
            for number, answer in zip(ready, answers, strict=True):
                if isinstance(answer, BaseException):
                    raise answer
                self._done[number] = answer
                del waiting[number]
        self._tables.check()
        return tuple(
            AnalysedPart(part, self._done[number]) for number, part in enumerate(self._script.parts)
        )

    def _needs(self, number: int, part: Part) -> set[int]:
        """Give the parts whose types or columns this one may name."""
        types = {self._script.variables[variable].part for variable in part.variables}
        made = {by for meaning in part.meanings for by in meaning.by}
        given = {using.part for using in part.using}
        return {need for need in {*types, *made, *given, *part.calls} if BEFORE < need < number}

    async def _one(self, number: int) -> Analysed:
        part = self._script.parts[number]
        places = Translation(part.sql, self._own, lambda at: max(0, part.moved(at) - self._begins))
        statement = msgspec.structs.replace(
            self._statement, sql=part.sql, parameters=self._parameters(part)
        )
        source, around = self._tables.seen_by(part), self._around(part)
        try:
            analysed = await self._analyse(statement, source, around, self._runner)
            if part.makes is not None and not analysed.facts.opaque:
                request = ResolveRequest(analysed.sql, analysed.scope)
                columns = await self._runner.run(MADE_COLUMNS, request)
                self._tables.make(number, columns.fields)
            if part.function and not analysed.facts.opaque:
                await self._make(number, analysed)
        except (InvalidQueryError, NotFoundError, RefusedError) as error:
            if self._is_opaque() and not isinstance(error, NotFoundError):
                # Refused already; what follows may stand on what could not be understood.
                return Analysed(statement, part.sql, Scope(), QueryFacts("", ()))
            raise places.error(error) from error
        opaque = places.opaque(analysed.facts.opaque)
        facts = msgspec.structs.replace(analysed.facts, opaque=opaque)
        mentions, calls = (
            tuple(
                msgspec.structs.replace(one, **places.place(one.line, one.column)._asdict())
                for one in found
            )
            for found in (analysed.mentions, analysed.calls)
        )
        return msgspec.structs.replace(analysed, facts=facts, mentions=mentions, calls=calls)

    async def _make(self, number: int, analysed: Analysed) -> None:
        """Note the function that a part makes, for those that call it."""
        request = ResolveRequest(analysed.sql, analysed.scope)
        made = await self._runner.run(MADE_ROUTINE, request)
        reads = tuple(use.column for use in analysed.facts.columns)
        self._functions[number] = SpelledRoutine(
            (self._script.parts[number].function,),
            made.routine,
            reads,
            tuple(spelled.table.id for spelled in analysed.scope.tables),
            masked=True,
        )

    def _is_opaque(self) -> bool:
        done = self._done.values()
        return bool(self._script.opaque) or any(analysed.facts.opaque for analysed in done)

    def _around(self, part: Part) -> Around:
        variables = (self._script.variables[number] for number in part.variables)
        return Around(
            tuple(
                meaning.table.table
                for meaning in part.meanings
                if is_temporary(meaning.table) and meaning.by != (BEFORE,)
            ),
            tuple(self._functions[number] for number in part.calls if number in self._functions),
            (*map(self._declared, variables), *_SYSTEM),
        )

    def _declared(self, variable: Variable) -> Declared:
        output = self._done[variable.part].facts.output
        if variable.row:
            fields = tuple((field.name, field.sql_type) for field in result_schema(output))
            return Declared(variable.name, SqlType("STRUCT", fields=fields))
        return Declared(variable.name, self._type(variable.part))

    def _type(self, part: int) -> SqlType:
        output = self._done[part].facts.output
        return output[0].type if output else SqlType("INT64")  # without, the script is refused

    def _parameters(self, part: Part) -> tuple[Parameter, ...]:
        if part.role is Role.DYNAMIC:
            # INVARIANT: it sees no parameter of the query's, only what USING hands in.
            return tuple(Parameter(using.name, self._type(using.part), {}) for using in part.using)
        given = self._statement.parameters
        if any(parameter.name for parameter in given):
            return given
        return given[part.first : part.first + part.count]
