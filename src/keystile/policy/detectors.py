"""Which values are looked for in the texts of a result, for whom, and where not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from keystile.detecting.entities import ENTITIES
from keystile.detecting.patterns import compiled
from keystile.model.decision import Detection
from keystile.model.facts import QueryFacts, used_columns
from keystile.model.masks import (
    ConstantMask,
    EmailMask,
    IpMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    PatternMask,
    TokenMask,
    UrlHostMask,
)
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Table, TableId
from keystile.policy.document import Detecting, Exempt, Resources
from keystile.policy.labels import Labeller, Path, ancestors
from keystile.policy.parse import Parsed
from keystile.policy.protection import Protection
from keystile.policy.rules import Key, Scope, compile_agents, compile_scope, keys_of

_OF_TEXTS = (
    EmailMask,
    IpMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    PatternMask,
    TokenMask,
    UrlHostMask,
)


class CompiledDetector(msgspec.Struct, frozen=True):
    """Whom an entry is about, what it looks for, and where it does not.

    `looked_for` are what a decision says of each entity, without columns. `columns` labels those
    that are left out.
    """

    agents: tuple[tuple[Key, ...], ...]
    looked_for: tuple[Detection, ...]
    scope: Scope | None
    columns: Labeller

    def leaves_out(self, table: Table) -> Iterator[Path] | None:
        """Give the columns of a table that are left out; None for all of them."""
        if self.scope is not None and all(self.scope.holds(member.id) for member in table.read):
            return None
        return iter(self.columns.labels(table))


class Detectors:
    """All entries of a policy."""

    def __init__(self, entries: Sequence[CompiledDetector]) -> None:
        """Take them in the order in which they are to be reported."""
        self._entries = tuple(entries)

    def of(
        self,
        principal: Principal,
        facts: QueryFacts,
        tables: Iterable[Table],
        lifted: Mapping[TableId, frozenset[str]],
    ) -> tuple[Detection, ...]:
        """Say what is looked for in a query's result. `lifted` are the labels that the agent sees.

        INVARIANT: entries add to each other: a value is let through only where none looks for it.
        """
        if not self._entries:
            return ()
        keys = frozenset(keys_of(principal))
        known = {table.id: table for table in tables}
        used = sorted(set(used_columns(facts)))
        found: list[Detection] = []
        for entry in self._entries:
            if all(not keys.isdisjoint(values) for values in entry.agents):
                left_out = frozenset(_left_out(entry, used, known))
                found += [_for(one, left_out, used, lifted) for one in entry.looked_for]
        return tuple(found)


def _left_out(
    entry: CompiledDetector, used: Iterable[ColumnRef], known: Mapping[TableId, Table]
) -> Iterator[ColumnRef]:
    by_table: dict[TableId, list[ColumnRef]] = {}
    for column in used:
        by_table.setdefault(column.table, []).append(column)
    for id_, columns in by_table.items():
        paths = entry.leaves_out(known[id_]) if id_ in known else iter(())
        if paths is None:
            yield from columns
            continue
        names = set(paths)
        yield from (column for column in columns if column.path in names)


def _for(
    one: Detection,
    left_out: frozenset[ColumnRef],
    used: Iterable[ColumnRef],
    lifted: Mapping[TableId, frozenset[str]],
) -> Detection:
    above = frozenset(ancestors(one.label))
    seen = {id_ for id_, labels in lifted.items() if not above.isdisjoint(labels)}
    shown = tuple(column for column in used if column in left_out or column.table in seen)
    return msgspec.structs.replace(one, shown=shown) if shown else one


def labels_of(file: Parsed) -> Iterator[str]:
    """Yield the labels that values found in texts have, and all above them."""
    for entry in file.document.detectors:
        yield from ancestors(entry.label)


def compile_detectors(
    files: Iterable[Parsed], taken: Iterable[str], protection: Protection
) -> Detectors:
    """Compile all entries. Raises `UnsafeConfigurationError`."""
    names, own = set(taken), set[str]()
    found: dict[str, CompiledDetector] = {}
    for file in files:
        for number, entry in enumerate(file.document.detectors):
            at = f"$.detectors[{number}]"
            if entry.name in names:
                raise file.error(
                    f"{at}.name", f"rule name `{entry.name}` is taken", "choose another"
                )
            names.add(entry.name)
            _check(file, at, entry, own)
            own.update(entry.patterns)
            found[entry.name] = _compiled(file, at, entry, protection)
    return Detectors([found[name] for name in sorted(found)])


def _check(file: Parsed, at: str, entry: Detecting, own: set[str]) -> None:
    if not entry.find and not entry.patterns:
        raise file.error(at, f"detector `{entry.name}` looks for nothing", "give `find`")
    if entry.deny and entry.mask is not None:
        message = f"detector `{entry.name}` has both `deny` and `mask`"
        raise file.error(f"{at}.mask", message, "what keeps a result back masks nothing")
    if entry.mask is not None and not _is_of_texts(entry.mask):
        message = "`mask` leaves nothing to read in a text"
        raise file.error(f"{at}.mask", message, "give `constant` with a text, or leave it out")
    if entry.agents is not None and not any(msgspec.structs.astuple(entry.agents)):
        raise file.error(f"{at}.agents", "`agents` names nothing", "leave it out to mean all")
    for name, pattern in entry.patterns.items():
        path = f"{at}.patterns.{name}"
        if name in ENTITIES or name in own:
            raise file.error(path, f"entity `{name}` is taken", "choose another name")
        try:
            compiled(pattern)
        except ValueError as error:
            raise file.error(path, f"pattern `{name}` is not understood: {error}") from None


def _compiled(file: Parsed, at: str, entry: Detecting, protection: Protection) -> CompiledDetector:
    patterns: dict[str, str] = {**dict.fromkeys(entry.find, ""), **entry.patterns}
    exempt = entry.exempt or Exempt()
    columns, scope = Labeller(), None
    try:
        if exempt.projects or exempt.datasets or exempt.tables:
            resources = Resources(
                projects=exempt.projects, datasets=exempt.datasets, tables=exempt.tables
            )
            scope = compile_scope(resources, ignore_case=False)
        for pattern in exempt.columns or ():
            columns.add_columns("exempt", pattern)
    except ValueError as error:
        raise file.error(f"{at}.except", f"`except` is not understood: {error}") from error
    return CompiledDetector(
        compile_agents(entry.agents),
        tuple(
            Detection(
                rule=entry.name,
                entity=entity,
                mask=_mask(entry, entity, protection),
                label=entry.label,
                pattern=pattern,
                deny=entry.deny,
            )
            for entity, pattern in patterns.items()
        ),
        scope,
        columns,
    )


def _mask(entry: Detecting, entity: str, protection: Protection) -> Mask:
    """Give what stands for a value within a text, where NULL and an empty text say nothing."""
    placeholder = ConstantMask(f"[{entity.upper()}]")
    mask = entry.mask or (protection.mask(entry.label) if entry.label else placeholder)
    return mask if _is_of_texts(mask) else placeholder


def _is_of_texts(mask: Mask) -> bool:
    """Tell whether a mask leaves something to read in the place of a text."""
    if isinstance(mask, ConstantMask):
        return isinstance(mask.value, str)
    return isinstance(mask, _OF_TEXTS)
