"""Deciding: a pure function of principal, facts, tables, context and the compiled policy.

Order: any deny wins; what is not understood is refused; then what no rule allows is refused; then
every required approval; masks unite; all limits hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from keystile.model.decision import (
    Decision,
    Effect,
    Reason,
    RowFilter,
    Shadow,
)
from keystile.model.facts import QueryFacts, Redefined, used_columns
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId
from keystile.policy.conditions import Conditions
from keystile.policy.connections import ConnectionRules
from keystile.policy.context import Context
from keystile.policy.detectors import Detectors
from keystile.policy.filters import CompiledFilter, FilterError, RowFilters
from keystile.policy.labels import Mark, Path
from keystile.policy.limits import limits_of
from keystile.policy.protection import PlacedKey, Protection
from keystile.policy.question import Denial, Query, Question, pairs_of
from keystile.policy.rules import CompiledRule, RuleIndex, keys_of
from keystile.policy.shadow import Shadows, shadow_of
from keystile.policy.visibility import Visibility

NOT_UNDERSTOOD = "not-understood"
"""The rule name in a reason where the analysis did not understand the query."""

_QUERIES_KEPT = 1024
_NO_SHADOWS = Shadows()


class Policy:
    """An immutable compiled policy. Make one with `compile_policy`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a document
        self,
        digest: str,
        rules: Sequence[CompiledRule],
        conditions: Conditions,
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
        self._index = RuleIndex(rules)
        self._visibility = Visibility(self._index, conditions)
        self._connections = connections
        self._detectors = detectors
        self._conditions = conditions
        self._protection = protection
        self._allowed_by = {
            rule.name: _allow_reason(rule)
            for rule in (*rules, *shadows.rules)
            if rule.effect is Effect.ALLOW
        }
        self._queries: dict[int, Query] = {}
        self.words = frozenset(
            word for rule in rules if rule.condition for word in rule.condition.words
        )
        """What conditions may ask for, as their words are named in `conditions`."""
        every_rule = (*rules, *shadows.rules)
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
        query = self._query(facts, tables)
        asked = self._index.near(principal, query.named)
        question = Question(
            self._conditions, self._protection, principal, query, context, unmeasured=unmeasured
        )
        decision = self._ruled(principal, query, question, asked, self.row_filters)
        if query.problem or self._shadows == _NO_SHADOWS:
            return decision
        if unmeasured and decision.effect is not Effect.DENY:
            return decision  # it is made again, with what is in shadow
        shadows = self._in_shadow(principal, query, context, asked, decision)
        return msgspec.structs.replace(decision, shadows=tuple(shadows))

    @property
    def every_filter(self) -> tuple[CompiledFilter, ...]:
        """All row filters, those in shadow too."""
        return (*self.row_filters.all, *(one.filter for one in self._shadows.filters))

    def _ruled(
        self,
        principal: Principal,
        query: Query,
        question: Question,
        asked: Sequence[CompiledRule],
        row_filters: RowFilters,
    ) -> Decision:
        """Decide by these rules and filters, and by what the question knows to be protected."""
        if query.problem:
            # What is denied whatever it says in detail is denied in the rule's own words: a reader
            # can do more with those. Conditions are left alone: they ask about the details.
            plain = (rule for rule in asked if rule.condition is None)
            unclear = Reason(NOT_UNDERSTOOD, Effect.DENY, query.problem)
            return self._denied(question, query, question.denials(plain), lambda _: (unclear,))
        denials = tuple(question.denials(asked))
        allowing = question.allowing(asked)
        if denials or any(question.gaps(allowing)):
            return self._denied(
                question, query, denials, lambda hidden: question.gaps(allowing, hidden)
            )
        try:
            filters = row_filters.of(principal, query.tables)
        except FilterError as error:
            denial = Reason(error.rule, Effect.DENY, str(error))
            return Decision(Effect.DENY, (denial,), self.digest)
        demanding = list(question.demanding(asked))
        reasons = tuple(_demand_reason(rule) for rule, _ in demanding)
        return Decision(
            Effect.REQUIRE_APPROVAL if demanding else Effect.ALLOW,
            (
                *reasons,
                *(self._allowed_by[rule.name] for rule in allowing),
                *_filter_reasons(filters),
            ),
            self.digest,
            masks=question.masks(allowing, demanding),
            approvals=tuple(demand for _, demand in demanding),
            row_filters=filters,
            limits=tuple(
                limits for rule in question.limiting(asked) for limits in limits_of(rule, principal)
            ),
            detections=self._detectors.of(
                principal, query.facts, query.tables, question.lifted(allowing, demanding)
            ),
        )

    def _denied(
        self,
        question: Question,
        query: Query,
        denials: Iterable[Denial],
        otherwise: Callable[[Collection[TableId | None]], Iterable[Reason]],
    ) -> Decision:
        """Deny a query; `otherwise` has what is said where no rule denies, but for what is hidden.

        INVARIANT: what is told is the same whether a table that is hidden exists or not, and names
        no rule for it that an agent could know it by.
        """
        hiding = {
            table: self._visibility.hiding(question.principal, table, question.context)
            for table in query.named
            if table is not None
        }
        hidden = {table for table, rules in hiding.items() if rules}
        told = tuple(one.reason for each in denials if (one := each.but(hidden)))
        told = told or tuple(otherwise(hidden))
        named = {reason.rule for reason in told}
        untold = {
            rule.name: _untold(rule, table)
            for table, rules in hiding.items()
            for rule in rules
            if rule.name not in named
        }
        return Decision(
            Effect.DENY, (*told, *(untold[name] for name in sorted(untold))), self.digest
        )

    def _in_shadow(
        self,
        principal: Principal,
        query: Query,
        context: Context,
        asked: Sequence[CompiledRule],
        real: Decision,
    ) -> Iterator[Shadow]:
        """Yield what each of those in shadow would have done, alone beside all that is enforced."""
        facts_of_agent = frozenset(keys_of(principal))
        question = Question(self._conditions, self._protection, principal, query, context)
        for rule in self._shadows.rules:
            if rule.is_about(facts_of_agent) and any(rule.fits(*pair) for pair in query.pairs):
                tried = self._ruled(principal, query, question, (*asked, rule), self.row_filters)
                failed = question.fails(rule)
                if found := shadow_of(rule.name, query.facts, real, tried, failed=failed):
                    yield found
        for filter_, filters in self._shadows.filters:
            tried = self._ruled(principal, query, question, asked, filters)
            if found := shadow_of(filter_.name, query.facts, real, tried):
                yield found
        for name, protection in self._shadows.masks:
            other = Question(self._conditions, protection, principal, query, context)
            tried = self._ruled(principal, query, other, asked, self.row_filters)
            if found := shadow_of(name, query.facts, real, tried):
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
        """Give the decision by which rules hide a table that others allow the principal; or None.

        A dataset is a table without a name.
        """
        rules = self._visibility.hiding(principal, table, context)
        reasons = tuple(_untold(rule, table) for rule in rules)
        return Decision(Effect.DENY, reasons, self.digest) if reasons else None

    def _query(self, facts: QueryFacts, tables: tuple[Table, ...]) -> Query:
        """Give what is the same for all who ask, remembered while these very facts are asked about.

        INVARIANT: what is remembered holds its facts, so no other facts can have their identity.
        """
        known = self._queries.get(id(facts))
        if known is not None and known.facts is facts and known.tables == tables:
            return known
        if len(self._queries) >= _QUERIES_KEPT:
            self._queries.clear()
        problem = self._not_understood(facts, tables)
        pairs = tuple(pairs_of(facts))
        named = tuple(dict.fromkeys(table for _, table in pairs))
        made = self._queries[id(facts)] = Query(facts, tables, pairs, problem, named, {})
        return made

    def _not_understood(self, facts: QueryFacts, tables: tuple[Table, ...]) -> str:
        """Give the sentence for what is not understood, or an empty text."""
        if facts.opaque:
            what = facts.opaque[0]
            place = f" at [{what.line}:{what.column}]" if what.line else ""
            hint = what.hint or "write it without"
            return f"{what.what}{place} is not understood, so the query is refused; {hint}"
        if not facts.actions:
            return (
                f"what a `{facts.statement}` statement does is not known, so it is refused; write"
                " it as statements of other kinds"
            )
        known = {table.id: self._protection.of(table).covered for table in tables}
        tables_known = known.keys() | {member.id for table in tables for member in table.members}
        for table in (*facts.reads, *facts.writes):
            if table not in tables_known and (table in facts.reads or table not in facts.unseen):
                return (
                    f"the schema of `{table}` is not known, so the query is refused; read another"
                    " table, or ask the gateway's operator"
                )
        for column in used_columns(facts):
            if column.path not in known.get(column.table, ()):
                return (
                    f"column `{column}` is not in its table's schema, so the query is refused;"
                    " leave it out, or try again if the table has just changed"
                )
        return ""


def _allow_reason(rule: CompiledRule) -> Reason:
    allowed = ", ".join(f"`{action}`" for action in sorted(rule.actions))
    return Reason(rule.name, Effect.ALLOW, rule.message or f"rule `{rule.name}` allows {allowed}")


def _untold(rule: CompiledRule, table: TableId) -> Reason:
    plain = f"rule `{rule.name}` denies all that is allowed on `{table}`"
    return Reason(rule.name, Effect.DENY, rule.message or plain, untold=True)


def _filter_reasons(filters: Iterable[RowFilter]) -> Iterator[Reason]:
    for one in filters:
        yield Reason(one.rule, Effect.ALLOW, f"row filter `{one.rule}`: some rows of `{one.table}`")


def _demand_reason(rule: CompiledRule) -> Reason:
    demand = rule.demand
    assert demand is not None  # noqa: S101 - only rules with a demand come here
    people = "one person" if demand.count == 1 else f"{demand.count} people"
    groups = " or ".join(f"`{group}`" for group in demand.approvers)
    default = f"rule `{rule.name}` asks for approval by {people} of {groups}; the query waits"
    return Reason(rule.name, Effect.REQUIRE_APPROVAL, rule.message or default)
