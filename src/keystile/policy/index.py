"""Which rules are about whom and about what, found without asking each of them.

A set of rules is a number that has a bit for each, so that a thousand of them meet in one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from keystile.model.decision import Effect
from keystile.model.facts import Action
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.patterns import Part
from keystile.policy.rules import CompiledRule

RuleSet = int
"""Some rules of an index: bit `n` stands for its rule number `n`."""

_Value = str | tuple[str, str]


class RuleIndex:
    """Rules, by all that they can be found by."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        """Take the rules in the order in which they are to be reported."""
        self._rules = tuple(rules)
        every = [*enumerate(rules)]
        self._allowing = _set(number for number, rule in every if rule.effect is Effect.ALLOW)
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
        values: dict[str, Iterable[_Value]] = {
            "name": (principal.agent,),
            "subject": (principal.subject,),
            "issuer": (principal.issuer,),
            "service_account": (principal.service_account,),
            "group": principal.groups,
            "attribute": principal.attributes.items(),
        }
        found = (1 << len(self._rules)) - 1
        for without, by_kind in self._words:
            fitting = without
            for kind, by_value in by_kind.items():
                for value in values[kind]:
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
            suited = self._allowing if action is Action.READ else ~self._allowing
            return among & (self._everywhere | suited)
        return self.naming(among, table)

    def naming(self, among: RuleSet, table: TableId) -> RuleSet:
        """Give those of some rules that are about this table, whatever is done to it."""
        name = (table.project, table.dataset, table.table)
        lowered = (name[0].casefold(), name[1].casefold(), name[2].casefold())
        sure, maybe = self._of(name)
        if lowered != name:
            # INVARIANT: a rule that permits does not fit another spelling, one that protects does.
            sure_too, maybe_too = self._of(lowered)
            sure = sure & self._allowing | sure_too & ~self._allowing
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
        among &= self._by_action[action] & ~self._allowing & ~self._everywhere
        for one, rule in self.rules(among):
            if rule.scope and any(rule.scope.within(dataset.project, dataset.dataset)):
                found |= one
        return found

    def _of(self, name: tuple[str, ...]) -> tuple[RuleSet, RuleSet]:
        """Give the rules with a pattern that fits a full name, and those with one that may."""
        dataset, project = name[:2], name[:1]
        named, begun = self._named.get, self._begun.get
        return (
            named(name, 0) | named(dataset, 0) | named(project, 0),
            begun(dataset, 0) | begun(project, 0) | begun((), 0),
        )

    def rules(self, wanted: RuleSet) -> list[tuple[RuleSet, CompiledRule]]:
        """Give some rules in the given order, each with the set of it alone."""
        found = []
        while wanted:
            one = wanted & -wanted
            found.append((one, self._rules[one.bit_length() - 1]))
            wanted ^= one
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
