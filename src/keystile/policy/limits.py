"""Whose queries count together under a rule's limits, and how these are compiled. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec.structs import replace

from keystile.model.decision import LIMIT_WORDS, Limits
from keystile.model.principal import Principal, agent_of
from keystile.policy.document import Rule, byte_count
from keystile.policy.index import Near


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


def limits_of(rules: Iterable[Near], principal: Principal) -> tuple[Limits, ...]:
    """Give the limits of rules that are about a principal, each with its holder.

    An agent that acts for nobody is its own person.
    """
    found: list[Limits] = []
    for _, rule in rules:
        limits = rule.limits
        if limits is None:
            continue
        if limits.whose == "group":
            named = {key[1] for keys in rule.agents for key in keys if key[0] == "group"}
            groups = sorted(named.intersection(principal.groups))
            found += [replace(limits, holder=group) for group in groups]
        elif limits.whose == "person" and principal.on_behalf_of:
            found.append(replace(limits, holder=principal.on_behalf_of))
        else:
            found.append(replace(limits, whose="agent", holder=agent_of(principal.key)))
    return tuple(found)
