"""Deciding: a pure function of principal, facts, tables, context and the compiled policy.

Order: any deny wins; what is not understood is refused; then what no rule allows is refused; then
every required approval; masks unite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from keystile.model.decision import (
    ApprovalDemand,
    ColumnMask,
    Decision,
    Effect,
    Reason,
    RowFilter,
)
from keystile.model.facts import Action, QueryFacts, Use
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Table, TableId
from keystile.policy.conditions import Activation, Conditions, TouchedLabels
from keystile.policy.context import Context
from keystile.policy.filters import FilterError, RowFilters
from keystile.policy.labels import Path
from keystile.policy.protection import Protection
from keystile.policy.rules import CompiledRule, RuleIndex

DEFAULT_DENY = "default-deny"
"""The rule name in a reason where no rule allows something."""

NOT_UNDERSTOOD = "not-understood"
"""The rule name in a reason where the analysis did not understand the query."""

Pair = tuple[Action, TableId | None]

_ON_WRITTEN_TABLES = frozenset({Action.WRITE, Action.SCHEMA_CHANGE, Action.ACCESS_CHANGE})
_ROW_CHOOSING_USES = frozenset({Use.FILTER, Use.JOIN})
_QUERIES_KEPT = 1024
_NOTHING: frozenset[str] = frozenset()


class _Query(NamedTuple):
    """What a query is to this policy, whoever asks: `problem` says what is not understood."""

    facts: QueryFacts
    tables: tuple[Table, ...]
    pairs: tuple[Pair, ...]
    problem: str


class Policy:
    """An immutable compiled policy. Make one with `compile_policy`."""

    def __init__(
        self,
        digest: str,
        rules: Sequence[CompiledRule],
        conditions: Conditions,
        protection: Protection,
        row_filters: RowFilters,
    ) -> None:
        """Take rules sorted by name; `digest` is the SHA-256 of what the documents say, in hex."""
        self.row_filters = row_filters
        self.digest = digest
        self._index = RuleIndex(rules)
        self._conditions = conditions
        self._protection = protection
        self._allowed_by = {
            rule.name: _allow_reason(rule) for rule in rules if rule.effect is Effect.ALLOW
        }
        self._queries: dict[int, _Query] = {}

    def labels(self, table: Table) -> Mapping[Path, tuple[str, ...]]:
        """Give the labels of each labelled leaf of `table`; a STRUCT's labels go to its leaves."""
        return self._protection.of(table).labels

    def decide(
        self, principal: Principal, facts: QueryFacts, tables: tuple[Table, ...], context: Context
    ) -> Decision:
        """Decide on one query.

        `tables` are all tables that it reads or writes, as the analysis saw them. Never raises for
        a query: what does not fit together is denied.
        """
        query = self._query(facts, tables)
        question = _Question(self._conditions, self._protection, principal, query, context)
        asked = self._index.about(principal)
        if query.problem:
            # What is denied whatever it says in detail is denied in the rule's own words: a reader
            # can do more with those. Conditions are left alone: they ask about the details.
            plain = (rule for rule in asked if rule.condition is None)
            unclear = Reason(NOT_UNDERSTOOD, Effect.DENY, query.problem)
            denials = tuple(question.denials(plain)) or (unclear,)
            return Decision(Effect.DENY, denials, self.digest)
        if denials := tuple(question.denials(asked)):
            return Decision(Effect.DENY, denials, self.digest)
        allowing = question.allowing(asked)
        if gaps := tuple(question.gaps(allowing)):
            return Decision(Effect.DENY, gaps, self.digest)
        try:
            filters = self.row_filters.of(principal, tables)
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
        )

    def may_see_table(self, principal: Principal, table: TableId, context: Context) -> bool:
        """Tell whether some rule allows the principal anything at all on the table.

        Where not, the table must look absent. Conditions about the query count as met here.
        """
        return not _is_hidden(table.dataset) and any(
            rule.scope is None or rule.scope.holds(table)
            for rule in self._permitting(principal, context)
        )

    def may_see_project(self, principal: Principal, project: str, context: Context) -> bool:
        """Tell whether some rule allows the principal anything in the project."""
        return any(
            rule.scope is None or rule.scope.is_in(project)
            for rule in self._permitting(principal, context)
        )

    def may_see_dataset(
        self, principal: Principal, project: str, dataset: str, context: Context
    ) -> bool:
        """Tell whether some rule allows the principal anything in the dataset."""
        return not _is_hidden(dataset) and any(
            rule.scope is None or rule.scope.reaches(project, dataset)
            for rule in self._permitting(principal, context)
        )

    def _permitting(self, principal: Principal, context: Context) -> Iterator[CompiledRule]:
        nothing = QueryFacts("", ())
        activation = self._conditions.activation(principal, nothing, TouchedLabels(), context)
        for rule in self._index.about(principal):
            condition = rule.condition
            if rule.effect is Effect.ALLOW and (
                condition is None or condition.about_query or condition.holds(activation) is True
            ):
                yield rule

    def _query(self, facts: QueryFacts, tables: tuple[Table, ...]) -> _Query:
        """Give what is the same for all who ask, remembered while these very facts are asked about.

        INVARIANT: what is remembered holds its facts, so no other facts can have their identity.
        """
        known = self._queries.get(id(facts))
        if known is not None and known.facts is facts and known.tables == tables:
            return known
        if len(self._queries) >= _QUERIES_KEPT:
            self._queries.clear()
        problem = self._not_understood(facts, tables)
        made = self._queries[id(facts)] = _Query(facts, tables, tuple(_pairs(facts)), problem)
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
        for column in _used_columns(facts):
            if column.path not in known.get(column.table, ()):
                return (
                    f"column `{column}` is not in its table's schema, so the query is refused;"
                    " leave it out, or try again if the table has just changed"
                )
        return ""


class _Question:
    """One query before the policy: what several rules ask of it is found once."""

    def __init__(
        self,
        conditions: Conditions,
        protection: Protection,
        principal: Principal,
        query: _Query,
        context: Context,
    ) -> None:
        self._conditions = conditions
        self._protection = protection
        self._principal = principal
        self._facts = query.facts
        self._tables = query.tables
        self._context = context
        self._pairs = query.pairs

    def denials(self, rules: Iterable[CompiledRule]) -> Iterator[Reason]:
        """Yield a reason for every rule that denies. A condition that fails counts as met."""
        for rule in rules:
            if rule.effect is not Effect.DENY:
                continue
            hit = [pair for pair in self._pairs if rule.fits(*pair)]
            if hit and self._holds(rule) is not False:
                default = f"rule `{rule.name}` denies {_say(hit)}; ask its owner if you need it"
                yield Reason(rule.name, Effect.DENY, rule.message or default)

    def allowing(self, rules: Iterable[CompiledRule]) -> list[CompiledRule]:
        """Give the rules that allow any part. A condition that fails counts as not met."""
        return [
            rule
            for rule in rules
            if rule.effect is Effect.ALLOW
            and any(rule.fits(*pair) for pair in self._pairs)
            and self._holds(rule) is True
        ]

    def gaps(self, allowing: Sequence[CompiledRule]) -> Iterator[Reason]:
        """Yield one reason if any action on any table is allowed by no rule."""
        missing = [pair for pair in self._pairs if not any(rule.fits(*pair) for rule in allowing)]
        if missing:
            message = (
                f"no rule allows agent `{self._principal.agent}` {_say(missing)}, or it does not"
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

    def masks(
        self,
        allowing: Sequence[CompiledRule],
        demanding: Sequence[tuple[CompiledRule, ApprovalDemand]],
    ) -> tuple[ColumnMask, ...]:
        """Give the mask of every protected column of every table, read or not."""
        rights = [(rule, rule.unmask) for rule in allowing if rule.unmask]
        rights += [(rule, frozenset(demand.unmask)) for rule, demand in demanding if demand.unmask]
        masks: list[ColumnMask] = []
        for table in self._tables:
            # INVARIANT: what is lifted on a wildcard is lifted on each of its members.
            lifted = [_lifted(rights, member.id) for member in table.read] if rights else [_NOTHING]
            masks += self._protection.masks(table, frozenset.intersection(*lifted))
        return tuple(masks)

    def _holds(self, rule: CompiledRule) -> bool | None:
        return True if rule.condition is None else rule.condition.holds(self._activation)

    @cached_property
    def _activation(self) -> Activation:
        """The words of conditions; built only where a rule that fits has one."""
        facts = self._facts
        covered = {table.id: self._protection.of(table).covered for table in self._tables}

        def labels(columns: Iterable[ColumnRef]) -> frozenset[str]:
            return frozenset().union(*(covered[column.table][column.path] for column in columns))

        outputs = labels(source for column in facts.output for source in column.sources)
        used_in_output = labels(use.column for use in facts.columns if Use.OUTPUT in use.uses)
        touched = TouchedLabels(
            touches=labels(_used_columns(facts)),
            outputs=outputs | used_in_output,
            filters=labels(
                use.column for use in facts.columns if not _ROW_CHOOSING_USES.isdisjoint(use.uses)
            ),
        )
        return self._conditions.activation(self._principal, facts, touched, self._context)


def _lifted(
    rights: Iterable[tuple[CompiledRule, frozenset[str]]], table: TableId
) -> frozenset[str]:
    """Give the labels that somebody with these rights may see on the table."""
    return frozenset().union(*(labels for rule, labels in rights if rule.fits(Action.READ, table)))


def _is_hidden(dataset: str) -> bool:
    """Tell whether a dataset is one of BigQuery's own, which no policy can open.

    INVARIANT: in the datasets whose names begin with `_` the results of all agents lie, and the
    gateway's own account could read them all; `INFORMATION_SCHEMA` tells of everybody's jobs.
    """
    return dataset.startswith("_") or dataset.upper() == "INFORMATION_SCHEMA"


def _used_columns(facts: QueryFacts) -> Iterator[ColumnRef]:
    for use in facts.columns:
        yield use.column
    for output in facts.output:
        yield from output.sources


def _pairs(facts: QueryFacts) -> Iterator[Pair]:
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


def _allow_reason(rule: CompiledRule) -> Reason:
    allowed = ", ".join(f"`{action}`" for action in sorted(rule.actions))
    return Reason(rule.name, Effect.ALLOW, rule.message or f"rule `{rule.name}` allows {allowed}")


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
