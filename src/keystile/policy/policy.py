"""Deciding: a pure function of principal, facts, tables, context and the compiled policy.

Order: any deny wins; what is not understood is refused; then what no rule allows is refused; then
every required approval; masks unite; all limits hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from keystile.model.decision import (
    Decision,
    Effect,
    Reason,
    RowFilter,
    Shadow,
)
from keystile.model.facts import QueryFacts, Redefined
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId
from keystile.policy.connections import ConnectionRules
from keystile.policy.context import Context
from keystile.policy.detectors import Detectors
from keystile.policy.filters import CompiledFilter, FilterError, RowFilters
from keystile.policy.index import RuleIndex, RuleSet
from keystile.policy.labels import Mark, Path
from keystile.policy.limits import limits_of
from keystile.policy.protection import PlacedKey, Protection
from keystile.policy.question import Question
from keystile.policy.rules import CompiledRule
from keystile.policy.shadow import Shadows, shadow_of
from keystile.policy.visibility import Visibility

NOT_UNDERSTOOD = "not-understood"
"""The rule name in a reason where the analysis did not understand the query."""

_NO_SHADOWS = Shadows()


class Policy:
    """An immutable compiled policy. Make one with `compile_policy`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a document
        self,
        digest: str,
        rules: Sequence[CompiledRule],
        protection: Protection,
        row_filters: RowFilters,
        connections: ConnectionRules,
        detectors: Detectors,
        shadows: Shadows = _NO_SHADOWS,
        named_keys: Sequence[PlacedKey] = (),
    ) -> None:
        """Take rules sorted by name; `digest` is the SHA-256 of what the documents say, in hex."""
        self.row_filters = row_filters
        self._shadows = shadows
        self.digest = digest
        self.sql_masks = protection.placed
        self.named_keys = tuple(named_keys)
        every_rule = (*rules, *shadows.rules)
        self._index = RuleIndex(every_rule)
        self._reasons = {
            rule.name: _reason(rule)
            for rule in every_rule
            if rule.effect in {Effect.ALLOW, Effect.REQUIRE_APPROVAL}
        }
        self._enforced = (1 << len(rules)) - 1
        self._visibility = Visibility(self._index, self._enforced)
        self._connections = connections
        self._detectors = detectors
        self._protection = protection
        self.words = frozenset(
            word for rule in rules if rule.condition for word in rule.condition.words
        )
        """What conditions may ask for, as their words are named in `conditions`."""
        self.asks_bytes = any(one.condition and one.condition.asks_bytes for one in every_rule)
        """Whether a decision, or one in shadow, may depend on how much a query reads."""

    def connection_of(self, principal: Principal) -> str:
        """Name the connection that a principal's queries run under; empty for the default one.

        Raises `RefusedError` where the policy contradicts itself.
        """
        return self._connections.of(principal)

    def labels(self, table: Table) -> Mapping[Path, tuple[str, ...]]:
        """Give the labels of each labelled leaf of `table`; a STRUCT's labels go to its leaves."""
        return self._protection.of(table).labels

    def marks(self, table: Table) -> Mapping[Path, frozenset[Mark]]:
        """Give every label of each labelled leaf of a table, with why it has it."""
        return self._protection.marks(table)

    def derived(self, table: Table) -> Mapping[Path, frozenset[str]]:
        """Give those labels of each leaf that it has for values made of what is labelled so."""
        return self._protection.of(table).derived

    def lost(self, table: Table, redefined: Sequence[Redefined]) -> tuple[Path, str] | None:
        """Give a column of `table` that would lose its policy tags or a description that labels it.

        The text says which of them, for a sentence that begins with the column's name.
        """
        return self._protection.lost(table, redefined)

    def decide(
        self,
        principal: Principal,
        facts: QueryFacts,
        tables: tuple[Table, ...],
        context: Context,
        *,
        unmeasured: bool = False,
    ) -> Decision:
        """Decide on one query.

        `tables` are all tables that it reads or writes, as the analysis saw them. Never raises for
        a query: what does not fit together is denied. With `unmeasured` it is asked whether it may
        be allowed at all, before anybody knows how much it reads: a denial is final, and what else
        comes out is so where the policy `asks_bytes` of none.
        """
        unmeasured = unmeasured and self.asks_bytes
        asked = (self._index, self._protection, principal, facts, tables, context)
        question = Question(*asked, unmeasured=unmeasured)
        rules = question.applying & self._enforced
        decision = self._ruled(question, rules, self.row_filters, self._protection)
        if question.problem or not any(self._shadows):
            return decision
        if unmeasured and decision.effect is not Effect.DENY:
            return decision  # it is made again, with what is in shadow
        shadows = self._in_shadow(Question(*asked) if unmeasured else question, decision)
        return msgspec.structs.replace(decision, shadows=tuple(shadows))

    @property
    def every_filter(self) -> tuple[CompiledFilter, ...]:
        """All row filters, those in shadow too."""
        return (*self.row_filters.all, *(one.filter for one in self._shadows.filters))

    def _ruled(
        self,
        question: Question,
        rules: RuleSet,
        row_filters: RowFilters,
        protection: Protection,
    ) -> Decision:
        """Decide by these filters and masks, and by these of the rules that apply."""
        index = self._index
        if question.problem or rules & index.denying or question.gaps(rules):
            return self._denied(question, rules)
        principal, tables = question.principal, question.tables
        try:
            filters = row_filters.of(principal, tables)
        except FilterError as error:
            denial = Reason(error.rule, Effect.DENY, str(error))
            return Decision(Effect.DENY, (denial,), self.digest)
        demanding = index.rules(rules & index.demanding)
        allowing = index.rules(rules & index.allowing)
        demands = question.demands(demanding)
        lifted = question.lifted(allowing, demands)
        return Decision(
            Effect.REQUIRE_APPROVAL if demands else Effect.ALLOW,
            (
                *[self._reasons[rule.name] for _, rule in (*demanding, *allowing)],
                *map(_filter_reason, filters),
            ),
            self.digest,
            masks=protection.masks(tables, lifted),
            approvals=tuple(demands.values()),
            row_filters=filters,
            limits=limits_of(index.rules(rules & index.limiting), principal),
            detections=self._detectors.of(principal, question.facts, tables, lifted),
        )

    def _denied(self, question: Question, rules: RuleSet) -> Decision:
        """Deny a query that is not understood, or that these rules deny or do not allow.

        INVARIANT: what is told is the same whether a table that is hidden exists or not, and names
        no rule for it that an agent could know it by.
        """
        hiding = {
            table: self._visibility.hiding(question.principal, table, question.context)
            for table in question.named
        }
        hidden = {table for table, about in hiding.items() if _hide(about)}
        # What is denied whatever it says in detail is denied in the rule's own words, though it is
        # not understood: a reader can do more with those.
        told = tuple(one.reason for each in question.denials(rules) if (one := each.but(hidden)))
        if not told:
            unclear = Reason(NOT_UNDERSTOOD, Effect.DENY, question.problem)
            told = (unclear,) if question.problem else question.gaps(rules, hidden)
        named = {reason.rule for reason in told}
        untold = {
            rule.name: _untold(rule, table)
            for table, about in hiding.items()
            for rule in about
            if _hide(about) and rule.name not in named
        }
        return Decision(
            Effect.DENY, (*told, *(untold[name] for name in sorted(untold))), self.digest
        )

    def _in_shadow(self, question: Question, real: Decision) -> Iterator[Shadow]:
        """Yield what each of those in shadow would have done, alone beside all that is enforced."""
        facts, shadows = question.facts, self._shadows
        enforced = question.applying & self._enforced
        near = (question.applying | question.failed) & ~self._enforced
        for one, rule in self._index.rules(near):
            rules = enforced | one & question.applying
            tried = self._ruled(question, rules, self.row_filters, self._protection)
            failed = bool(one & question.failed)
            if found := shadow_of(rule.name, facts, real, tried, failed=failed):
                yield found
        for filter_, filters in shadows.filters:
            tried = self._ruled(question, enforced, filters, self._protection)
            if found := shadow_of(filter_.name, facts, real, tried):
                yield found
        for name, protection in shadows.masks:
            tried = self._ruled(question, enforced, self.row_filters, protection)
            if found := shadow_of(name, facts, real, tried):
                yield found

    def may_see_table(self, principal: Principal, table: TableId, context: Context) -> bool:
        """Tell whether rules leave the principal anything at all that it may do to the table.

        Where not, the table must look absent. Conditions about the query count as met where they
        allow, and as not met where they deny.
        """
        return self._visibility.sees(principal, table, context)

    def may_see_project(self, principal: Principal, project: str, context: Context) -> bool:
        """Tell whether rules leave the principal anything in the project."""
        return self._visibility.sees_any(principal, (project,), context)

    def may_see_dataset(
        self, principal: Principal, project: str, dataset: str, context: Context
    ) -> bool:
        """Tell whether rules leave the principal anything in the dataset."""
        return self._visibility.sees_any(principal, (project, dataset), context)

    def hidden_by(self, principal: Principal, table: TableId, context: Context) -> Decision | None:
        """Give the decision by which rules take from the principal all that others allow; or None.

        Its reasons are `untold`, unless rules about every table suffice for it. A dataset is a
        table without a name.
        """
        rules = self._visibility.hiding(principal, table, context)
        say = _untold if _hide(rules) else _told
        reasons = tuple(say(rule, table) for rule in rules)
        return Decision(Effect.DENY, reasons, self.digest) if reasons else None


def _reason(rule: CompiledRule) -> Reason:
    """Say what a rule allows, or what it asks for."""
    if demand := rule.demand:
        people = "one person" if demand.count == 1 else f"{demand.count} people"
        groups = " or ".join(f"`{group}`" for group in demand.approvers)
        plain = f"rule `{rule.name}` asks for approval by {people} of {groups}; the query waits"
        return Reason(rule.name, Effect.REQUIRE_APPROVAL, rule.message or plain)
    allowed = ", ".join(f"`{action}`" for action in sorted(rule.actions))
    return Reason(rule.name, Effect.ALLOW, rule.message or f"rule `{rule.name}` allows {allowed}")


def _hide(rules: Sequence[CompiledRule]) -> bool:
    """Tell whether the agent must not hear of these rules, for one is about some tables only."""
    return any(rule.scope is not None for rule in rules)


def _told(rule: CompiledRule, _: TableId) -> Reason:
    plain = f"rule `{rule.name}` denies all that is allowed; ask its owner if you need it"
    return Reason(rule.name, Effect.DENY, rule.message or plain)


def _untold(rule: CompiledRule, table: TableId) -> Reason:
    plain = f"rule `{rule.name}` denies all that is allowed on `{table}`"
    return Reason(rule.name, Effect.DENY, rule.message or plain, untold=True)


def _filter_reason(one: RowFilter) -> Reason:
    return Reason(one.rule, Effect.ALLOW, f"row filter `{one.rule}`: some rows of `{one.table}`")
