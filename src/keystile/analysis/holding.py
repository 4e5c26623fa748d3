"""Which fields of the engine's messages are worth looking into when a few kinds are looked for."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any


class Held(Enum):
    """How many messages of those looked for a field may hold."""

    NONE = 0
    ONE = 1
    SEVERAL = 2


class Holding(dict[Any, Held]):
    """Which fields are worth looking into, by what their types are made of.

    INVARIANT: a field is left out only if no message of its type, at any depth, can be one of those
    looked for. Of a resolved tree that is more than half: types, signatures, places.
    """

    def __init__(self, *names: str) -> None:
        """Look for messages of these names; for all where there are none."""
        self._names = frozenset(names)

    def __missing__(self, field: Any) -> Held:
        """Find it out for a field that is asked for the first time."""
        kind = field.message_type
        found = kind is not None and (not self._names or bool(self._names & _made_of(kind)))
        several = Held.SEVERAL if field.is_repeated else Held.ONE
        self[field] = held = several if found else Held.NONE
        return held


@cache
def _made_of(message: Any) -> frozenset[str]:
    """Name a type of message and all that are found at any depth in it."""
    seen, waiting = {message.name}, [message]
    while waiting:
        for field in waiting.pop().fields:
            if field.message_type is not None and field.message_type.name not in seen:
                seen.add(field.message_type.name)
                waiting.append(field.message_type)
    return frozenset(seen)
