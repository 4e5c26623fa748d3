"""A text that goes on from what its session ran before.

To the analysis all texts of a session are one script, of which this is the end: so what temporary
tables, functions and variables hold is known as it is inside a script. INVARIANT: what an earlier
text left is known by that text alone; nothing is taken over from what was decided on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from keystile.analysis.analysed import Analysed, AnalysedPart, InSession
from keystile.analysis.catalog import ObjectSource
from keystile.analysis.outline import LEGACY
from keystile.analysis.outlined import OutlineRequest
from keystile.analysis.places import Translation
from keystile.analysis.scope import SYSTEM
from keystile.analysis.scripts.alone import Alone, AloneRequest
from keystile.analysis.scripts.analysis import AnalysePart, Parts, put_together
from keystile.analysis.scripts.facts import script_facts, shows_result
from keystile.analysis.scripts.parts import Role, Script
from keystile.analysis.statement import Statement
from keystile.analysis.tasks import ALONE, SPLIT
from keystile.analysis.temporary import is_temporary
from keystile.googlesql.batched import BatchedRunner
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.facts import Action, Opaque, QueryFacts
from keystile.model.schema import Parameter

_BEGIN_ANEW = "begin another session"


async def analyse_in_session(
    statement: Statement, source: ObjectSource, runner: TaskRunner, analyse: AnalysePart
) -> Analysed:
    """Analyse the newest text of a session. Raises as `Analyst.analyse` does."""
    alone = await runner.run(ALONE, AloneRequest(statement.sql))
    head = "".join(one.sql for one in statement.earlier)
    begins = len(head.encode())
    whole = msgspec.structs.replace(
        statement, sql=head + statement.sql, parameters=_together(statement)
    )
    script = await _split(whole, statement.sql, begins, runner)
    parts = await Parts(whole, source, script, BatchedRunner(runner), analyse, begins).all()
    first = sum(part.part.start < begins for part in parts)
    script = msgspec.structs.replace(
        script, opaque=(*script.opaque, *_doubts(statement.sql, script, parts[first:]))
    )
    analysed = put_together(whole, script, parts)
    every = _with_session(analysed.facts)
    own = parts[first:]
    kind = own[0].analysed.facts.statement if _is_one(alone, own) else "SCRIPT"
    facts = msgspec.structs.replace(
        _with_session(script_facts(script, parts, first)), statement=kind
    )
    return msgspec.structs.replace(
        analysed,
        facts=facts,
        schema=own[0].analysed.schema if kind == "SELECT" else (),
        results=tuple(dict.fromkeys(part.analysed.schema for part in own if shows_result(part))),
        session=InSession(
            begins=begins,
            sent="".join(one.sent for one in statement.earlier),
            all_facts=every,
            parameters=statement.parameters,
            leaves=_leaves(script, own, first),
            several=not _is_one(alone, own),
            temporary=tuple(sorted(_temporary(parts))),
            ending=alone.ending,
        ),
    )


async def _split(whole: Statement, own: str, begins: int, runner: TaskRunner) -> Script:
    """Take all texts of a session apart, with places as those of the newest one."""
    places = Translation(whole.sql, own, lambda at: max(0, at - begins))
    request = OutlineRequest(whole.sql, whole.project, whole.dataset)
    try:
        script = await runner.run(SPLIT, request)
    except InvalidQueryError as error:
        if not begins:
            raise
        hint = error.hint or f"variables are declared in the first text of a session; {_BEGIN_ANEW}"
        found = InvalidQueryError(error.message, hint=hint, place=error.place)
        raise places.error(found) from error
    return msgspec.structs.replace(script, opaque=places.opaque(script.opaque))


def _together(statement: Statement) -> tuple[Parameter, ...]:
    """Give the parameters of all texts: named ones by name, others in their order."""
    found = [*(p for one in statement.earlier for p in one.parameters), *statement.parameters]
    named: dict[str, Parameter] = {}
    for parameter in found:
        known = named.setdefault(parameter.name.lower(), parameter)
        if parameter.name and known.type != parameter.type:
            raise RefusedError(
                f"the parameter `{parameter.name}` had another type before in this session",
                hint="give it another name",
            )
    if len({bool(parameter.name) for parameter in found}) > 1:
        raise RefusedError(
            "this session has used query parameters of the other kind before",
            hint=f"use `@name` or `?` in all of a session, or {_BEGIN_ANEW}",
        )
    return tuple(named.values()) if found and found[0].name else tuple(found)


def _is_one(alone: Alone, own: Sequence[AnalysedPart]) -> bool:
    """Tell whether a text is a single statement, which BigQuery does not run as a script."""
    return not alone.script and len(own) == 1 and own[0].part.role is Role.STATEMENT


def _leaves(script: Script, own: Sequence[AnalysedPart], first: int) -> bool:
    """Tell whether a text leaves something for those after it."""
    return any(variable.part >= first for variable in script.variables) or any(
        part.part.function or part.part.sets or any(map(is_temporary, part.analysed.facts.writes))
        for part in own
    )


def _temporary(parts: Sequence[AnalysedPart]) -> set[str]:
    written = {table for part in parts for table in part.analysed.facts.writes}
    return {table.table for table in written if is_temporary(table)}


def _doubts(sql: str, script: Script, own: Sequence[AnalysedPart]) -> Iterator[Opaque]:
    """Give what is understood in a script, and not in a session."""
    if LEGACY.match(sql):
        yield Opaque("`#legacySQL` directive", 1, 1, "write GoogleSQL, and leave this line out")
    if Action.SESSION in script.actions:
        # INVARIANT: which of a session's tables a rollback would take away is always known.
        yield Opaque("a transaction in a session", hint="run it as a job without a session")
    if any(SYSTEM in part.part.sql for part in own):
        # They would tell of texts that left nothing else, and are not remembered.
        yield Opaque("a system variable in a session", hint="run it as a job without a session")


def _with_session(facts: QueryFacts) -> QueryFacts:
    actions = {*facts.actions, Action.SESSION}
    return msgspec.structs.replace(
        facts, actions=tuple(action for action in Action if action in actions)
    )
