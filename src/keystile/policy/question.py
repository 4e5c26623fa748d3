"""What a policy's rules ask of one query: which of them fit, and what each of those says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from keystile.model.decision import ApprovalDemand, ColumnMask, Effect, Reason
from keystile.model.facts import Action, QueryFacts, Use, used_columns
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Table, TableId
from keystile.policy.conditions import Activation, Conditions, TouchedLabels
from keystile.policy.context import Context
from keystile.policy.protection import Protection
from keystile.policy.rules import CompiledRule

DEFAULT_DENY = "default-deny"
"""The rule name in a reason where no rule allows something."""

Pair = tuple[Action, TableId | None]

_ON_WRITTEN_TABLES = frozenset({Action.WRITE, Action.SCHEMA_CHANGE, Action.ACCESS_CHANGE})
_ROW_CHOOSING_USES = frozenset({Use.FILTER, Use.JOIN})
_NOTHING: frozenset[str] = frozenset()


class Query(NamedTuple):
    """What a query is to this policy, whoever asks: `problem` says what is not understood.

    `named` are the tables of its pairs. `answers` has what conditions about nothing else gave.
    """

    facts: QueryFacts
    tables: tuple[Table, ...]
    pairs: tuple[Pair, ...]
    problem: str
    named: tuple[TableId | None, ...]
    answers: dict[str, bool | None]


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
    """One query before the policy: what several rules ask of it is found once."""

    def __init__(  # noqa: PLR0913 - a query, who asks it and by what it is decided
        self,
        conditions: Conditions,
        protection: Protection,
        principal: Principal,
        query: Query,
        context: Context,
        *,
        unmeasured: bool = False,
    ) -> None:
        """Take one query, who asks it and when, and what the policy has found.

        While it is `unmeasured`, a condition that depends on how much it reads goes the way that
        lets it on: no rule denies, asks or limits for that, and one that allows does.
        """
        self._unmeasured = unmeasured
        self._conditions = conditions
        self._protection = protection
        self.principal = principal
        self._facts = query.facts
        self._tables = query.tables
        self.context = context
        self._pairs = query.pairs
        self._answers = query.answers

    def denials(self, rules: Iterable[CompiledRule]) -> Iterator[Denial]:
        """Yield every rule that denies, with what. A condition that fails counts as met."""
        for rule in rules:
            if rule.effect is not Effect.DENY:
                continue
            hit = tuple(pair for pair in self._pairs if rule.fits(*pair))
            if hit and self._holds(rule) is not False:
                yield Denial(rule, hit)

    def allowing(self, rules: Iterable[CompiledRule]) -> list[CompiledRule]:
        """Give the rules that allow any part. A condition that fails counts as not met."""
        return [
            rule
            for rule in rules
            if rule.effect is Effect.ALLOW
            and any(rule.fits(*pair) for pair in self._pairs)
            and self._holds(rule) is True
        ]

    def gaps(
        self, allowing: Sequence[CompiledRule], hidden: Collection[TableId | None] = ()
    ) -> Iterator[Reason]:
        """Yield one reason if any action on any table is allowed by no rule.

        To tables that are `hidden` nothing is allowed.
        """
        missing = [
            pair
            for pair in self._pairs
            if pair[1] in hidden or not any(rule.fits(*pair) for rule in allowing)
        ]
        if missing:
            message = (
                f"no rule allows agent `{self.principal.agent}` {_say(missing)}, or it does not"
                " exist; ask the owner of the policy for a rule that does"
            )
            yield Reason(DEFAULT_DENY, Effect.DENY, message)

    def demanding(
        self, rules: Iterable[CompiledRule]
    ) -> Iterator[tuple[CompiledRule, ApprovalDemand]]:
        """Yield the approvals needed; one whose condition fails is needed, but unlocks nothing."""
        for rule in rules:
            if rule.demand is None or not any(rule.fits(*pair) for pair in self._pairs):
                continue
            holds = self._holds(rule)
            if holds is True:
                yield rule, rule.demand
            elif holds is None:
                yield rule, msgspec.structs.replace(rule.demand, unmask=())

    def limiting(self, rules: Iterable[CompiledRule]) -> Iterator[CompiledRule]:
        """Yield the rules that limit any part. A condition that fails counts as met."""
        for rule in rules:
            about = rule.limits is not None and any(rule.fits(*pair) for pair in self._pairs)
            if about and self._holds(rule) is not False:
                yield rule

    def masks(
        self,
        allowing: Sequence[CompiledRule],
        demanding: Sequence[tuple[CompiledRule, ApprovalDemand]],
    ) -> tuple[ColumnMask, ...]:
        """Give the mask of every protected column of every table, read or not."""
        lifted = self.lifted(allowing, demanding)
        masks: list[ColumnMask] = []
        for table in self._tables:
            masks += self._protection.masks(table, lifted.get(table.id, _NOTHING))
        return tuple(masks)

    def lifted(
        self,
        allowing: Sequence[CompiledRule],
        demanding: Sequence[tuple[CompiledRule, ApprovalDemand]],
    ) -> Mapping[TableId, frozenset[str]]:
        """Give the labels whose values the agent may see, by table; empty where there are none."""
        rights = [(rule, rule.unmask) for rule in allowing if rule.unmask]
        rights += [(rule, frozenset(demand.unmask)) for rule, demand in demanding if demand.unmask]
        if not rights:
            return {}
        # INVARIANT: what is lifted on a wildcard is lifted on each of its members.
        return {
            table.id: frozenset.intersection(*(_lifted(rights, member.id) for member in table.read))
            for table in self._tables
        }

    def fails(self, rule: CompiledRule) -> bool:
        """Tell whether the rule's condition cannot be evaluated for this query."""
        return self._holds(rule) is None

    def _holds(self, rule: CompiledRule) -> bool | None:
        condition = rule.condition
        if condition is None:
            return True
        if not condition.about_query_alone:
            held = condition.holds(self._activation)
            if held is None and self._unmeasured and condition.asks_bytes:
                return rule.effect is Effect.ALLOW
            return held
        if condition.text not in self._answers:
            self._answers[condition.text] = condition.holds(self._activation)
        return self._answers[condition.text]

    @cached_property
    def _activation(self) -> Activation:
        return self._conditions.activation(self.principal, self._facts, self._touched, self.context)

    def _touched(self) -> TouchedLabels:
        facts = self._facts
        covered = {table.id: self._protection.of(table).covered for table in self._tables}

        def labels(columns: Iterable[ColumnRef]) -> frozenset[str]:
            return frozenset().union(*(covered[column.table][column.path] for column in columns))

        outputs = labels(source for column in facts.output for source in column.sources)
        used_in_output = labels(use.column for use in facts.columns if Use.OUTPUT in use.uses)
        return TouchedLabels(
            touches=labels(used_columns(facts)),
            outputs=outputs | used_in_output,
            filters=labels(
                use.column for use in facts.columns if not _ROW_CHOOSING_USES.isdisjoint(use.uses)
            ),
        )


def _lifted(
    rights: Iterable[tuple[CompiledRule, frozenset[str]]], table: TableId
) -> frozenset[str]:
    """Give the labels that somebody with these rights may see on the table."""
    return frozenset().union(*(labels for rule, labels in rights if rule.fits(Action.READ, table)))


def pairs_of(facts: QueryFacts) -> Iterator[Pair]:
    """Yield each action with each table that it is done to; None where it is done to no table.

    Reading is done to what is read, changing to what is written, and anything else to all of it.
    """
    actions = dict.fromkeys(facts.actions)
    if facts.reads:  # INVARIANT: what reads a table needs the right to read it
        actions[Action.READ] = None
    everything = tuple(dict.fromkeys((*facts.reads, *facts.writes)))
    for action in actions:
        if action is Action.READ:
            tables = facts.reads
        elif action in _ON_WRITTEN_TABLES and facts.writes:
            tables = facts.writes
        else:
            tables = everything
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
