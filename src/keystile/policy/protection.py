"""What is protected in a table, and by which mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from keystile.model.decision import ColumnMask
from keystile.model.facts import Redefined
from keystile.model.masks import DefaultMask, Mask, NullMask, SqlMask
from keystile.model.schema import ColumnRef, Field, Inherited, Table, TableId
from keystile.model.strength import most_protective, rank
from keystile.policy.labels import Labeller, Mark, Path, ancestors, covers, leaves

_CACHED_TABLES = 4096


class ProtectedTable(msgspec.Struct, frozen=True):
    """What holds for a table that was `made_of` these fields, members and inherited labels.

    `labels` has the labelled leaves. `covered` has every column and field, with each label on it
    or on a leaf below it and all labels above those: what `query.touches` asks. `masks` are those
    that hold where nothing is unmasked. `derived` are those of `labels` that stand for other
    values, made of what is labelled so.
    """

    made_of: tuple[tuple[Field, ...], tuple[Table, ...], tuple[Inherited, ...]]
    labels: Mapping[Path, tuple[str, ...]]
    covered: Mapping[Path, frozenset[str]]
    masks: tuple[ColumnMask, ...]
    derived: Mapping[Path, frozenset[str]]


class PlacedMask(NamedTuple):
    """A mask that an engine must look at, and its file and line."""

    place: str
    mask: SqlMask


class PlacedKey(NamedTuple):
    """The name of a masking key that a mask takes, and its file and line."""

    place: str
    key: str


class Protection:
    """Labels and masks of a policy, applied to tables; remembers the tables that it has seen."""

    def __init__(
        self,
        labeller: Labeller,
        masks: Mapping[str, Sequence[Mask]],
        placed: Sequence[PlacedMask] = (),
    ) -> None:
        """Take each label's masks; where it has several the most protective one counts."""
        self.placed = tuple(placed)
        self._labeller = labeller
        self._masks = {label: most_protective(several) for label, several in masks.items()}
        self._seen: dict[TableId, ProtectedTable] = {}

    def of(self, table: Table) -> ProtectedTable:
        """Give what is protected in `table`.

        INVARIANT: the answer depends on the table's id, fields and inherited labels alone, and on
        those of a wildcard's members; an etag that should have changed and did not cannot serve the
        labels of an older schema.
        """
        known = self._seen.get(table.id)
        # Mostly these are the same objects, which are not compared.
        if known is not None and known.made_of == (table.fields, table.members, table.inherited):
            return known
        if len(self._seen) >= _CACHED_TABLES:
            self._seen.clear()
        made = self._seen[table.id] = self._protect(table)
        return made

    def marks(self, table: Table) -> Mapping[Path, frozenset[Mark]]:
        """Give every label of a table's leaves, with why they have it."""
        return self._labeller.marks(table)

    def lost(self, table: Table, redefined: Sequence[Redefined]) -> tuple[Path, str] | None:
        """Give a column that would lose what labels it: see `Labeller.lost`."""
        return self._labeller.lost(table, redefined)

    def masks(
        self, tables: Iterable[Table], lifted: Mapping[TableId, frozenset[str]]
    ) -> tuple[ColumnMask, ...]:
        """Give the masks that hold on these tables; `lifted` has unmask rights, by table.

        A column is shown only where every label on it is lifted.
        """
        found: list[ColumnMask] = []
        for table in tables:
            protected = self.of(table)
            if lifted and (rights := lifted[table.id]):
                labels, derived = protected.labels, protected.derived
                found += self._column_masks(table.id, labels, derived, rights)
            else:
                found += protected.masks
        return tuple(found)

    def mask(self, label: str) -> Mask:
        """Give the mask of the label or of the nearest one above it, else the type's default."""
        return next(
            (self._masks[up] for up in ancestors(label) if up in self._masks), DefaultMask()
        )

    def _protect(self, table: Table) -> ProtectedTable:
        labels, derived = self._labeller.labels(table), self._labeller.derived(table)
        covered: dict[Path, set[str]] = {}
        for path in leaves(table.fields):
            above = {up for label in labels.get(path, ()) for up in ancestors(label)}
            for depth in range(1, len(path) + 1):
                covered.setdefault(path[:depth], set()).update(above)
        return ProtectedTable(
            (table.fields, table.members, table.inherited),
            labels,
            {path: frozenset(found) for path, found in covered.items()},
            self._column_masks(table.id, labels, derived, frozenset()),
            derived,
        )

    def _column_masks(
        self,
        table: TableId,
        labels: Mapping[Path, tuple[str, ...]],
        derived: Mapping[Path, frozenset[str]],
        lifted: frozenset[str],
    ) -> tuple[ColumnMask, ...]:
        found = []
        for path, on_column in labels.items():
            left = [label for label in on_column if lifted.isdisjoint(ancestors(label))]
            if left:
                label, mask = self._strongest(left)
                if made := sorted(derived.get(path, frozenset()) & set(left)):
                    # INVARIANT: a mask is made for the values of the labelled column. Of others it
                    # may show what it hides of these: the end of what was reversed.
                    label, mask = made[0], NullMask()
                found.append(ColumnMask(ColumnRef(table, path), label, mask))
        return tuple(found)

    def _strongest(self, labels: Sequence[str]) -> tuple[str, Mask]:
        """Choose among a column's labels: of each branch the lowest, of these the strongest.

        `pii.email` beside `pii` says the same more exactly; `secret` beside them says something
        else, so its mask counts as well.
        """
        lowest = [
            label
            for label in labels
            if not any(other != label and covers(label, other) for other in labels)
        ]
        chosen = [(label, self.mask(label)) for label in lowest]
        return min(chosen, key=lambda pair: (rank(pair[1]), pair[0]))
