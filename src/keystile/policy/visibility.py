"""What an agent may know of: tables that rules leave it something to do to.

It is told by agent and name alone, so that nobody has to look anything up first. INVARIANT: what
is hidden can never be read, written or changed, whichever way a query is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keystile.model.decision import Effect
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.conditions import Request, TouchedLabels
from keystile.policy.context import Context
from keystile.policy.index import RuleIndex, RuleSet
from keystile.policy.rules import CompiledRule, table_within

_BY_ITSELF = frozenset({Action.READ, Action.WRITE, Action.SCHEMA_CHANGE, Action.ACCESS_CHANGE})
"""What can be done to a table by itself; every other action comes with one of these."""


class Visibility:
    """Finds out what the rules of an index leave to a principal."""

    def __init__(self, index: RuleIndex, enforced: RuleSet) -> None:
        """Take all rules, and which of them are enforced."""
        self._index = index
        self._enforced = enforced

    def sees(self, principal: Principal, table: TableId, context: Context) -> bool:
        """Tell whether the principal may know of the table."""
        return _is_open(self._near(self._about(principal), table), _request(principal, context))

    def sees_any(self, principal: Principal, home: tuple[str, ...], context: Context) -> bool:
        """Tell whether the principal may know of any table that could be in a project or dataset.

        `home` is the project's name, or that and the dataset's.
        """
        mine, request = self._about(principal), _request(principal, context)
        return any(
            _is_open(self._near(mine, table), request)
            for _, rule in self._index.rules(mine)
            if rule.effect is Effect.ALLOW
            for table in (rule.scope.within(*home) if rule.scope else (table_within(*home),))
        )

    def hiding(
        self, principal: Principal, table: TableId, context: Context
    ) -> tuple[CompiledRule, ...]:
        """Give the rules that leave nothing of a table; none where something is, or never was.

        Where those about every table suffice they are all: these tell of no table, and need not be
        kept from the agent.
        """
        rules, request = self._near(self._about(principal), table), _request(principal, context)
        allows = [rule for rule in rules if rule.effect is Effect.ALLOW]
        if _is_open(rules, request) or not _is_open(allows, request):
            return ()
        denying = [*_denying(rules, request)]
        everywhere = [rule for rule in denying if rule.scope is None]
        if not _is_open([*allows, *everywhere], request):
            return tuple(everywhere)
        return tuple(denying)

    def _about(self, principal: Principal) -> RuleSet:
        return self._index.about(principal) & self._enforced

    def _near(self, mine: RuleSet, table: TableId) -> list[CompiledRule]:
        """Give those of an agent's rules that allow or deny something on the table."""
        if _is_closed(table.dataset):
            return []
        near = self._index.rules(self._index.naming(mine, table))
        return [rule for _, rule in near if rule.effect in {Effect.ALLOW, Effect.DENY}]


def _request(principal: Principal, context: Context) -> Request:
    return Request(principal, QueryFacts("", ()), TouchedLabels(), context)


def _is_open(rules: Sequence[CompiledRule], request: Request) -> bool:
    """Tell whether these rules leave anything that can be done to what they are all about."""
    allowed: set[Action] = set()
    for rule in rules:
        condition = rule.condition
        if rule.effect is Effect.ALLOW and (
            condition is None or condition.about_query or condition.holds(request) is True
        ):
            allowed |= rule.actions
    denied = {action for rule in _denying(rules, request) for action in rule.actions}
    # What comes with other actions only is of no use where these are denied.
    return bool((allowed & _BY_ITSELF or allowed) - denied)


def _denying(rules: Sequence[CompiledRule], request: Request) -> Iterator[CompiledRule]:
    """Yield the rules that deny this principal something whatever is asked, and whenever it is."""
    for rule in rules:
        condition = rule.condition
        if rule.effect is Effect.DENY and (
            condition is None or (condition.about_agent and condition.holds(request) is not False)
        ):
            yield rule


def _is_closed(dataset: str) -> bool:
    """Tell whether a dataset is one of BigQuery's own, which no policy can open.

    INVARIANT: in the datasets whose names begin with `_` the results of all agents lie, and the
    gateway's own account could read them all; `INFORMATION_SCHEMA` tells of everybody's jobs.
    """
    return dataset.startswith("_") or dataset.upper() == "INFORMATION_SCHEMA"
