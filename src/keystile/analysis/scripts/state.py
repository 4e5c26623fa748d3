"""What a name may mean at a place of a script, whatever way the script took to get there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from keystile.analysis.temporary import is_temporary
from keystile.model.schema import TableId

BEFORE = -1
"""Among what may have made a table: nothing of the script did."""

CHANGED = -2
"""Among what may have made a table: a statement after which its columns are not known."""

State = Mapping[TableId, frozenset[int]]
"""By table, the numbers of the texts that may have made it; one that is missing is `BEFORE`."""

_UNTOUCHED = frozenset({BEFORE})


class _Loop(NamedTuple):
    """The ways out of and back to the beginning of a loop or a labelled block."""

    label: str
    repeats: bool
    left: list[State]
    continued: list[State]


def makers(state: State, table: TableId) -> frozenset[int]:
    """Give what may have made a table."""
    return state.get(table, _UNTOUCHED)


class Flow:
    """Follows a script's ways and keeps the state of the place reached.

    INVARIANT: a state holds for every way to its place: where ways meet, states unite; a loop is
    gone through until nothing is added; a handler may be reached from anywhere in its block.
    """

    def __init__(self) -> None:
        """Begin where nothing was made yet."""
        self._here: State | None = {}
        self._loops: list[_Loop] = []
        self._tries: list[list[State]] = []
        self._begun: State | None = None

    @property
    def here(self) -> State:
        """The state of this place; of one that no way leads to, as if nothing was made."""
        return self._here or {}

    def make(self, table: TableId, by: int, *, only_if_missing: bool = False) -> None:
        """Note that a table is made (or dropped, or changed) here."""
        if self._here is None:
            return
        before = makers(self._here, table)
        now = frozenset({by}) | (before if only_if_missing else frozenset())
        if only_if_missing and BEFORE not in before:
            now = before
        elif is_temporary(table) and by != BEFORE:
            now -= _UNTOUCHED  # it is there now, whoever made it
        self._go({**self._here, table: now})

    def begin_transaction(self) -> None:
        """Remember what a rollback goes back to."""
        self._begun = united(self._begun, self._here)

    def roll_back(self) -> None:
        """Go on with what was before the transaction, or with what is now."""
        self._go(united(self._here, self._begun))

    def stop(self) -> None:
        """Go no further: RETURN, RAISE."""
        self._here = None

    def leave(self, label: str, *, again: bool) -> None:
        """Go to the end of the named (or the innermost) loop, or back to its beginning."""
        for loop in reversed(self._loops):
            if (loop.label == label.lower()) if label else loop.repeats:
                if self._here is not None:
                    (loop.continued if again else loop.left).append(self._here)
                break
        self._here = None

    def ways(self) -> Ways:
        """Begin ways of which one is taken."""
        return Ways(self)

    @contextmanager
    def labelled(self, label: str) -> Iterator[None]:
        """Go through a block that BREAK may name."""
        loop = self._enter(label, repeats=False)
        yield
        self._loops.pop()
        self._unite(loop.left)

    def rounds(self, label: str, *, skippable: bool, ends: bool = True) -> Iterator[None]:
        """Go through a loop again and again, until that adds nothing.

        A `skippable` loop may be passed over; one that does not end by itself ends by BREAK.
        """
        entry = self._here
        while True:
            begun = self._begun
            loop = self._enter(label, repeats=True)
            self._here = entry
            yield
            self._loops.pop()
            self._unite(loop.continued)
            grown = united(entry, self._here)
            if grown == entry and self._begun == begun:
                break
            entry = grown
        if not ends:
            self._here = None
        self._unite([*loop.left, *([entry] if skippable and entry is not None else [])])

    @contextmanager
    def trying(self) -> Iterator[list[State]]:
        """Go through a block; what it gives grows to all states that an error may come from."""
        seen: list[State] = [self._here] if self._here is not None else []
        self._tries.append(seen)
        yield seen
        self._tries.pop()

    def handle(self, seen: list[State]) -> None:
        """Go on in the handler of a block."""
        self._here = None
        self._unite(seen)
        if self._here is not None:
            # INVARIANT: an error may have rolled back the transaction that it happened in.
            self._here = united(self._here, self._begun)

    def now(self) -> State | None:
        """Give the state to go on from later; None where no way leads here."""
        return self._here

    def resume(self, state: State | None) -> None:
        """Go on from another state."""
        self._here = state

    def _enter(self, label: str, *, repeats: bool) -> _Loop:
        loop = _Loop(label.lower(), repeats, [], [])
        self._loops.append(loop)
        return loop

    def _go(self, state: State | None) -> None:
        self._here = state
        if state is not None:
            for seen in self._tries:
                seen.append(state)

    def _unite(self, states: list[State]) -> None:
        for state in states:
            self._here = united(self._here, state)


class Ways:
    """Ways that part at one place and meet at another."""

    def __init__(self, flow: Flow) -> None:
        """Part here."""
        self._flow = flow
        self._from = flow.now()
        self._ends: State | None = None

    @contextmanager
    def way(self) -> Iterator[None]:
        """Take one way from where they part."""
        self._flow.resume(self._from)
        yield
        self._ends = united(self._ends, self._flow.now())

    def meet(self) -> None:
        """Go on where they meet."""
        self._flow.resume(self._ends)


def united(one: State | None, other: State | None) -> State | None:
    """Give the state of a place that two ways lead to; None where no way does."""
    if one is None or other is None:
        return other if one is None else one
    return {table: makers(one, table) | makers(other, table) for table in {*one, *other}}
