"""Rules and row filters that can change no decision, each of which is a mistake of its author.

INVARIANT: what is told here is certain. A policy that is refused for a rule that does apply would
keep the gateway from starting, so where it is not certain nothing is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keystile.model.decision import Effect
from keystile.policy.contradictions import impossible
from keystile.policy.document import RowFiltering, Rule
from keystile.policy.patterns import Part, Wild, fit
from keystile.policy.rules import CompiledRule, Key, compile_scope

Pattern = tuple[Part, ...]

_ANY = Wild(("", ""))
_DEPTH = 3
_NEVER = "`when` is never true"
# A principal has one of each, and of each attribute; of groups it may have any number.
_SINGLE = frozenset({"name", "subject", "issuer", "service_account"})


class Useless(NamedTuple):
    """A rule by its number, the word in it that shows why, and the sentence for its author."""

    number: int
    word: str
    message: str
    hint: str


class _Reach(NamedTuple):
    """What a rule is about: its compiled form, and patterns without regard to case; None for all.

    `one_of` has what must be true of a principal of which one value is all that it has.
    """

    rule: CompiledRule
    patterns: tuple[Pattern, ...] | None
    one_of: dict[Key, frozenset[Key]]


def useless(rules: Sequence[tuple[Rule | RowFiltering, CompiledRule]]) -> Iterator[Useless]:
    """Yield every rule that never applies. They are told by their numbers in `rules`.

    What is in shadow hides no other rule and may be of no use yet; where it allows, others reach.
    """
    every = [_reach(rule, compiled) for rule, compiled in rules]
    allows = [one for one in every if one.rule.effect is Effect.ALLOW]
    denies: dict[str | None, list[_Reach]] = {}
    for one, (rule, _) in zip(every, rules, strict=True):
        if one.rule.effect is Effect.DENY and not rule.shadow:
            denies.setdefault(_when(one), []).append(one)
    for number, (one, (rule, _)) in enumerate(zip(every, rules, strict=True)):
        if rule.shadow:
            continue
        kind = "rule" if isinstance(rule, Rule) else "row filter"
        name = f"{kind} `{one.rule.name}` never applies"
        if why := _why_never_met(one.rule):
            yield Useless(number, "when", f"{name}: {why}", "mend it, or leave it out")
        elif one.rule.effect is Effect.DENY:
            continue
        elif denial := next((d for d in _alike(denies, one) if _hides(d, one)), None):
            message = f"{name}: rule `{denial.rule.name}` denies all that it is about"
            yield Useless(number, "name", message, "narrow one of the two, or leave this one out")
        elif one.rule.effect is not Effect.ALLOW and not any(_meet(one, each) for each in allows):
            message = f"{name}: nothing that it is about is allowed by any rule"
            yield Useless(
                number, "name", message, "allow it in another rule, or leave this one out"
            )


def _why_never_met(rule: CompiledRule) -> str:
    """Say why a condition is never met, or nothing. One that fails is met, but to allow."""
    if rule.condition is None:
        return ""
    allows = rule.effect is Effect.ALLOW
    if rule.condition.is_constant:
        met = rule.condition.holds(None)
        return _NEVER if met is False or (met is None and allows) else ""
    for word in impossible(rule.condition.text):
        # An attribute that the agent lacks is no text, and the condition fails.
        if allows or not word.startswith("agent.attributes."):
            return f"{_NEVER}: no `{word}` is what it asks for"
    return ""


def _reach(rule: Rule | RowFiltering, compiled: CompiledRule) -> _Reach:
    scope = compiled.scope
    if isinstance(rule, Rule) and scope and not scope.ignore_case:
        scope = compile_scope(rule.resources, ignore_case=True)
    one_of = {}
    for keys in compiled.agents:
        kind = keys[0][:2] if keys[0][0] == "attribute" else keys[0][:1]
        if kind[0] in _SINGLE or kind[0] == "attribute":
            one_of[kind] = frozenset(keys)
    return _Reach(compiled, scope.patterns if scope else None, one_of)


def _when(one: _Reach) -> str | None:
    return one.rule.condition.text if one.rule.condition else None


def _alike(denies: Mapping[str | None, list[_Reach]], one: _Reach) -> Iterator[_Reach]:
    """Yield the denials that apply whenever a rule does: always, or under the same condition."""
    yield from denies.get(None, ())
    if _when(one) is not None:
        yield from denies.get(_when(one), ())


def _hides(denial: _Reach, other: _Reach) -> bool:
    """Tell whether one of `_alike` denies whatever the other rule is about."""
    deny, rule = denial.rule, other.rule
    if not rule.actions <= deny.actions:
        return False
    if not all(any(set(own) <= set(keys) for own in rule.agents) for keys in deny.agents):
        return False
    if denial.patterns is None:
        return True
    wide = denial.patterns
    return other.patterns is not None and all(
        any(_covers(pattern, one) for pattern in wide) for one in other.patterns
    )


def _meet(one: _Reach, other: _Reach) -> bool:
    """Tell whether two rules may be about the same action of one principal on one table."""
    if one.rule.actions.isdisjoint(other.rule.actions):
        return False
    if any(
        values.isdisjoint(other.one_of[kind])
        for kind, values in one.one_of.items()
        if kind in other.one_of
    ):
        return False
    if one.patterns is None or other.patterns is None:
        return True
    return any(_overlap(a, b) for a in one.patterns for b in other.patterns)


def _covers(wide: Pattern, narrow: Pattern) -> bool:
    """Tell whether every table that the narrow pattern names is one of the wide one."""
    rest: Iterable[Part] = (*narrow, *(_ANY,) * (_DEPTH - len(narrow)))
    return all(_covers_part(part, other) for part, other in zip(wide, rest, strict=False))


def _covers_part(wide: Part, narrow: Part) -> bool:
    if isinstance(narrow, str):
        return fit((wide,), (narrow,))
    return not isinstance(wide, str) and wide in {_ANY, narrow}


def _overlap(one: Pattern, other: Pattern) -> bool:
    """Tell whether a table may be named by both; two parts with `*` are taken to be."""
    return all(
        _covers_part(a, b) or _covers_part(b, a) or not (isinstance(a, str) or isinstance(b, str))
        for a, b in zip(one, other, strict=False)
    )
