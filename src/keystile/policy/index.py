"""Which rules are about whom and about what, found without asking each of them.

A set of rules is a number that has a bit for each, so that a thousand of them meet in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile

from keystile.model.decision import Effect
from keystile.model.facts import Action
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.patterns import Part
from keystile.policy.rules import CompiledRule

RuleSet = int
"""Some rules of an index: bit `n` stands for its rule number `n`."""

Near = tuple[RuleSet, CompiledRule]
"""A rule, and the set of it alone."""

_Value = str | tuple[str, str]
_VALUES: dict[str, Callable[[Principal], Iterable[_Value]]] = {
    "name": lambda asks: (asks.agent,),
    "subject": lambda asks: (asks.subject,),
    "issuer": lambda asks: (asks.issuer,),
    "service_account": lambda asks: (asks.service_account,),
    "group": lambda asks: asks.groups,
    "attribute": lambda asks: asks.attributes.items(),
}


class RuleIndex:
    """Rules, by all that they can be found by."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        """Take the rules in the order in which they are to be reported."""
        every = [*enumerate(rules)]
        self._rules = [(1 << number, rule) for number, rule in every]
        self._every = (1 << len(rules)) - 1
        self.allowing, self.denying, self.demanding, self.limiting = (
            _set(number for number, rule in every if rule.effect is effect)
            for effect in (Effect.ALLOW, Effect.DENY, Effect.REQUIRE_APPROVAL, None)
        )
        self.conditional = _set(number for number, rule in every if rule.condition)
        self._everywhere = _set(number for number, rule in every if rule.scope is None)
        self._by_action = {
            action: _set(number for number, rule in every if action in rule.actions)
            for action in Action
        }
        self._words = [*_by_word(rules)]
        self._named: dict[tuple[Part, ...], RuleSet] = {}
        self._begun: dict[tuple[Part, ...], RuleSet] = {}
        for number, rule in every:
            for pattern in rule.scope.patterns if rule.scope else ():
                begin = tuple(takewhile(lambda part: isinstance(part, str), pattern))
                found = self._named if begin == pattern else self._begun
                found[begin] = found.get(begin, 0) | 1 << number

    def about(self, principal: Principal) -> RuleSet:
        """Give the rules whose every word about agents fits, each by any one of its values."""
        found = self._every
        for without, by_kind in self._words:
            fitting = without
            for kind, by_value in by_kind.items():
                for value in _VALUES[kind](principal):
                    fitting |= by_value.get(value, 0)
            found &= fitting
        return found

    def on(self, among: RuleSet, action: Action, table: TableId | None) -> RuleSet:
        """Give those of some rules that are about this action on this table.

        With no table known, a read reads none, so nothing can be wrong with it; anything else
        might change whatever it wants, so only a rule about every table may allow it, and every
        rule that protects is about it.
        """
        among &= self._by_action[action]
        if table is None:
            suited = self.allowing if action is Action.READ else ~self.allowing
            return among & (self._everywhere | suited)
        return self.naming(among, table)

    def naming(self, among: RuleSet, table: TableId) -> RuleSet:
        """Give those of some rules that are about this table, whatever is done to it."""
        name = (table.project, table.dataset, table.table)
        lowered = tuple(map(str.casefold, name))
        sure, maybe = self._of(*name)
        if lowered != name:
            # INVARIANT: a rule that permits does not fit another spelling, one that protects does.
            sure_too, maybe_too = self._of(*lowered)
            sure = sure & self.allowing | sure_too & ~self.allowing
            maybe = maybe | maybe_too
        found = among & (self._everywhere | sure)
        if maybe := among & maybe & ~found:
            for one, rule in self.rules(maybe):
                found |= one if rule.scope and rule.scope.holds(table) else 0
        return found

    def inside(self, among: RuleSet, action: Action, dataset: TableId) -> RuleSet:
        """Give those rules that protect something in a dataset, which goes with it, from an action.

        A dataset is a table without a name.
        """
        found = 0
        among &= self._by_action[action] & ~self.allowing & ~self._everywhere
        for one, rule in self.rules(among):
            if rule.scope and any(rule.scope.within(dataset.project, dataset.dataset)):
                found |= one
        return found

    def _of(self, project: str, dataset: str, table: str) -> tuple[RuleSet, RuleSet]:
        """Give the rules with a pattern that fits a full name, and those with one that may."""
        named, begun = self._named.get, self._begun.get
        one, two = (project,), (project, dataset)
        return (
            named((project, dataset, table), 0) | named(two, 0) | named(one, 0),
            begun(two, 0) | begun(one, 0) | begun((), 0),
        )

    def rules(self, wanted: RuleSet) -> list[Near]:
        """Give some rules in the given order, each with the set of it alone."""
        found = []
        while wanted:
            last = self._rules[wanted.bit_length() - 1]
            found.append(last)
            wanted ^= last[0]
        found.reverse()
        return found


def _by_word(
    rules: Sequence[CompiledRule],
) -> Iterator[tuple[RuleSet, dict[str, dict[_Value, RuleSet]]]]:
    """Yield, for each place of a word about agents, who lacks it, and who has which value there."""
    for place in range(max((len(rule.agents) for rule in rules), default=0)):
        by_kind: dict[str, dict[_Value, RuleSet]] = {}
        for number, rule in enumerate(rules):
            for kind, *value in rule.agents[place] if place < len(rule.agents) else ():
                by_value = by_kind.setdefault(kind, {})
                key = value[0] if len(value) == 1 else (value[0], value[1])
                by_value[key] = by_value.get(key, 0) | 1 << number
        without = _set(n for n, rule in enumerate(rules) if place >= len(rule.agents))
        yield without, by_kind


def _set(numbers: Iterable[int]) -> RuleSet:
    return sum(1 << number for number in numbers)
