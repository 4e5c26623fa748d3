"""Routines as the texts that they stand for: what is looked at in place of a call."""

from __future__ import annotations

import msgspec

from keystile.analysis.calls import doubt_of_any_type
from keystile.analysis.outlined import Outline
from keystile.analysis.resolve import Resolved
from keystile.analysis.scope import SpelledRoutine
from keystile.analysis.text import quoted, written
from keystile.model.facts import Action
from keystile.model.schema import Argument, Routine, RoutineId, RoutineKind, TableId

SQL = "SQL"

_BEFORE, _AFTER = "SELECT (\n", "\n)"
_CALLED_IN_QUERIES = {
    RoutineKind.SCALAR: "FUNCTION",
    RoutineKind.AGGREGATE: "AGGREGATE FUNCTION",
    RoutineKind.TABLE_VALUED: "TABLE FUNCTION",
}


class KnownRoutine(msgspec.Struct, frozen=True):
    """A routine with its types, and what its text does.

    `texts` say what its text says, views in it replaced step by step; `tables` are all that it
    names and `calls` the routines that it calls. Nothing is known of the text of one in another
    language than SQL: `action` then says what calling it is to policy.
    """

    routine: Routine
    texts: tuple[Resolved, ...] = ()
    tables: tuple[TableId, ...] = ()
    calls: tuple[RoutineId, ...] = ()
    action: Action | None = None

    def spelled(self, path: tuple[str, ...], beneath: tuple[KnownRoutine, ...]) -> SpelledRoutine:
        """Give it under a path, with all that it and the routines beneath it read."""
        every = (self, *beneath)
        reads = {use.column for known in every for text in known.texts for use in text.columns}
        tables = {table for known in every for table in known.tables}
        return SpelledRoutine(path, self.routine, tuple(sorted(reads)), tuple(sorted(tables)))


def is_callable(routine: Routine) -> bool:
    """Tell whether queries can call it: procedures are for CALL."""
    return routine.kind in _CALLED_IN_QUERIES


def of_another_language(routine: Routine) -> KnownRoutine | None:
    """Give a routine whose text nobody here reads; None where its types are not declared.

    JavaScript runs within BigQuery, without a way out. Whatever else there is may send its
    arguments anywhere.
    """
    typed = routine.returns is not None and not is_templated(routine)
    if not typed or routine.kind is RoutineKind.TABLE_VALUED:
        return None
    inside = routine.language == "JAVASCRIPT" and not routine.remote
    return KnownRoutine(routine, action=Action.ROUTINE if inside else Action.EXTERNAL)


def is_templated(routine: Routine) -> bool:
    """Tell whether some argument may have any type."""
    return any(argument.type is None for argument in routine.arguments)


def question(routine: Routine) -> str:
    """Give a query that names what the routine's text names."""
    if routine.kind is RoutineKind.TABLE_VALUED:
        return routine.body
    return f"{_BEFORE}{routine.body}{_AFTER}"


def body(routine: Routine, canonical: str) -> str:
    """Give the routine's text in canonical spelling; `canonical` is that of its `question`."""
    if routine.kind is RoutineKind.TABLE_VALUED:
        return canonical
    return canonical.removeprefix(_BEFORE).removesuffix(_AFTER)


def definition(routine: Routine, text: str) -> str:
    """Give the statement that would make the routine; the engine finds its types in it."""
    if routine.kind is RoutineKind.TABLE_VALUED:
        # Of which types its columns are, its text says.
        routine = msgspec.structs.replace(routine, columns=())
        return f"{heading('CREATE TEMP', routine, '`routine`')} AS\n{text}"
    return f"{heading('CREATE TEMP', routine, '`routine`')} AS (\n{text}\n)"


def heading(create: str, routine: Routine, path: str) -> str:
    """Begin the statement that makes a routine under a path, up to the types that it gives."""
    arguments = ", ".join(map(_declared, routine.arguments))
    head = f"{create} {_CALLED_IN_QUERIES[routine.kind]} {path}({arguments})"
    columns = ", ".join(f"{quoted(one.name)} {written(one.sql_type)}" for one in routine.columns)
    if routine.kind is RoutineKind.TABLE_VALUED:
        return f"{head} RETURNS TABLE<{columns}>" if columns else head
    return f"{head} RETURNS {written(routine.returns)}" if routine.returns else head


def doubt_of_templated(routine: Routine, outline: Outline) -> str:
    """Say what is not understood of a text whose types are those of each call."""
    if routine.kind is not RoutineKind.SCALAR:
        return "an argument of any type"
    return doubt_of_any_type((*outline.named, *outline.calls), outline.functions)


def _declared(argument: Argument) -> str:
    type_ = written(argument.type) if argument.type else "ANY TYPE"
    return f"{quoted(argument.name)} {type_}{'' if argument.aggregated else ' NOT AGGREGATE'}"
