"""How requests leave the gateway: whom they trust, what they show, and through which proxy."""

from __future__ import annotations

from typing import Any, NamedTuple

from keystile.tls.end import End
from keystile.tls.proxy import Proxy


class Outward(NamedTuple):
    """A way out. Without an end of its own it trusts the system's authorities and shows nothing.

    INVARIANT: it is used for encrypted addresses only, so that a proxy is asked to CONNECT and sees
    neither a credential nor data.
    """

    tls: End | None = None
    proxy: Proxy | None = None

    async def options(self) -> dict[str, Any]:
        """Give what a request of aiohttp takes, as of now: a renewed context is another one.

        Raises `RefusedError` where the proxy's password cannot be read.
        """
        context = self.tls.context if self.tls else None
        return await self.proxy.options(context) if self.proxy else {"ssl": context or True}

    @property
    def ends(self) -> tuple[End, ...]:
        """Give what is to be renewed."""
        own = (self.tls,) if self.tls else ()
        return (*own, *(self.proxy.ends if self.proxy else ()))

    async def close(self) -> None:
        """Give all resources back."""
        if self.proxy:
            await self.proxy.close()


DIRECT = Outward()
"""The way out that nothing was chosen for."""
