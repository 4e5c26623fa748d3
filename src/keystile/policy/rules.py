"""Compiled rules: whom each is about, which tables, what it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from keystile.model.decision import ApprovalDemand, Effect, Limits
from keystile.model.facts import Action
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy import document
from keystile.policy.conditions import Condition
from keystile.policy.patterns import ANY, Part, fit, names, parts, stand_in

Key = tuple[str, ...]
"""One thing that is true of a principal, such as `("group", "analytics")`."""

_PRINCIPALS_KEPT = 4096
_DEPTH = 3


class Scope(msgspec.Struct, frozen=True):
    """The tables that a rule is about: full-name patterns of one, two or three parts.

    `exact` are the patterns without `*`, to be looked up instead of tried.
    Rules that protect ignore case, as datasets may; rules that permit do not.
    """

    patterns: tuple[tuple[Part, ...], ...]
    exact: frozenset[tuple[Part, ...]]
    ignore_case: bool

    def holds(self, table: TableId) -> bool:
        """Tell whether any pattern names the table, its dataset or its project."""
        full_name = self._spelt(table.project, table.dataset, table.table)
        exact = self.exact
        if full_name in exact or full_name[:2] in exact or full_name[:1] in exact:
            return True
        if len(exact) == len(self.patterns):
            return False
        return any(fit(pattern, full_name[: len(pattern)]) for pattern in self.patterns)

    def within(self, *home: str) -> Iterator[TableId]:
        """Yield names that stand for all tables of a project, or of a dataset, that it is about.

        Each is the `stand_in` of a pattern: what is true of it is true of every such table.
        """
        size, spelt = len(home), self._spelt(*home)
        for pattern in self.patterns:
            if fit(pattern[:size], spelt[: len(pattern)]):
                yield table_within(*home, *map(stand_in, pattern[size:]))

    def _spelt(self, *full_name: str) -> tuple[str, ...]:
        return tuple([name.casefold() for name in full_name]) if self.ignore_case else full_name


def table_within(*home: str) -> TableId:
    """Give the name that stands for all tables of what begins with these names."""
    return TableId(*home, *(ANY,) * (_DEPTH - len(home)))


class CompiledRule(msgspec.Struct, frozen=True):
    """One rule, ready to be asked. `scope` is None where it is about every table.

    One that limits has no effect of its own: `limits` are for whoever `limits_of` finds.
    """

    name: str
    effect: Effect | None
    message: str
    agents: tuple[tuple[Key, ...], ...]
    scope: Scope | None
    condition: Condition | None
    actions: frozenset[Action]
    unmask: frozenset[str]
    demand: ApprovalDemand | None = None
    limits: Limits | None = None

    def is_about(self, facts_of_agent: frozenset[Key]) -> bool:
        """Tell whether every word about agents fits, each by any one of its values."""
        return all(not facts_of_agent.isdisjoint(values) for values in self.agents)

    def fits(self, action: Action, table: TableId | None) -> bool:
        """Tell whether the rule is about this action on this table.

        With no table known, a read reads none, so nothing can be wrong with it; anything else
        might change whatever it wants, so only a rule about every table may allow it, and every
        rule that protects is about it.
        """
        if action not in self.actions:
            return False
        if self.scope is None:
            return True
        if table is None:
            return (action is Action.READ) == (self.effect is Effect.ALLOW)
        return self.scope.holds(table)

    def is_near(self, tables: Iterable[TableId | None]) -> bool:
        """Tell whether the rule may be about some action on one of these tables."""
        scope = self.scope
        return scope is None or any(table is None or scope.holds(table) for table in tables)


class RuleIndex:
    """Finds the rules that are about a principal without asking each one."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        """Take the rules in the order in which they are to be reported."""
        self._rules = rules
        self._for_all: list[int] = []
        self._by_key: dict[Key, list[int]] = {}
        self._near: dict[
            tuple[frozenset[Key], tuple[TableId | None, ...]], tuple[CompiledRule, ...]
        ] = {}
        self._known: dict[frozenset[Key], tuple[CompiledRule, ...]] = {}
        for number, rule in enumerate(rules):
            if not rule.agents:
                self._for_all.append(number)
                continue
            for key in rule.agents[0]:
                self._by_key.setdefault(key, []).append(number)

    def about(self, principal: Principal) -> tuple[CompiledRule, ...]:
        """Give every rule whose words about agents all fit, in the given order.

        INVARIANT: the answer depends on what `keys_of` says of the principal alone, so that it is
        remembered by that.
        """
        facts = frozenset(keys_of(principal))
        known = self._known.get(facts)
        if known is None:
            if len(self._known) >= _PRINCIPALS_KEPT:
                self._known.clear()
            known = self._known[facts] = self._about(facts)
        return known

    def near(
        self, principal: Principal, tables: tuple[TableId | None, ...]
    ) -> tuple[CompiledRule, ...]:
        """Give those rules about a principal that may be about one of these tables, too.

        INVARIANT: a rule that is left out fits no action on any of them.
        """
        key = (frozenset(keys_of(principal)), tables)
        known = self._near.get(key)
        if known is None:
            if len(self._near) >= _PRINCIPALS_KEPT:
                self._near.clear()
            rules = self.about(principal)
            known = self._near[key] = tuple(rule for rule in rules if rule.is_near(tables))
        return known

    def _about(self, facts: frozenset[Key]) -> tuple[CompiledRule, ...]:
        numbers = set(self._for_all)
        for key in facts:
            numbers.update(self._by_key.get(key, ()))
        rules = map(self._rules.__getitem__, sorted(numbers))
        return tuple(rule for rule in rules if rule.is_about(facts))


def keys_of(principal: Principal) -> Iterator[Key]:
    """Yield everything that `agents` can ask for."""
    yield ("name", principal.agent)
    yield ("subject", principal.subject)
    yield ("issuer", principal.issuer)
    yield ("service_account", principal.service_account)
    for group in principal.groups:
        yield ("group", group)
    for name, value in principal.attributes.items():
        yield ("attribute", name, value)


def compile_agents(agents: document.Agents | None) -> tuple[tuple[Key, ...], ...]:
    """Turn the words into keys, the most telling word first, which the index then uses."""
    if agents is None:
        return ()
    words: Mapping[str, tuple[str, ...] | None] = {
        "subject": agents.subjects,
        "name": agents.names,
        "service_account": agents.service_accounts,
        "group": agents.groups,
        "issuer": agents.issuers,
    }
    listed = [tuple((word, value) for value in values) for word, values in words.items() if values]
    exact = [(("attribute", name, value),) for name, value in (agents.attributes or {}).items()]
    return (*listed[:1], *exact, *listed[1:])


def compile_scope(resources: document.Resources | None, *, ignore_case: bool) -> Scope | None:
    """Compile full names. Raises `ValueError` with a sentence for the policy's author."""
    if resources is None:
        return None
    patterns = []
    for word, size in (("projects", 1), ("datasets", 2), ("tables", 3)):
        for text in getattr(resources, word) or ():
            split = names(text)
            if len(split) != size:
                form = ".".join(("project", "dataset", "table")[:size])
                raise ValueError(f"`{text}` under `{word}` is not of the form `{form}`")
            try:
                patterns.append(parts(split, ignore_case=ignore_case))
            except ValueError:
                raise ValueError(f"`{text}` under `{word}` has an empty or blank part") from None
    exact = frozenset(p for p in patterns if all(isinstance(part, str) for part in p))
    return Scope(tuple(dict.fromkeys(patterns)), exact, ignore_case)
