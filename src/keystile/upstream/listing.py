"""What there is of connections and their keys, to be shown. INVARIANT: never a key or a token."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from keystile.upstream.connections import Connections
from keystile.upstream.stored import StoredConnections, of_connection


class Listed(msgspec.Struct, frozen=True):
    """A key of a connection, or a connection without one. `added_at` is when it was first seen."""

    connection: str
    kind: str
    account: str
    key: str
    state: str
    added_at: float | None


class Listing(NamedTuple):
    """Lists the connections of a process that has them loaded."""

    stored: StoredConnections
    connections: Connections

    async def list(self) -> tuple[Listed, ...]:
        """List every connection with its keys."""
        keys, found = await self.stored.keys(), list[Listed]()
        for name, settings in sorted((await self.connections.every()).items()):
            mine = of_connection(keys, name) if self.connections.has_keys(name) else ()
            rows = [(key.account, key.id, key.state.value, key.added_at) for key in mine]
            for account, key, state, added in rows:
                who = settings.impersonate or account
                found.append(Listed(name, settings.kind, who, key, state, added))
            if not rows:
                found.append(Listed(name, settings.kind, settings.impersonate, "", "", None))
        return tuple(found)
