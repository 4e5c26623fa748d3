"""BigQuery under each of the gateway's accounts.

INVARIANT: what was begun under one account is asked for under the same one: its name stands with
the job, and a connection that stands for another account by now gives no token for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from keystile.config.upstream import DEFAULT_CONNECTION, MOST_BILLED
from keystile.model.schema import TableId
from keystile.tls.outward import DIRECT, Outward
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.objects import Noted
from keystile.upstream.values import Account


class Credentials(Protocol):
    """Where tokens come from: `Connections`."""

    async def account(self, name: str) -> Account:
        """Say who a connection is at BigQuery. Raises `RefusedError`."""
        ...

    async def bearer(self, account: Account) -> str:
        """Give a token of an account. Raises `RefusedError`."""
        ...

    async def rejected(self, account: Account, token: str) -> bool:
        """Hear that Google does not take a token; tell whether there is another one to try."""
        ...


class Accounts:
    """One `BigQuery` for each account."""

    def __init__(  # noqa: PLR0913, PLR0917 - what each of them is made of
        self,
        credentials: Credentials,
        endpoint: str,
        timeout: float,
        outward: Outward = DIRECT,
        noted: Noted | None = None,
        most_billed: int = MOST_BILLED,
    ) -> None:
        """Take the root URL; `timeout` is in seconds for one exchange.

        `noted` tells what the gateway knows of tables beside, whoever asks.
        """
        self._noted = noted
        self._most_billed = most_billed
        self._outward = outward
        self._credentials = credentials
        self._endpoint = endpoint
        self._timeout = timeout
        self._known: dict[Account, BigQuery] = {}

    async def of(self, connection: str) -> BigQuery:
        """Give BigQuery under a connection as it is now; an empty name stands for the default.

        Raises `RefusedError` where there is no such connection, or nobody can tell who it is.
        """
        return self.at(await self._credentials.account(connection or DEFAULT_CONNECTION))

    def at(self, account: Account) -> BigQuery:
        """Give BigQuery under this account and no other. Using it is refused where it is gone."""
        known = self._known.get(account)
        if known is None:
            credential = _Bound(self._credentials, account)
            known = self._known[account] = BigQuery(
                self._endpoint,
                credential,
                self._timeout,
                self._outward,
                account,
                self._noted,
                self._most_billed,
            )
        return known

    def forget(self, tables: Iterable[TableId]) -> None:
        """Ask anew for tables that a job may have changed, whoever asks."""
        changed = tuple(tables)
        for known in self._known.values():
            known.forget(changed)

    async def close(self) -> None:
        """Close all connections."""
        for known in self._known.values():
            await known.close()


class _Bound:
    """The credential of one account, as a `Transport` needs it."""

    def __init__(self, credentials: Credentials, account: Account) -> None:
        self._credentials = credentials
        self._account = account

    async def bearer(self) -> str:
        return await self._credentials.bearer(self._account)

    async def rejected(self, token: str) -> bool:
        return await self._credentials.rejected(self._account, token)
