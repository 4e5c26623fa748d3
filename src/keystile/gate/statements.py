"""The statements of a script, and which of them a job of BigQuery's was.

BigQuery makes a job of each statement that a script runs, and of what its expressions read. Agents
see those of statements that stand in the script as they wrote it: what goes into variables, loops
and conditions stays in the script, and whoever approves it need not expect to see it released.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from keystile.analysis.analysed import Analysed, AnalysedPart
from keystile.analysis.places import engine_places
from keystile.analysis.scope import SYSTEM
from keystile.analysis.scripts.parts import Role
from keystile.analysis.temporary import is_temporary
from keystile.masking.script import RewrittenPart
from keystile.model.facts import Action, QueryFacts
from keystile.model.schema import ColumnRef, Field, TableId
from keystile.upstream.values import ScriptJob
from keystile.wire.scripts import StackFrame


class ScriptStatement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A statement of a script: `sql` as the agent wrote it, `runs` as BigQuery runs it.

    `start` and `end` are its bytes in the agent's script, `at` is where it begins in the one that
    runs. A `dynamic` one is run by EXECUTE IMMEDIATE; these are the places of what gives its text
    there. `schema` is the result's. `masked` are the columns whose masked values may be in it.
    """

    sql: str
    runs: str
    start: int
    end: int
    at: int
    dynamic: bool
    statement: str
    actions: tuple[Action, ...]
    schema: tuple[Field, ...] = ()
    reads: tuple[TableId, ...] = ()
    writes: tuple[TableId, ...] = ()
    masked: tuple[ColumnRef, ...] = ()

    @property
    def facts(self) -> QueryFacts:
        """What its owner is told that it does."""
        return QueryFacts(self.statement, self.actions, self.reads, self.writes)


class Recognised(msgspec.Struct, frozen=True):
    """A statement that has run, and where it stands, in the agent's words."""

    statement: ScriptStatement
    frames: tuple[StackFrame, ...]


def statements_of(
    analysed: Analysed, runs: Iterable[RewrittenPart], masked: Collection[ColumnRef]
) -> tuple[ScriptStatement, ...]:
    """Give the statements whose results go to nobody but the agent; none of a text that is one.

    `masked` are the columns that the script uses and reads masked.
    """
    if analysed.facts.statement != "SCRIPT":
        return ()
    begins = analysed.session.begins if analysed.session else 0
    own = (part for part in analysed.parts if part.part.start >= begins)
    return tuple(
        _statement(part, begins, run, masked)
        for part, run in zip(own, runs, strict=True)
        if part.part.role in {Role.STATEMENT, Role.DYNAMIC} and not part.part.sets
    )


class Recogniser:
    """Tells which statement of one script a job was."""

    def __init__(self, sql: str, runs: str, statements: tuple[ScriptStatement, ...]) -> None:
        """Take the script as the agent wrote it and as it ran."""
        self._statements = statements
        self._at = engine_places(runs, (one.at for one in statements))
        self._own = engine_places(sql, (at for one in statements for at in (one.start, one.end)))
        self._meanings = [_meaning(one) for one in statements]
        self._by_text: dict[tuple[str, bool], list[int]] = {}
        for number, one in enumerate(statements):
            key = _bare(one.runs), one.statement == "SELECT"
            self._by_text.setdefault(key, []).append(number)

    def statement(self, job: ScriptJob) -> Recognised | None:
        """Give the statement; None where the job was none or that is not certain.

        INVARIANT: only words of the agent's are told, and nothing of what expressions read.
        """
        if not job.statement or any(frame.procedure for frame in job.frames):
            return None
        texts = {_bare(job.sql), *(_bare(frame.text) for frame in job.frames[:1])}
        same = [n for text in texts for n in self._by_text.get((text, job.is_select), ())]
        there = [number for number in same if self._holds(job.frames, number)]
        likely = there or same
        if len({self._meanings[number] for number in likely}) != 1:
            return None
        one = self._statements[likely[0]]
        certain = len(there) == 1 and not one.dynamic
        return Recognised(one, (self._frame(one),) if certain else ())

    def _holds(self, frames: tuple[StackFrame, ...], number: int) -> bool:
        """Tell whether a job says that the script was at this statement."""
        if not frames:
            return False
        return frames[-1].start <= self._at[self._statements[number].at] < frames[-1].end

    def _frame(self, one: ScriptStatement) -> StackFrame:
        return StackFrame(self._own[one.start], self._own[one.end], one.sql)


def _statement(
    part: AnalysedPart, begins: int, run: RewrittenPart, masked: Collection[ColumnRef]
) -> ScriptStatement:
    facts = part.analysed.facts
    return ScriptStatement(
        sql=part.part.sql,
        runs=run.sql,
        start=part.part.start - begins,
        end=part.part.end - begins,
        at=run.at,
        dynamic=part.part.role is Role.DYNAMIC,
        statement=facts.statement,
        actions=facts.actions,
        schema=part.analysed.schema,
        reads=tuple(table for table in facts.reads if not is_temporary(table)),
        writes=tuple(table for table in facts.writes if not is_temporary(table)),
        masked=_masked(part, masked),
    )


def _masked(part: AnalysedPart, masked: Collection[ColumnRef]) -> tuple[ColumnRef, ...]:
    """Give the masked columns that a statement uses; all, where values of other statements come."""
    facts = part.analysed.facts
    temporary = any(map(is_temporary, facts.reads))
    if temporary or part.part.uses or part.part.using or SYSTEM in part.part.sql:
        return tuple(masked)
    used = {use.column for use in facts.columns}
    return tuple(column for column in masked if column in used)


def _bare(text: str) -> str:
    return text.strip().rstrip(";").rstrip()


def _meaning(one: ScriptStatement) -> bytes:
    """Give all of a statement but where it stands."""
    return msgspec.json.encode(msgspec.structs.replace(one, start=0, end=0, at=0, dynamic=False))
