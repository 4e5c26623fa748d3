"""Which labels a table's leaves carry.

Patterns ignore case in every part: BigQuery's column names do, datasets may, and a label that fits
one column too many hides, where one too few would show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from keystile.model.facts import Redefined
from keystile.model.schema import Field, Table, TableKind
from keystile.policy.patterns import Part, fit, names, parts

Path = tuple[str, ...]


def ancestors(label: str) -> Iterator[str]:
    """Yield `label` and every label above it: `pii.id.ssn`, `pii.id`, `pii`."""
    while label:
        yield label
        label = label.rpartition(".")[0]


def covers(above: str, label: str) -> bool:
    """Tell whether `above` is `label` or stands above it: `pii` covers `pii.ssn`, not `piii`."""
    return label == above or label.startswith(f"{above}.")


class Mark(NamedTuple):
    """A label of a column, and why it has it.

    `why` is the word of the policy (`columns`, `policy_tags` or `descriptions`) and `what` fits
    there; or it is `inherited`.
    """

    label: str
    why: str
    what: str = ""


class Labeller:
    """Finds labels by column pattern, by policy tag and by description."""

    def __init__(self) -> None:
        """Start with no pattern."""
        self._by_last_name: dict[str, list[tuple[tuple[Part, ...], Mark]]] = {}
        self._by_wild_name: list[tuple[tuple[Part, ...], Mark]] = []
        self._by_tag: list[tuple[tuple[Part, ...], Mark]] = []
        self._by_description: list[tuple[str, Mark]] = []

    def add_columns(self, label: str, pattern: str) -> None:
        """Label what `pattern` fits. Raises `ValueError` where it is malformed."""
        compiled = parts(names(pattern), ignore_case=True)
        last, mark = compiled[-1], Mark(label, "columns", pattern)
        if isinstance(last, str):
            self._by_last_name.setdefault(last, []).append((compiled, mark))
        else:
            self._by_wild_name.append((compiled, mark))

    def add_policy_tags(self, label: str, pattern: str) -> None:
        """Label columns with a tag that `pattern` fits. Raises `ValueError` if malformed."""
        mark = Mark(label, "policy_tags", pattern)
        self._by_tag.append((parts(pattern.split("/"), ignore_case=True), mark))

    def add_description(self, label: str, text: str) -> None:
        """Label columns whose description contains `text`. Raises `ValueError` if it is blank."""
        if not text.strip():
            raise ValueError(text)
        self._by_description.append((text.casefold(), Mark(label, "descriptions", text)))

    def labels(self, table: Table) -> dict[Path, tuple[str, ...]]:
        """Give the labels of every labelled leaf, sorted; a STRUCT's labels go to its leaves.

        A leaf of a wildcard has all labels that it has in any member. Metadata has none.
        """
        if table.kind is TableKind.METADATA:
            return {}
        if table.members:
            return self._of_members(table)
        return {
            path: tuple(sorted({mark.label for mark in marks}))
            for path, marks in self.marks(table).items()
        }

    def marks(self, table: Table) -> dict[Path, frozenset[Mark]]:
        """Give every label of every labelled leaf of one table, with why it has it."""
        root = [table.id.project, table.id.dataset, table.id.table]
        full_name = [name.casefold() for name in root]
        found: dict[Path, frozenset[Mark]] = {}
        self._visit(table.fields, (), full_name, frozenset(), found)
        return _with_inherited(table, found) if table.inherited else found

    @staticmethod
    def derived(table: Table) -> dict[Path, frozenset[str]]:
        """Give the labels of those leaves whose values derive from what was labelled so."""
        found: dict[Path, set[str]] = {}
        for member in table.read:
            paths = _lowered(table.fields)
            for one in member.inherited:
                for path in _at(one.path, paths) if one.derived else ():
                    found.setdefault(path, set()).add(one.label)
        return {path: frozenset(labels) for path, labels in found.items()}

    def _of_members(self, wildcard: Table) -> dict[Path, tuple[str, ...]]:
        paths = _lowered(wildcard.fields)
        united: dict[Path, set[str]] = {}
        for member in wildcard.members:
            for labelled, labels in self.labels(member).items():
                for path in _at(tuple(name.lower() for name in labelled), paths):
                    united.setdefault(path, set()).update(labels)
        return {path: tuple(sorted(labels)) for path, labels in sorted(united.items())}

    def _visit(
        self,
        fields: Sequence[Field],
        path: Path,
        full_name: list[str],
        above: frozenset[Mark],
        found: dict[Path, frozenset[Mark]],
    ) -> None:
        for field in fields:
            here = [*full_name, field.name.casefold()]
            marks = above.union(
                self._of_name(here),
                self._of_tags(field.policy_tags),
                self._of_description(field.description),
            )
            if field.fields:
                self._visit(field.fields, (*path, field.name), here, marks, found)
            elif marks:
                found[*path, field.name] = marks

    def _of_name(self, full_name: list[str]) -> Iterator[Mark]:
        for patterns in (self._by_last_name.get(full_name[-1], ()), self._by_wild_name):
            for pattern, mark in patterns:
                if fit(pattern, full_name[-len(pattern) :]):
                    yield mark

    def _of_tags(self, tags: Sequence[str]) -> Iterator[Mark]:
        for tag in tags:
            segments = tag.casefold().split("/")
            yield from (mark for pattern, mark in self._by_tag if fit(pattern, segments))

    def _of_description(self, description: str) -> Iterator[Mark]:
        if description and self._by_description:
            said = description.casefold()
            yield from (mark for text, mark in self._by_description if text in said)

    def lost(self, table: Table, redefined: Sequence[Redefined]) -> tuple[Path, str] | None:
        """Give a column that would lose its policy tags or a description that labels it.

        `redefined` are columns of this table. The text says what would be lost.
        """
        for path, field in _every(table.fields):
            for one in redefined:
                if found := self._lost(path, field, one):
                    return path, found
        return None

    def _lost(self, path: Path, field: Field, one: Redefined) -> str:
        named = tuple(name.casefold() for name in one.column.path)
        here = tuple(name.casefold() for name in path)
        labels = sorted({mark.label for mark in self._of_description(field.description)})
        if one.description is not None:
            kept = {mark.label for mark in self._of_description(one.description)}
            labels = [label for label in labels if label not in kept and here == named]
        elif here[: len(named)] != named:
            return ""
        elif field.policy_tags:
            return "has policy tags"
        return f"is labelled `{labels[0]}` by its description" if labels else ""


def leaves(fields: Sequence[Field], above: Path = ()) -> Iterator[Path]:
    """Give the path of every leaf."""
    for field in fields:
        path = (*above, field.name)
        if field.fields:
            yield from leaves(field.fields, path)
        else:
            yield path


def _every(fields: Sequence[Field], above: Path = ()) -> Iterator[tuple[Path, Field]]:
    """Give every column and field, at any depth."""
    for field in fields:
        path = (*above, field.name)
        yield path, field
        yield from _every(field.fields, path)


def _with_inherited(
    table: Table, found: Mapping[Path, frozenset[Mark]]
) -> dict[Path, frozenset[Mark]]:
    """Add the labels of what was written into a table."""
    paths, united = _lowered(table.fields), dict(found)
    for one in table.inherited:
        for path in _at(one.path, paths):
            united[path] = united.get(path, frozenset()) | {Mark(one.label, "inherited")}
    return {path: united[path] for path in sorted(united)}


def _lowered(fields: Sequence[Field]) -> dict[Path, Path]:
    """Give the path of every leaf by its lower-case form."""
    return {tuple(name.lower() for name in path): path for path in leaves(fields)}


def _at(path: Path, paths: Mapping[Path, Path]) -> Iterator[Path]:
    """Give the paths, known by their lower-case form, that hold what another schema has at `path`.

    INVARIANT: tables under one name may differ: one has a scalar where another has a STRUCT. So
    what lies above or beneath counts too.
    """
    if path in paths:
        yield paths[path]
        return
    for lower, spelled in paths.items():
        depth = min(len(lower), len(path))
        if lower[:depth] == path[:depth]:
            yield spelled
