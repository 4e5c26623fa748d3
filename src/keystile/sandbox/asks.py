"""One request, as the rooms that answer the API's methods see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from keystile.wire.paths import Call
from keystile.wire.responses import Resource


class Ask(msgspec.Struct, frozen=True):
    """A call with its body. `account` is the e-mail of the service account that asks.

    `if_match` is the header of that name, empty where there is none.
    """

    call: Call
    body: bytes
    account: str
    if_match: str = ""


Answer = Callable[[Ask], Awaitable[Resource | None]]
"""Answers one method of the API. None is an answer without a body (204)."""

Answers = Mapping[str, Answer]
"""What answers each method, by its name in `METHODS`."""
