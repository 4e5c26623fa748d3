"""What stands in a policy in shadow: evaluated with each query, recorded, never enforced.

Each is tried alone, beside all that is enforced: what comes out is what would be if the word
`shadow` were taken from it. INVARIANT: nothing here has a part in the decision itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from keystile.model.decision import Decision, Effect, Shadow, Would
from keystile.model.facts import QueryFacts, used_columns
from keystile.model.masks import Mask
from keystile.model.schema import ColumnRef
from keystile.policy.filters import CompiledFilter, RowFilters
from keystile.policy.protection import Protection
from keystile.policy.rules import CompiledRule


class ShadowFilter(NamedTuple):
    """A row filter in shadow, and all that are enforced with it."""

    filter: CompiledFilter
    filters: RowFilters


class ShadowMask(NamedTuple):
    """A mask in shadow, and all that are enforced with it."""

    name: str
    protection: Protection


class Shadows(NamedTuple):
    """All that a policy has in shadow."""

    rules: tuple[CompiledRule, ...] = ()
    filters: tuple[ShadowFilter, ...] = ()
    masks: tuple[ShadowMask, ...] = ()


def shadow_of(
    name: str, facts: QueryFacts, real: Decision, tried: Decision, *, failed: bool = False
) -> Shadow | None:
    """Say what `name` would have done, from the decision with it; None where that is nothing.

    A condition that failed is told, whether it would have done anything or not.
    """
    found = _would(name, facts, real, tried)
    if found is not None:
        would, message, columns = found
        return Shadow(name, would, message, columns, failed)
    return Shadow(name, Would.NOTHING, failed=True) if failed else None


def _would(
    name: str, facts: QueryFacts, real: Decision, tried: Decision
) -> tuple[Would, str, tuple[str, ...]] | None:
    said = {reason.effect: reason.message for reason in tried.reasons if reason.rule == name}
    allowing = said.get(Effect.ALLOW, "")
    if Effect.DENY in said:
        return Would.REFUSE, said[Effect.DENY], ()
    if tried.effect is Effect.DENY:
        return None  # something else denies it anyway
    if real.effect is Effect.DENY:
        return Would.ALLOW, allowing, ()
    if Effect.REQUIRE_APPROVAL in said:
        return Would.ASK, said[Effect.REQUIRE_APPROVAL], ()
    if any(one.rule == name for one in tried.row_filters):
        return Would.FILTER, allowing, ()
    return _masked_otherwise(facts, real, tried)


def _masked_otherwise(
    facts: QueryFacts, real: Decision, tried: Decision
) -> tuple[Would, str, tuple[str, ...]] | None:
    used = {*used_columns(facts)}
    before, after = _masks(real, used), _masks(tried, used)
    shown = _named(column for column in before if column not in after)
    masked = _named(column for column, mask in after.items() if before.get(column) != mask)
    if shown or masked:
        return Would.UNMASK if shown else Would.MASK, "", shown or masked
    return None


def _masks(decision: Decision, used: set[ColumnRef]) -> dict[ColumnRef, Mask]:
    return {one.column: one.mask for one in decision.masks if one.column in used}


def _named(columns: Iterable[ColumnRef]) -> tuple[str, ...]:
    return tuple(sorted(map(str, columns)))
