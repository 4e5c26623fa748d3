"""Looks through one result: for what, in which of its columns, and what becomes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from keystile.detecting.finder import Finder, Found
from keystile.detecting.rows import Rows, TextRows
from keystile.gate.plan import Plan
from keystile.masking.cell import masked_cell
from keystile.model.decision import Detection
from keystile.model.errors import RefusedError
from keystile.model.masks import KEYED
from keystile.model.schema import ColumnRef, Field, SqlType
from keystile.model.strength import rank

_SECONDS = 10.0
_STRING = SqlType("STRING")

_Wanted = Mapping[str, tuple[Detection, ...]]
"""What is looked for in a column: by entity, the entries of the policy that say so."""


class Finding(msgspec.Struct, frozen=True):
    """So many values of an entity in one column of a result, or one field of it.

    `columns` are the unlabelled ones of tables that they may come from.
    """

    column: str
    entity: str
    label: str
    count: int
    columns: tuple[str, ...] = ()


class Caught(NamedTuple):
    """Rows as they may be given, and what was found in them."""

    rows: Rows
    findings: tuple[Finding, ...] = ()


class Look:
    """Looks through rows of one result, as its plan's decision says."""

    def __init__(self, plan: Plan, schema: Sequence[Field], keys: Mapping[str, bytes]) -> None:
        """`keys` are those of keyed masks, by name."""
        detections = plan.decision.detections
        own = {one.entity: one.pattern for one in detections if one.pattern}
        self._keys = keys
        self._finder = _finder(
            frozenset(one.entity for one in detections if not one.pattern), tuple(own.items())
        )
        every = tuple(sorted({use.column for use in plan.facts.columns}))
        sources = _sources(plan, len(schema)) or [every] * len(schema)
        masked = frozenset(plan.masked)
        self._wanted = [_wanted(detections, behind, masked) for behind in sources]
        self._in_errors = _wanted(detections, every, masked)
        self._columns = [
            tuple(str(one) for one in behind if one not in masked and not plan.labels.get(str(one)))
            for behind in sources
        ]
        self._rows = TextRows(schema, [at for at, wanted in enumerate(self._wanted) if wanted])

    def through(self, rows: Rows) -> Caught:
        """Give rows with what was found in them masked.

        Raises `RefusedError` where an entry keeps a value back, `TimeoutError` where it takes too
        long, and `ValueError` or `TypeError` for what is no row of the schema.
        """
        if self._rows.is_empty:
            return Caught(rows)
        opened = self._rows.opened(rows)
        texts = opened.texts
        counts: Counter[tuple[int, str, str, str]] = Counter()
        for place, found in self._find(texts).items():
            at, path = opened.column(place)
            text, values = self._replaced(texts[place], found, self._wanted[at], f"column `{path}`")
            if values:
                opened.replace(place, text)
            counts.update((at, path, value.entity, value.label) for value in values)
        findings = tuple(
            Finding(path, entity, label, count, self._columns[at])
            for (at, path, entity, label), count in sorted(counts.items())
        )
        return Caught(opened.closed(), findings)

    def counted(self, rows: Rows) -> Counter[tuple[int, str, Detection]]:
        """Count what entries look for in rows, by column of the result, path of the field, entry.

        Nothing is done to the rows, nor kept back. Raises `TimeoutError`, `ValueError` and
        `TypeError` as `through` does.
        """
        counts: Counter[tuple[int, str, Detection]] = Counter()
        if self._rows.is_empty:
            return counts
        opened = self._rows.opened(rows)
        for place, found in self._find(opened.texts).items():
            at, path = opened.column(place)
            wanted = self._wanted[at]
            for one in found:
                by = {entry for name in one.entities for entry in wanted.get(name, ())}
                counts.update((at, path, entry) for entry in by)
        return counts

    def sources(self, at: int) -> tuple[str, ...]:
        """Name the unlabelled columns of tables that a column of the result may come from."""
        return self._columns[at]

    def told(self, text: str) -> str:
        """Give what BigQuery says of a failure with what was found in it masked."""
        found = self._find([text]).get(0, ())
        return self._replaced(text, found, self._in_errors, "an error's text")[0]

    def _find(self, texts: Sequence[str]) -> dict[int, tuple[Found, ...]]:
        return self._finder.find(texts, time.monotonic() + _SECONDS)

    def _replaced(
        self, text: str, found: Iterable[Found], wanted: _Wanted, where: str
    ) -> tuple[str, list[Detection]]:
        """Put masks in the places of values; gives what each was masked by too."""
        whole, at = text.encode(), 0
        parts: list[bytes] = []
        values: list[Detection] = []
        for one in found:
            by = [entry for name in one.entities for entry in wanted.get(name, ())]
            if not by:
                continue
            _refuse_kept_back(by, where)
            strongest = min(by, key=lambda entry: rank(entry.mask))
            value = whole[one.start : one.end].decode(errors="replace")
            mask = strongest.mask
            key = self._keys[mask.key] if isinstance(mask, KEYED) else b""
            masked = masked_cell(mask, _STRING, value, key)
            parts += [whole[at : one.start], str(masked).encode()]
            values.append(strongest)
            at = one.end
        return b"".join((*parts, whole[at:])).decode(errors="replace"), values


def _refuse_kept_back(by: Iterable[Detection], where: str) -> None:
    for entry in by:
        if entry.deny:
            raise RefusedError(
                f"rule `{entry.rule}` keeps this result back: {where} holds what looks like"
                f" `{entry.entity}`",
                hint="leave the column out, or ask the owner of the policy",
            )


def _sources(plan: Plan, width: int) -> list[tuple[ColumnRef, ...]]:
    """Give what each column of the result derives from; nothing where that is not known."""
    output = plan.facts.output
    if plan.facts.statement != "SELECT" or len(output) < width:
        return []
    # The functions that may stand before a query have columns of their own.
    return [column.sources for column in output[len(output) - width :]]


def _wanted(
    detections: Iterable[Detection], sources: Sequence[ColumnRef], masked: frozenset[ColumnRef]
) -> _Wanted:
    """Say what is looked for in what derives from these columns.

    INVARIANT: a value that derives from no column that is known is looked at.
    """
    found: dict[str, tuple[Detection, ...]] = {}
    for one in detections:
        if not sources or not masked.union(one.shown).issuperset(sources):
            found[one.entity] = (*found.get(one.entity, ()), one)
    return found


@lru_cache(maxsize=64)
def _finder(names: frozenset[str], patterns: tuple[tuple[str, str], ...]) -> Finder:
    """Make a finder once: it learns its gate while it is used."""
    return Finder(names, patterns)
