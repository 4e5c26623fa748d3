"""Row filters: which rows of a table an agent sees. What the predicates say is for `masking`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from keystile.model.decision import RowFilter
from keystile.model.facts import Action
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId, TableKind
from keystile.policy.document import Resources, RowFiltering
from keystile.policy.parse import Parsed
from keystile.policy.rules import CompiledRule, Key, Scope, compile_agents, compile_scope, keys_of

# Lexical, so it may find words in a literal too: too many do no harm.
_WORDS = re.compile(r"\bagent\s*\.\s*(?:(attributes)\s*\.\s*)?(\w+|`[^`]+`)", re.IGNORECASE)
_FIXED = ("name", "subject", "issuer", "service_account", "on_behalf_of", "groups")
_VIEWS = frozenset({TableKind.VIEW, TableKind.MATERIALIZED_VIEW})


class CompiledFilter(msgspec.Struct, frozen=True):
    """A row filter, whom and which tables it is about, and the words about the agent in it.

    `place` is its file and line.
    """

    name: str
    agents: tuple[tuple[Key, ...], ...]
    scope: Scope
    where: str
    words: tuple[str, ...]
    place: str = ""

    def fits(self, table: Table) -> bool:
        """Tell whether it is about the table."""
        return self.scope.holds(table.id)

    def as_rule(self) -> CompiledRule:
        """Give a rule about the same, whatever is done there, that has no effect of its own."""
        return CompiledRule(
            name=self.name,
            effect=None,
            message="",
            agents=self.agents,
            scope=self.scope,
            condition=None,
            actions=frozenset(Action),
            unmask=frozenset(),
        )


class FilterError(Exception):
    """No row filter can be applied as the policy says; the sentence names the rule."""

    def __init__(self, rule: str, message: str) -> None:
        """Name the row filter."""
        super().__init__(message)
        self.rule = rule


def words(where: str) -> tuple[str, ...]:
    """Give the words about the agent in a predicate. Raises `ValueError` for one there is not."""
    found = set()
    for match in _WORDS.finditer(where):
        name = match[2].strip("`")
        if not match[1] and name.lower() not in _FIXED:
            raise ValueError(f"there is no `agent.{name}`")
        found.add(f"attributes.{name}" if match[1] else name.lower())
    return tuple(sorted(found))


def compile_filter(file: Parsed, at: str, entry: RowFiltering) -> CompiledFilter:
    """Compile a row filter, which stands in `file` at `at`.

    Raises `UnsafeConfigurationError` with file and line.
    """
    if entry.agents is not None and not any(msgspec.structs.astuple(entry.agents)):
        raise file.error(f"{at}.agents", "`agents` names nothing", "leave it out to mean all")
    try:
        # INVARIANT: what protects ignores case, as datasets may.
        scope = compile_scope(Resources(tables=entry.tables), ignore_case=True)
    except ValueError as error:
        raise file.error(f"{at}.tables", str(error), "use `*` for any") from error
    assert scope is not None  # noqa: S101 - only where no resources are given
    try:
        used = words(entry.where)
    except ValueError as error:
        raise file.error(f"{at}.where", f"`where` is not understood: {error}") from error
    return CompiledFilter(
        name=entry.name,
        agents=compile_agents(entry.agents),
        scope=scope,
        where=entry.where,
        words=used,
        place=file.place(f"{at}.where"),
    )


class RowFilters:
    """All row filters of a policy."""

    def __init__(self, filters: Sequence[CompiledFilter]) -> None:
        """Take them in the order in which they are to be reported."""
        self.all = tuple(filters)

    def are_on(self, principal: Principal, table: TableId) -> bool:
        """Tell whether a principal may see only some rows of a table."""
        return any(one.scope.holds(table) for one in self._about(principal))

    def of(self, principal: Principal, tables: Iterable[Table]) -> tuple[RowFilter, ...]:
        """Give those that hold for a principal on these tables.

        Raises `FilterError` where one cannot be applied.
        """
        mine = self._about(principal)
        if not mine:
            return ()
        return tuple(found for table in tables for found in _on(table, mine, principal))

    def _about(self, principal: Principal) -> list[CompiledFilter]:
        if not self.all:
            return []
        facts = frozenset(keys_of(principal))
        return [one for one in self.all if all(not facts.isdisjoint(keys) for keys in one.agents)]


def _on(table: Table, mine: Iterable[CompiledFilter], asks: Principal) -> Iterator[RowFilter]:
    # What a script makes for itself holds what it has read, and datasets like its own are closed.
    if table.kind is TableKind.METADATA or table.id.dataset.startswith("_"):
        return
    for one in mine:
        fitting = [member for member in table.read if one.fits(member)]
        if not fitting:
            continue
        if table.kind in _VIEWS:
            message = f"row filter `{one.name}` is put on the view `{table.id}`"
            raise FilterError(one.name, f"{message}; it belongs on the tables that the view reads")
        if len(fitting) < len(table.read):
            message = f"row filter `{one.name}` is about some tables of `{table.id}` only"
            raise FilterError(one.name, f"{message}; read them one by one")
        values = tuple((word, _value(one, word, asks)) for word in one.words)
        yield RowFilter(table.id, one.name, one.where, values)


def _value(one: CompiledFilter, word: str, principal: Principal) -> str | tuple[str, ...]:
    kind, _, name = word.partition(".")
    if kind != "attributes":
        value: str | tuple[str, ...] = getattr(principal, "agent" if kind == "name" else kind)
        return value
    if name not in principal.attributes:
        # INVARIANT: what is not known of an agent opens no row.
        message = f"row filter `{one.name}` needs the attribute `{name}`, which the agent lacks"
        raise FilterError(one.name, f"{message}; ask whoever registers agents for it")
    return principal.attributes[name]
