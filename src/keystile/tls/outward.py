"""How requests leave the gateway: whom they trust, what they show, and through which proxy."""

from __future__ import annotations

from typing import Any, NamedTuple

from keystile.tls.end import End


class Outward(NamedTuple):
    """A way out. Without an end of its own it trusts the system's authorities and shows nothing.

    INVARIANT: it is used for encrypted addresses only, so that a proxy is asked to CONNECT and sees
    neither a credential nor data.
    """

    tls: End | None = None
    proxy: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """Give what a request of aiohttp takes, as of now: a renewed context is another one."""
        return {"ssl": self.tls.context if self.tls else True, "proxy": self.proxy or None}

    @property
    def ends(self) -> tuple[End, ...]:
        """Give what is to be renewed."""
        return (self.tls,) if self.tls else ()


DIRECT = Outward()
"""The way out that nothing was chosen for."""
