"""What a policy's rules ask of one query: which of them fit, and what each of those says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from keystile.model.decision import ApprovalDemand, Effect, Reason
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId
from keystile.policy.conditions import Request, TouchedLabels
from keystile.policy.context import Context
from keystile.policy.index import RuleIndex, RuleSet
from keystile.policy.protection import Protection
from keystile.policy.rules import CompiledRule
from keystile.policy.understood import NotUnderstoodError, touched_labels

DEFAULT_DENY = "default-deny"
"""The rule name in a reason where no rule allows something."""

Pair = tuple[Action, TableId | None]
Near = tuple[RuleSet, CompiledRule]
"""A rule, and the set of it alone."""
Demanding = tuple[RuleSet, CompiledRule, ApprovalDemand]

_ON_WRITTEN_TABLES = frozenset({Action.WRITE, Action.SCHEMA_CHANGE, Action.ACCESS_CHANGE})


class Denial(NamedTuple):
    """A rule that denies, and all that it denies of a query."""

    rule: CompiledRule
    pairs: tuple[Pair, ...]

    def but(self, hidden: Collection[TableId | None]) -> Denial | None:
        """Leave out what is done to these tables; None where nothing is left."""
        pairs = tuple(pair for pair in self.pairs if pair[1] not in hidden)
        return Denial(self.rule, pairs) if pairs else None

    @property
    def reason(self) -> Reason:
        """Say it in the rule's own words, or in plain ones."""
        plain = f"rule `{self.rule.name}` denies {_say(self.pairs)}; ask its owner if you need it"
        return Reason(self.rule.name, Effect.DENY, self.rule.message or plain)


class Question:
    """One query before the policy: what several rules ask of it is found once.

    `near` are the rules that are about its agent and about something that it does. `problem` says
    what of it is not understood; it is empty for most.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - a policy and all that it decides by
        self,
        index: RuleIndex,
        protection: Protection,
        principal: Principal,
        facts: QueryFacts,
        tables: tuple[Table, ...],
        context: Context,
        *,
        unmeasured: bool = False,
    ) -> None:
        """Take one query, who asks it and when.

        While it is `unmeasured`, a condition that depends on how much it reads goes the way that
        lets it on: no rule denies, asks or limits for that, and one that allows does.
        """
        self._unmeasured = unmeasured
        self.principal = principal
        self.facts = facts
        self.tables = tables
        self.context = context
        self.problem = ""
        labels = TouchedLabels()
        try:
            covered = {table.id: protection.of(table).covered for table in tables}
            labels = touched_labels(facts, tables, covered)
        except NotUnderstoodError as error:
            self.problem = str(error)
        self._request = Request(principal, facts, labels, context)
        self._answers: dict[str, bool | None] = {}
        self._index = index
        mine = index.about(principal)
        self._pairs = [(pair, index.on(mine, *pair)) for pair in pairs_of(facts)]
        if facts.redefined:
            self._pairs = [*self._with_contents(mine)]
        near = 0
        for _, fitting in self._pairs:
            near |= fitting
        self.near = index.rules(near)

    def _with_contents(self, mine: RuleSet) -> Iterator[tuple[Pair, RuleSet]]:
        """Add to a dataset that is dropped the rules about what is in it.

        INVARIANT: what drops a dataset drops all that is in it, so these rules protect it.
        """
        tables = {one.column.table for one in self.facts.redefined}
        for (action, table), fitting in self._pairs:
            inside = 0
            if table is not None and table in tables and not table.table:
                inside = self._index.inside(mine, action, table)
            yield (action, table), fitting | inside

    @property
    def named(self) -> tuple[TableId, ...]:
        """All tables that it does something to, in an order that is always the same."""
        return tuple(dict.fromkeys(table for (_, table), _ in self._pairs if table is not None))

    def denials(self, rules: Iterable[Near]) -> list[Denial]:
        """Give every rule that denies, with what. A condition that fails counts as met."""
        return [
            Denial(rule, tuple(pair for pair, fitting in self._pairs if fitting & one))
            for one, rule in rules
            if rule.effect is Effect.DENY and self._holds(rule) is not False
        ]

    def allowing(self, rules: Iterable[Near]) -> list[Near]:
        """Give the rules that allow any part. A condition that fails counts as not met."""
        return [
            (one, rule)
            for one, rule in rules
            if rule.effect is Effect.ALLOW and self._holds(rule) is True
        ]

    def gaps(
        self, allowing: Iterable[Near], hidden: Collection[TableId | None] = ()
    ) -> tuple[Reason, ...]:
        """Give one reason if any action on any table is allowed by no rule.

        To tables that are `hidden` nothing is allowed.
        """
        allowed = sum([one for one, _ in allowing])
        missing = [
            pair for pair, fitting in self._pairs if not fitting & allowed or pair[1] in hidden
        ]
        if not missing:
            return ()
        message = (
            f"no rule allows agent `{self.principal.agent}` {_say(missing)}, or it does not"
            " exist; ask the owner of the policy for a rule that does"
        )
        return (Reason(DEFAULT_DENY, Effect.DENY, message),)

    def demanding(self, rules: Iterable[Near]) -> list[Demanding]:
        """Give the approvals needed; one whose condition fails is needed, but unlocks nothing."""
        found = []
        for one, rule in rules:
            demand = rule.demand
            if demand is not None and (holds := self._holds(rule)) is not False:
                kept = demand if holds else msgspec.structs.replace(demand, unmask=())
                found.append((one, rule, kept))
        return found

    def limiting(self, rules: Iterable[Near]) -> list[CompiledRule]:
        """Give the rules that limit any part. A condition that fails counts as met."""
        return [rule for _, rule in rules if rule.limits and self._holds(rule) is not False]

    def lifted(
        self, allowing: Iterable[Near], demanding: Iterable[Demanding]
    ) -> Mapping[TableId, frozenset[str]]:
        """Give the labels whose values the agent may see, by table; empty where there are none."""
        rights = {one: rule.unmask for one, rule in allowing if rule.unmask}
        rights |= {one: frozenset(demand.unmask) for one, _, demand in demanding if demand.unmask}
        if not rights:
            return {}

        def lifted(table: TableId) -> frozenset[str]:
            fitting = self._index.on(sum(rights), Action.READ, table)
            return frozenset().union(*(labels for one, labels in rights.items() if one & fitting))

        # INVARIANT: what is lifted on a wildcard is lifted on each of its members.
        return {
            table.id: frozenset.intersection(*(lifted(member.id) for member in table.read))
            for table in self.tables
        }

    def fails(self, rule: CompiledRule) -> bool:
        """Tell whether the rule's condition cannot be evaluated for this query."""
        return self._holds(rule) is None

    def _holds(self, rule: CompiledRule) -> bool | None:
        condition = rule.condition
        if condition is None:
            return True
        if condition.text not in self._answers:
            self._answers[condition.text] = condition.holds(self._request)
        held = self._answers[condition.text]
        if held is None and self._unmeasured and condition.asks_bytes:
            return rule.effect is Effect.ALLOW
        return held


def pairs_of(facts: QueryFacts) -> Iterator[Pair]:
    """Yield each action with each table that it is done to; None where it is done to no table.

    Reading is done to what is read, changing to what is written, and anything else to all of it.
    """
    actions = dict.fromkeys(facts.actions)
    if facts.reads:  # INVARIANT: what reads a table needs the right to read it
        actions[Action.READ] = None
    for action in actions:
        if action is Action.READ:
            tables = facts.reads
        elif action in _ON_WRITTEN_TABLES and facts.writes:
            tables = facts.writes
        else:
            tables = tuple(dict.fromkeys((*facts.reads, *facts.writes)))
        for table in tables or (None,):
            yield action, table


def _say(pairs: Iterable[Pair]) -> str:
    """Say actions and tables: `read` on `p.d.t`, `p.d.u`."""
    tables_of: dict[Action, list[str]] = {}
    for action, table in pairs:
        tables_of.setdefault(action, []).extend([f"`{table}`"] if table else [])
    return " and ".join(
        f"`{action}` on {', '.join(tables)}" if tables else f"`{action}`"
        for action, tables in tables_of.items()
    )
