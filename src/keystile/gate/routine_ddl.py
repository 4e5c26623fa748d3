"""Functions that a client makes or drops without SQL, written as the statements they are.

INVARIANT: names stand in backticks and values are literals; the text of a function in SQL is the
agent's own. What comes out is analysed and decided on as if the agent had written it.
"""

from __future__ import annotations

from typing import NamedTuple

from keystile.analysis.made_routines import EnclosedRequest
from keystile.analysis.routines import SQL, heading
from keystile.gate.ddl import path_of
from keystile.masking.literals import text
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import RoutineId, RoutineKind
from keystile.wire.routines import NewRoutine

_DETERMINISM = {None: "", True: " DETERMINISTIC", False: " NOT DETERMINISTIC"}
_DROPPED_AS = {
    RoutineKind.SCALAR.value: "FUNCTION",
    RoutineKind.AGGREGATE.value: "FUNCTION",
    RoutineKind.TABLE_VALUED.value: "TABLE FUNCTION",
    RoutineKind.PROCEDURE.value: "PROCEDURE",
}


class Written(NamedTuple):
    """A statement, and what tells whether the agent's text in it ends where it shall."""

    sql: str
    check: EnclosedRequest | None = None


def create_function(new: NewRoutine, *, replaces: bool) -> Written:
    """Write CREATE FUNCTION, AGGREGATE FUNCTION or TABLE FUNCTION, with OR REPLACE where it may."""
    routine = new.routine
    create = "CREATE OR REPLACE" if replaces else "CREATE"
    head, options = heading(create, routine, path_of(*routine.id.path)), _options(new)
    if routine.language != SQL:
        head = f"{head}{_DETERMINISM[new.deterministic]} LANGUAGE js{options}"
        return Written(f"{head} AS {text(routine.body)}")
    # On lines of its own: a comment in the text must not go on behind it.
    if routine.kind is RoutineKind.TABLE_VALUED:
        sql = f"{head}{options} AS\n{routine.body}\n"
        return Written(sql, EnclosedRequest(sql))
    before, body = f"{head} AS ", f"(\n{routine.body}\n)"
    start = len(before.encode())
    sql = f"{before}{body}{options}"
    return Written(sql, EnclosedRequest(sql, start, start + len(body.encode())))


def drop_routine(id_: RoutineId, kind: str) -> str:
    """Write the DROP of a routine of this kind, as the API names it.

    Raises `InvalidRequestError` where there is none.
    """
    if kind not in _DROPPED_AS:
        raise InvalidRequestError(f"`{id_}` is nothing that can be dropped here")
    return f"DROP {_DROPPED_AS[kind]} {path_of(*id_.path)}"


def _options(new: NewRoutine) -> str:
    listed = [f"description = {text(new.description)}"] if new.description else []
    listed += ["data_governance_type = 'DATA_MASKING'"] if new.masks else []
    return f" OPTIONS ({', '.join(listed)})" if listed else ""
