"""Walks through what the engine has resolved, message by message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keystile.analysis.holding import Held, Holding

_ALL = Holding()


def messages(message: Any) -> Iterator[Any]:
    """Give a message and every one beneath it."""
    return held_messages(message, _ALL)


def held_messages(message: Any, holding: Holding) -> Iterator[Any]:
    """Give a message, and those beneath it that are what is looked for or hold it."""
    stack = [message]
    while stack:
        yield (current := stack.pop())
        stack += inner_messages(current, holding)


def inner_messages(message: Any, holding: Holding) -> list[Any]:
    """Give the messages directly within that are, or can hold, what is looked for."""
    found = []
    for field, value in message.ListFields():
        held = holding[field]
        if held is Held.ONE:
            found.append(value)
        elif held is Held.SEVERAL:
            found += value
    return found
