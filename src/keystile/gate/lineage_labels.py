"""Which labels the columns that a statement writes get from what it reads unmasked.

What is masked for an agent it writes masked, and nothing follows from that. What it sees as it is,
by a rule or by approval, it may write anywhere: the label goes with the value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from keystile.analysis.analysed import Analysed
from keystile.analysis.temporary import is_temporary
from keystile.gate.read_results import Understood
from keystile.masking.within import Within, names_of
from keystile.model.decision import Decision, NewLabel
from keystile.model.errors import RefusedError
from keystile.model.facts import QueryFacts
from keystile.model.schema import ColumnRef, Table, TableId
from keystile.policy.labels import leaves
from keystile.policy.policy import Policy


class _Source(NamedTuple):
    """What a written column derives from; `same` where it has the values of that as they are."""

    ref: ColumnRef
    same: ColumnRef | None = None


def inherited(
    analysed: Analysed, understood: Understood, decision: Decision, policy: Policy
) -> tuple[NewLabel, ...]:
    """Give the labels that columns of tables get by a statement that was decided on.

    INVARIANT: a written column gets every label of every column that its values derive from, but
    for those that are masked for the agent, whatever way through the statement they take.
    """
    known = {table.id: table for table in understood.tables}
    sources = _sources(analysed, understood.facts, known)
    if not sources:
        return ()
    masked = Within(names_of(mask.column) for mask in decision.masks)
    labelled = {
        id_: [
            (leaf, labels, policy.derived(table).get(path, frozenset()))
            for path, labels in policy.labels(table).items()
            if not masked.covers(names_of(leaf := ColumnRef(id_, path)))
        ]
        for id_, table in known.items()
    }
    found = {
        _new(column, label, leaf, source, derived)
        for column, several in sources.items()
        if not is_temporary(column.table)
        for source in several
        for leaf, labels, derived in labelled.get(source.ref.table, ())
        if _touch(source.ref, leaf)
        for label in labels
    }
    return tuple(sorted(found))


def _new(
    column: ColumnRef, label: str, leaf: ColumnRef, source: _Source, derived: AbstractSet[str]
) -> NewLabel:
    if source.same is None:
        return NewLabel(column, label, leaf, derived=True)
    path = (*column.path, *leaf.path[len(source.same.path) :])
    return NewLabel(ColumnRef(column.table, path), label, leaf, derived=label in derived)


def refuse_former(analysed: Analysed) -> None:
    """Raise `RefusedError` for an older state of a table that held labelled values then."""
    each = [analysed, *(part.analysed for part in analysed.parts)]
    tables = {table.id: table for one in each for table in one.tables}
    for scan in (scan for one in each for scan in one.scans if scan.past):
        if (table := tables.get(scan.table)) and table.former:
            raise RefusedError(
                f"`{scan.table}` held labelled values before its rows were replaced, so its older"
                " states are not read",
                hint="leave FOR SYSTEM_TIME AS OF out",
            )


def _sources(
    analysed: Analysed, facts: QueryFacts, known: Mapping[TableId, Table]
) -> dict[ColumnRef, set[_Source]]:
    """Give what each written column derives from; of what a script writes and reads again, too."""
    found: dict[ColumnRef, set[_Source]] = {}
    for written in facts.lineage:
        same = written.same
        found.setdefault(written.column, set()).update(
            _Source(ref, same if same and _touch(same, ref) else None) for ref in written.sources
        )
    for column, source in _copied(analysed, facts, known):
        found.setdefault(column, set()).add(_Source(source, source))
    growing = bool(analysed.parts)
    while growing:
        further = {column: _further(several, found) for column, several in found.items()}
        growing, found = further != found, further
    return found


def _further(several: set[_Source], found: Mapping[ColumnRef, set[_Source]]) -> set[_Source]:
    """Add what those of the sources derive from that the same script writes."""
    nearer = (found[near] for one in several for near in found if _touch(one.ref, near))
    return several | {_Source(far.ref) for each in nearer for far in each}


def _copied(
    analysed: Analysed, facts: QueryFacts, known: Mapping[TableId, Table]
) -> Iterator[tuple[ColumnRef, ColumnRef]]:
    """Give each column that is copied as it is, and the one that it is a copy of."""
    copies = [(one.facts.writes, one.copied) for one in (analysed, *_parts(analysed))]
    if facts.statement == "COPY":
        copies.append((facts.writes, facts.reads))
    for targets, ids in copies:
        for id_ in ids:
            for path in leaves(known[id_].fields) if id_ in known else ():
                for target in targets:
                    yield ColumnRef(target, path), ColumnRef(id_, path)


def _parts(analysed: Analysed) -> Iterator[Analysed]:
    return (part.analysed for part in analysed.parts)


def _touch(one: ColumnRef, other: ColumnRef) -> bool:
    """Tell whether a column is the other, or a STRUCT around it or a field in it."""
    return one.table == other.table and all(
        a.lower() == b.lower() for a, b in zip(one.path, other.path, strict=False)
    )
