"""What was found out a moment ago, so that it need not be found out again for each request."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

# How long a change may go unseen: a disabled agent or a revoked token is out after this.
_SECONDS = 3.0
_KEPT = 10_000


T = TypeVar("T")


class Recent(Generic[T]):
    """Keeps a bounded number of values for three seconds each."""

    def __init__(self) -> None:
        """Start with none."""
        self._values: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._forgotten = 0

    async def get(self, key: str, find: Callable[[], Awaitable[T]]) -> T:
        """Give a value, which `find` finds out where that was not done just now."""
        at, value = self._values.get(key, (0.0, None))
        if value is not None and time.monotonic() - at <= _SECONDS:
            return value
        self._values.pop(key, None)
        began, forgotten = time.monotonic(), self._forgotten
        found = await find()
        # INVARIANT: what was found out before something was to be forgotten is not remembered.
        if forgotten != self._forgotten:
            return found
        self._values[key] = (began, found)
        if len(self._values) > _KEPT:
            self._values.popitem(last=False)
        return found

    def forget(self, which: Callable[[str, T], bool]) -> None:
        """Find out anew what fits."""
        self._forgotten += 1
        for key, (_, value) in list(self._values.items()):
            if which(key, value):
                del self._values[key]
