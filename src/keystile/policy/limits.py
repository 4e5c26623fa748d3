"""Whose queries count together under a rule's limits, and how these are compiled. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from keystile.model.decision import LIMIT_WORDS, Limits
from keystile.model.principal import Principal, agent_of
from keystile.policy.document import Rule, byte_count
from keystile.policy.rules import CompiledRule


def compile_limits(rule: Rule) -> Limits | None:
    """Compile a rule's limits, of nobody yet; None where it has none.

    Raises `ValueError` with a sentence for the policy's author.
    """
    given = rule.limits
    if given is None:
        return None
    amounts = {word: getattr(given, word) for word in LIMIT_WORDS}
    if not any(amount is not None for amount in amounts.values()):
        raise ValueError("`limits` limits nothing")
    if given.per == "group" and not (rule.agents and rule.agents.groups):
        raise ValueError("`per: group` needs the groups under `agents`")
    try:
        ZoneInfo(given.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"`{given.time_zone}` is no time zone") from None
    numbers = {
        word: byte_count(amount) if isinstance(amount, str) else amount
        for word, amount in amounts.items()
    }
    return Limits(rule.name, given.per, "", given.time_zone, message=rule.message, **numbers)


def limits_of(rule: CompiledRule, principal: Principal) -> Iterator[Limits]:
    """Give the limits of a rule that is about a principal, each with its holder.

    An agent that acts for nobody is its own person.
    """
    limits = rule.limits
    if limits is None:
        return
    if limits.whose == "group":
        named = {key[1] for keys in rule.agents for key in keys if key[0] == "group"}
        for group in sorted(named.intersection(principal.groups)):
            yield msgspec.structs.replace(limits, holder=group)
    elif limits.whose == "person" and principal.on_behalf_of:
        yield msgspec.structs.replace(limits, holder=principal.on_behalf_of)
    else:
        holder = agent_of(principal.key)
        yield msgspec.structs.replace(limits, whose="agent", holder=holder)
