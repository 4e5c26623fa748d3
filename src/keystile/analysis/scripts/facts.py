"""What a whole script does: the facts of its parts put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from keystile.analysis.analysed import AnalysedPart
from keystile.analysis.scope import SYSTEM, Scope
from keystile.analysis.scripts.parts import Role, Script
from keystile.analysis.temporary import is_temporary
from keystile.model.facts import (
    Action,
    ColumnUse,
    Opaque,
    OutputColumn,
    QueryFacts,
    Use,
    WrittenColumn,
)
from keystile.model.schema import ColumnRef, TableId

Carrier = int | TableId
"""What takes values from one statement to the next: a variable's number, or a temporary table."""

_SYSTEM = -1
"""The carrier that all system variables are."""

_STORING = frozenset({Action.WRITE, Action.SCHEMA_CHANGE})


def script_scope(parts: Iterable[AnalysedPart]) -> Scope:
    """Give every table of BigQuery's that some part names."""
    tables = (table for part in parts for table in part.analysed.scope.tables)
    return Scope(tuple(dict.fromkeys(t for t in tables if not is_temporary(t.table.id))))


def script_facts(script: Script, parts: Sequence[AnalysedPart], first: int = 0) -> QueryFacts:
    """Put the facts together, of the parts from the `first` on.

    INVARIANT: values that go through variables and temporary tables count as used in every way
    that these are used in, so that no condition of a policy is passed by going round.
    """
    flow, parts = _Flow(parts), parts[first:]
    facts = QueryFacts(
        statement="SELECT" if script.plain else "SCRIPT",
        actions=_actions(script, parts),
        columns=flow.columns(first),
        output=tuple(column for part in parts for column in flow.output(part)),
        opaque=tuple(dict.fromkeys((*script.opaque, *_opaque(parts)))),
        written=tuple(
            written for part in parts for written in flow.written(part, part.analysed.facts.written)
        ),
        lineage=tuple(
            written for part in parts for written in flow.written(part, part.analysed.facts.lineage)
        ),
    )
    rest = set(QueryFacts.__struct_fields__) - {
        "statement",
        "actions",
        "columns",
        "output",
        "opaque",
        "written",
        "lineage",
        # Which of its statements run, nobody knows.
        "anew",
    }
    return msgspec.structs.replace(facts, **{name: _united(name, parts) for name in sorted(rest)})


def _actions(script: Script, parts: Iterable[AnalysedPart]) -> tuple[Action, ...]:
    found = set() if script.plain else set(script.actions)
    for part in parts:
        facts, statement = part.analysed.facts, part.part.role in {Role.STATEMENT, Role.DYNAMIC}
        actions = set(facts.actions)
        if facts.writes and all(is_temporary(table) for table in facts.writes):
            actions -= _STORING  # the script's own business
        if not statement and not facts.reads:
            actions -= {Action.READ}  # an expression that reads nothing
        found |= actions
    return tuple(action for action in Action if action in found)


def _opaque(parts: Iterable[AnalysedPart]) -> Iterable[Opaque]:
    for part in parts:
        yield from part.analysed.facts.opaque


def _united(name: str, parts: Iterable[AnalysedPart]) -> tuple[Any, ...]:
    found = dict.fromkeys(item for part in parts for item in getattr(part.analysed.facts, name))
    return tuple(sorted((item for item in found if not _is_own(item)), key=_order))


def _order(item: Any) -> Any:
    return str(item)


def _is_own(item: Any) -> bool:
    """Tell a fact about a temporary table."""
    table = getattr(getattr(item, "column", None), "table", item)
    return isinstance(table, TableId) and is_temporary(table)


class _Flow:
    """What goes where, whatever the order: an over-estimate."""

    def __init__(self, parts: Sequence[AnalysedPart]) -> None:
        self._parts = parts
        self._held: dict[Carrier, set[ColumnRef]] = {}
        self._deciding: set[ColumnRef] = set()
        while self._grow():
            pass

    def columns(self, first: int) -> tuple[ColumnUse, ...]:
        """Give every use of every column of BigQuery's, by the parts from the `first` on."""
        uses: dict[ColumnRef, set[Use]] = {}
        choosing = {using.part for part in self._parts for using in part.part.using}
        choosing |= {n for n, part in enumerate(self._parts) if part.part.role is Role.CONDITION}
        for number, part in enumerate(self._parts[first:], first):
            more = {Use.FILTER} if number in choosing else set[Use]()
            for use in part.analysed.facts.columns:
                for column in self._behind(use.column):
                    uses.setdefault(column, set()).update(use.uses, more)
            for variable in _named(part):
                for column in self._held.get(variable, ()):
                    uses.setdefault(column, set()).update({Use.OUTPUT, Use.FILTER})
        order = list(Use)
        return tuple(
            ColumnUse(column, tuple(sorted(uses[column], key=order.index)))
            for column in sorted(uses)
        )

    def output(self, part: AnalysedPart) -> Iterable[OutputColumn]:
        """Give the result columns of a part that shows a result."""
        if not shows_result(part):
            return
        carried = self._carried(part) | self._deciding
        for column in part.analysed.facts.output:
            sources = tuple(sorted(self._sources(column.sources) | carried))
            yield msgspec.structs.replace(column, sources=sources, same=None)

    def written(
        self, part: AnalysedPart, columns: Iterable[WrittenColumn]
    ) -> Iterable[WrittenColumn]:
        """Give those of the columns that are BigQuery's, with all that comes into the part."""
        for column in columns:
            if not is_temporary(column.column.table):
                sources = tuple(sorted(self._sources(column.sources) | self._carried(part)))
                same = column.same if set(sources) == set(column.sources) else None
                yield msgspec.structs.replace(column, sources=sources, same=same)

    def _sources(self, columns: Iterable[ColumnRef]) -> set[ColumnRef]:
        return {ref for column in columns for ref in self._behind(column)}

    def _carried(self, part: AnalysedPart) -> set[ColumnRef]:
        """Give what comes into a part by variables and by USING."""
        carried = {ref for carrier in _named(part) for ref in self._held.get(carrier, ())}
        return carried.union(*(self._taken(self._parts[using.part]) for using in part.part.using))

    def _behind(self, column: ColumnRef) -> Iterable[ColumnRef]:
        if is_temporary(column.table):
            return self._held.get(column.table, ())
        return (column,)

    def _grow(self) -> bool:
        before = len(self._deciding), {carrier: len(held) for carrier, held in self._held.items()}
        for part in self._parts:
            taken = self._taken(part)
            if part.part.role is Role.CONDITION:
                self._deciding |= taken
            self._held.setdefault(_SYSTEM, set()).update(taken)
            for carrier in _carriers(part):
                # Which statements run is decided by conditions, and so is what a carrier holds.
                self._held.setdefault(carrier, set()).update(taken, self._deciding)
        return before != (
            len(self._deciding),
            {carrier: len(held) for carrier, held in self._held.items()},
        )

    def _taken(self, part: AnalysedPart) -> set[ColumnRef]:
        facts = part.analysed.facts
        taken = {ref for use in facts.columns for ref in self._behind(use.column)}
        for carrier in (*_named(part), *filter(is_temporary, facts.reads)):
            taken |= self._held.get(carrier, set())
        return taken.union(*(self._taken(self._parts[using.part]) for using in part.part.using))


def shows_result(part: AnalysedPart) -> bool:
    """Tell whether a part's rows may be the script's result."""
    is_statement = part.part.role in {Role.STATEMENT, Role.DYNAMIC}
    return is_statement and part.analysed.facts.statement == "SELECT"


def _named(part: AnalysedPart) -> Iterable[Carrier]:
    """Give the variables that a part names. An error's text and a count of rows tell of all."""
    return (*part.part.uses, *((_SYSTEM,) if SYSTEM in part.part.sql else ()))


def _carriers(part: AnalysedPart) -> Iterable[Carrier]:
    """Give what a part fills."""
    yield from part.part.sets
    yield from filter(is_temporary, part.analysed.facts.writes)
