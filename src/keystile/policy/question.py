"""What a policy's rules ask of one query: which of them fit, and what each of those says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from keystile.model.decision import ApprovalDemand, Effect, Reason
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId
from keystile.policy.conditions import Request
from keystile.policy.context import Context
from keystile.policy.index import Near, RuleIndex, RuleSet
from keystile.policy.protection import Protection
from keystile.policy.rules import CompiledRule
from keystile.policy.understood import NotUnderstoodError, touched_labels

DEFAULT_DENY = "default-deny"
"""The rule name in a reason where no rule allows something."""

Pair = tuple[Action, TableId | None]

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

    `applying` are the rules that are about its agent and about something that it does, and whose
    condition holds, if they have one. `failed` are those whose condition cannot be evaluated: they
    apply too, but for those that allow. `problem` says what of the query is not understood; it is
    empty for most. Where it is not, no rule with a condition applies: it asks about the details.
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
        self._index = index
        self.principal = principal
        self.facts = facts
        self.tables = tables
        self.context = context
        mine, near = index.about(principal), 0
        self._pairs: list[tuple[Pair, RuleSet]] = []
        for pair in pairs_of(facts):
            fitting = index.on(mine, *pair)
            if facts.redefined:
                fitting |= self._contents(mine, *pair)
            self._pairs.append((pair, fitting))
            near |= fitting
        self.applying, self.failed = near & ~index.conditional, 0
        self.problem = ""
        try:
            covered = {table.id: protection.of(table).covered for table in tables}
            labels = touched_labels(facts, tables, covered)
        except NotUnderstoodError as error:
            self.problem = str(error)
            return
        if asking := index.rules(near & index.conditional):
            self._ask(asking, Request(principal, facts, labels, context), unmeasured=unmeasured)

    def _ask(self, asking: Iterable[Near], request: Request, *, unmeasured: bool) -> None:
        """Find out which of these rules, all of which have a condition, apply."""
        answers: dict[str, bool | None] = {}
        for one, rule in asking:
            condition = rule.condition
            assert condition is not None  # noqa: S101 - these are the rules that have one
            if condition.text not in answers:
                answers[condition.text] = condition.holds(request)
            applies = answers[condition.text]
            if applies is None:
                allows = rule.effect is Effect.ALLOW
                if unmeasured and condition.asks_bytes:
                    applies = allows
                else:
                    self.failed |= one
                    applies = not allows
            if applies:
                self.applying |= one

    def _contents(self, mine: RuleSet, action: Action, table: TableId | None) -> RuleSet:
        """Give for a dataset that is dropped the rules about what is in it.

        INVARIANT: what drops a dataset drops all that is in it, so these rules protect it.
        """
        dropped = {one.column.table for one in self.facts.redefined}
        if table is None or table.table or table not in dropped:
            return 0
        return self._index.inside(mine, action, table)

    @property
    def named(self) -> tuple[TableId, ...]:
        """All tables that it does something to, in an order that is always the same."""
        return tuple(dict.fromkeys(table for (_, table), _ in self._pairs if table is not None))

    def denials(self, rules: RuleSet) -> list[Denial]:
        """Give each of these rules that denies, with what."""
        return [
            Denial(rule, tuple(pair for pair, fitting in self._pairs if fitting & one))
            for one, rule in self._index.rules(rules & self._index.denying)
        ]

    def gaps(self, rules: RuleSet, hidden: Collection[TableId | None] = ()) -> tuple[Reason, ...]:
        """Give one reason if any action on any table is allowed by none of these rules.

        To tables that are `hidden` nothing is allowed.
        """
        allowing = rules & self._index.allowing
        missing = [
            pair for pair, fitting in self._pairs if not fitting & allowing or pair[1] in hidden
        ]
        if not missing:
            return ()
        message = (
            f"no rule allows agent `{self.principal.agent}` {_say(missing)}, or it does not"
            " exist; ask the owner of the policy for a rule that does"
        )
        return (Reason(DEFAULT_DENY, Effect.DENY, message),)

    def demands(self, rules: Iterable[Near]) -> dict[RuleSet, ApprovalDemand]:
        """Give the approvals that these rules ask for; one that failed unlocks nothing."""
        found = {}
        for one, rule in rules:
            assert rule.demand is not None  # noqa: S101 - these are the rules that have one
            failed = one & self.failed
            found[one] = msgspec.structs.replace(rule.demand, unmask=()) if failed else rule.demand
        return found

    def lifted(
        self, allowing: Iterable[Near], demands: Mapping[RuleSet, ApprovalDemand]
    ) -> Mapping[TableId, frozenset[str]]:
        """Give the labels whose values the agent may see, by table; empty where there are none."""
        rights = {one: rule.unmask for one, rule in allowing if rule.unmask}
        for one, demand in demands.items():
            if demand.unmask:
                rights[one] = frozenset(demand.unmask)
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


def pairs_of(facts: QueryFacts) -> list[Pair]:
    """Give each action with each table that it is done to; None where it is done to no table.

    Reading is done to what is read, changing to what is written, and anything else to all of it.
    """
    actions = dict.fromkeys(facts.actions)
    if facts.reads:  # INVARIANT: what reads a table needs the right to read it
        actions[Action.READ] = None
    pairs: list[Pair] = []
    for action in actions:
        if action is Action.READ:
            tables = facts.reads
        elif action in _ON_WRITTEN_TABLES and facts.writes:
            tables = facts.writes
        else:
            tables = tuple(dict.fromkeys((*facts.reads, *facts.writes)))
        pairs += [(action, table) for table in tables or (None,)]
    return pairs


def _say(pairs: Iterable[Pair]) -> str:
    """Say actions and tables: `read` on `p.d.t`, `p.d.u`."""
    tables_of: dict[Action, list[str]] = {}
    for action, table in pairs:
        tables_of.setdefault(action, []).extend([f"`{table}`"] if table else [])
    return " and ".join(
        f"`{action}` on {', '.join(tables)}" if tables else f"`{action}`"
        for action, tables in tables_of.items()
    )
