"""Which of the gateway's connections to BigQuery an agent's queries run under."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keystile.model.errors import RefusedError
from keystile.model.principal import Principal
from keystile.policy.rules import Key, keys_of


class CompiledConnection(msgspec.Struct, frozen=True):
    """Whom an entry is about, and the connection that it names."""

    name: str
    agents: tuple[tuple[Key, ...], ...]
    connection: str


class ConnectionRules:
    """All entries of a policy."""

    def __init__(self, entries: Sequence[CompiledConnection]) -> None:
        """Take them in the order in which they are to be reported."""
        self._entries = tuple(entries)

    def of(self, principal: Principal) -> str:
        """Name the connection of a principal; an empty text stands for the default one.

        INVARIANT: order means nothing, so entries that contradict each other choose none. Raises
        `RefusedError` for those.
        """
        if not self._entries:
            return ""
        facts = frozenset(keys_of(principal))
        mine = {
            one.connection: one.name
            for one in self._entries
            if all(not facts.isdisjoint(keys) for keys in one.agents)
        }
        if len(mine) > 1:
            named = " and ".join(f"`{name}`" for name in sorted(mine.values())[:2])
            raise RefusedError(
                f"the policy's connections {named} contradict each other for this agent",
                hint="ask the operator of the gateway",
            )
        return next(iter(mine), "")
