"""What a policy made of one query, and how two such rulings differ."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from keystile.model.decision import ApprovalDemand, Decision, Effect, Reason
from keystile.model.facts import QueryFacts
from keystile.model.masks import Mask

MASK_AT_READ = "mask-at-read"
"""The rule name in a reason where what policy hides could not be hidden in the query."""

OneT = TypeVar("OneT")

_REFUSED = frozenset({"deny", "not_found", "invalid"})


class Masked(msgspec.Struct, frozen=True, order=True):
    """A column that the query uses and its agent sees masked; `mask` says how, in words."""

    column: str
    label: str
    mask: str


class Filtered(msgspec.Struct, frozen=True, order=True):
    """A table of which the agent sees only rows that fulfil `where`."""

    table: str
    rule: str
    where: str


class Demanded(msgspec.Struct, frozen=True, order=True):
    """An approval that is asked for: `who` says of whom and how many, in words."""

    rule: str
    who: str
    unmask: tuple[str, ...] = ()


class Ruling(msgspec.Struct, frozen=True):
    """What became of a query by policy.

    `effect` is that of the decision; `not_found` where a table is hidden or absent, `invalid` for a
    query that is wrong. `rules` are those that took part; where it is refused nothing else is set.
    """

    effect: str
    rules: tuple[str, ...] = ()
    masked: tuple[Masked, ...] = ()
    row_filters: tuple[Filtered, ...] = ()
    demands: tuple[Demanded, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the query does not run, whoever approves."""
        return self.effect in _REFUSED


class Kind(StrEnum):
    """How a query would be treated otherwise. Where it is several, the first of these counts."""

    REFUSED = "newly refused"
    ALLOWED = "newly allowed"
    UNMASKED = "newly unmasked"
    UNFILTERED = "no longer filtered"
    UNASKED = "no longer needing approval"
    ASKED = "newly needing approval"
    ASKED_OTHERWISE = "needing other approvals"
    MASKED = "newly masked"
    REMASKED = "masked otherwise"
    FILTERED = "newly filtered"
    REFILTERED = "filtered otherwise"


class Change(msgspec.Struct, frozen=True):
    """The difference between two rulings on one query.

    `fires` are the rules that took part in the second one only, `rests` those in the first only.
    `masked` and `unmasked` are columns, `remasked` columns whose mask is another; all with the mask
    that holds, or held. `asks` and `asks_no_more` are demands, `filters` and `filters_no_more` row
    filters.
    """

    kind: Kind
    before: str
    after: str
    fires: tuple[str, ...] = ()
    rests: tuple[str, ...] = ()
    masked: tuple[Masked, ...] = ()
    unmasked: tuple[Masked, ...] = ()
    remasked: tuple[Masked, ...] = ()
    asks: tuple[Demanded, ...] = ()
    asks_no_more: tuple[Demanded, ...] = ()
    filters: tuple[Filtered, ...] = ()
    filters_no_more: tuple[Filtered, ...] = ()


def ruling_of(decision: Decision, facts: QueryFacts) -> Ruling:
    """Give what a decision means for the query with these facts."""
    rules = rule_names(decision.reasons)
    if decision.effect is Effect.DENY:
        return Ruling(str(decision.effect), rules)
    used = {use.column for use in facts.columns}
    return Ruling(
        str(decision.effect),
        rules,
        masked=tuple(
            sorted(
                Masked(str(one.column), one.label, mask_words(one.mask))
                for one in decision.masks
                if one.column in used
            )
        ),
        row_filters=tuple(
            sorted(Filtered(str(one.table), one.rule, one.where) for one in decision.row_filters)
        ),
        demands=tuple(sorted(map(demanded, decision.approvals))),
    )


def rule_names(reasons: Iterable[Reason]) -> tuple[str, ...]:
    """Name each rule once, in the order of the reasons."""
    return tuple(dict.fromkeys(reason.rule for reason in reasons))


def demanded(demand: ApprovalDemand) -> Demanded:
    """Say whom an approval is asked of."""
    people = "1 person" if demand.count == 1 else f"{demand.count} people"
    who = f"{people} of {' or '.join(demand.approvers)} within {demand.expires_seconds} s"
    return Demanded(demand.rule, who, tuple(sorted(demand.unmask)))


def mask_words(mask: Mask | dict[str, Any]) -> str:
    """Say a mask in a few words: `keep_last (count 4)`."""
    plain = dict(mask) if isinstance(mask, dict) else msgspec.to_builtins(mask)
    kind = plain.pop("kind")
    words = ", ".join(f"{name} {value}" for name, value in sorted(plain.items()))
    return f"{kind} ({words})" if words else str(kind)


def change(before: Ruling, after: Ruling) -> Change | None:
    """Say what would be otherwise for the agent; None where nothing would.

    The rules that lead there may be others, and the words of a refusal.
    """
    if before.refused and after.refused:
        return None
    fires = tuple(rule for rule in after.rules if rule not in before.rules)
    rests = tuple(rule for rule in before.rules if rule not in after.rules)
    made = Change(Kind.REFUSED, before.effect, after.effect, fires, rests)
    if after.refused:
        return made
    if before.refused:
        return msgspec.structs.replace(
            made,
            kind=Kind.ALLOWED,
            masked=after.masked,
            asks=after.demands,
            filters=after.row_filters,
        )
    held = {one.column: one.mask for one in before.masked}
    holds = {one.column for one in after.masked}
    made = msgspec.structs.replace(
        made,
        unmasked=tuple(one for one in before.masked if one.column not in holds),
        masked=tuple(one for one in after.masked if one.column not in held),
        remasked=tuple(one for one in after.masked if held.get(one.column, one.mask) != one.mask),
        asks=_without(after.demands, before.demands),
        asks_no_more=_without(before.demands, after.demands),
        filters=_without(after.row_filters, before.row_filters),
        filters_no_more=_without(before.row_filters, after.row_filters),
    )
    kind = _kind(before, after, made)
    return msgspec.structs.replace(made, kind=kind) if kind else None


def _kind(before: Ruling, after: Ruling, made: Change) -> Kind | None:
    asked, asks = bool(before.demands), bool(after.demands)
    tables = {one.table for one in before.row_filters}
    still = {one.table for one in after.row_filters}
    found: dict[Kind, object] = {
        Kind.UNMASKED: made.unmasked,
        Kind.UNFILTERED: tables - still,
        Kind.UNASKED: asked and not asks,
        Kind.ASKED: asks and not asked,
        Kind.ASKED_OTHERWISE: made.asks or made.asks_no_more,
        Kind.MASKED: made.masked,
        Kind.REMASKED: made.remasked,
        Kind.FILTERED: still - tables,
        Kind.REFILTERED: made.filters or made.filters_no_more,
    }
    return next((kind for kind in Kind if found.get(kind)), None)


def _without(all_: tuple[OneT, ...], others: tuple[OneT, ...]) -> tuple[OneT, ...]:
    return tuple(one for one in all_ if one not in others)
