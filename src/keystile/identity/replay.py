"""How often tokens were used, in the control store: what one replica has seen, all know."""

from __future__ import annotations

import time

from sqlalchemy import delete, insert, select, update

from keystile.store.database import Database
from keystile.store.tables import used_tokens

# A token that lives longer may be used as often again after so long.
_KEPT_SECONDS = 400 * 24 * 3600.0
# INVARIANT: a use is known for as long as any replica takes the token: `identity.clock_skew` is 120
# at most, and so may replicas' own clocks differ.
_LATE_SECONDS = 300.0


class Uses:
    """Counts uses of what may not be used without end."""

    def __init__(self, database: Database) -> None:
        """Take an open control store."""
        self._database = database

    async def count(self, digest: str, expires_at: float, most: int) -> bool:
        """Count one use of what is known by a digest, until it ends (UTC s).

        Tells whether it was used less than `most` times before.
        """
        now = time.time()
        known = used_tokens.c.digest == digest
        async with self._database.begin() as connection:
            over = used_tokens.c.expires_at < now - _LATE_SECONDS
            await connection.execute(delete(used_tokens).where(over))
            uses = (await connection.execute(select(used_tokens.c.uses).where(known))).scalar()
            if uses is None:
                # No float holds every number that JSON can write.
                row = {"digest": digest, "uses": 1}
                row["expires_at"] = float(min(expires_at, now + _KEPT_SECONDS))
                await connection.execute(insert(used_tokens).values(row))
            elif uses < most:
                await connection.execute(update(used_tokens).where(known).values(uses=uses + 1))
            return uses is None or uses < most
