"""One connection: the ways in which the gateway gets a token for BigQuery, the best one first.

A service account has as many ways as keys, which are `active` (it signs), `next` (it will) and
`retiring` (it did); whatever else has one. Where Google does not take a token, the next way is
tried.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from keystile.model.errors import KeystileError, RefusedError
from keystile.telemetry.logs import logger
from keystile.upstream.errors import KeyRejectedError
from keystile.upstream.keys import SigningKey
from keystile.upstream.tokens import FreshToken, Token

_REJECTED_SECONDS = 60.0
"""How long a way is the last choice after Google did not take its token."""

_log = logger("upstream")

Fetch = Callable[[], Awaitable[Token]]


class Way(NamedTuple):
    """A way to a token; `key` is the key that it stands on, where it stands on one."""

    key: SigningKey | None
    fresh: FreshToken

    @property
    def id(self) -> str:
        """Name the way: the key's id, or nothing."""
        return self.key.id if self.key else ""


class Connection:
    """A connection by name.

    INVARIANT: what is asked for one account gets a token of that account, or none.
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[SigningKey | None], Fetch],
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        """`fetch` makes what fetches tokens with a key; `reload` has the keys looked at again."""
        self.name = name
        self._fetch = fetch
        self._reload = reload
        self._rejected: dict[str, float] = {}
        self.rejections = 0
        self.ways: tuple[Way, ...] = ()

    def __repr__(self) -> str:
        """Name the connection and its keys."""
        return f"Connection({self.name!r}, keys={[way.id for way in self.ways]})"

    def use(self, keys: Iterable[SigningKey | None]) -> None:
        """Have these keys from now on, the best one first; a None stands for a way without one."""
        known = {way.key: way for way in self.ways}
        self.ways = tuple(known.get(key) or self._way(key) for key in keys)

    def anew(self) -> None:
        """Have one way from now on, without a key, and no token of before."""
        self.ways = (self._way(None),)

    async def account(self) -> str:
        """Give the account that it stands for now. Raises `RefusedError` where nobody can tell."""
        return (await self._token()).account

    async def bearer(self, account: str) -> str:
        """Give a token of this account. Raises `RefusedError` where there is none."""
        token = await self._token(account)
        return token.text

    async def rejected(self, text: str) -> bool:
        """Hear that Google does not take a token; tell whether there is another one to try."""
        way = next((one for one in self.ways if _holds(one, text)), None)
        if way is None:
            return True  # another request has brought the same news
        first = not self._is_rejected(way)
        way.fresh.forget()
        await self._reject(way)
        others = any(not self._is_rejected(one) for one in self.ways)
        return others or (way.key is None and first)

    async def _token(self, account: str = "") -> Token:
        problem: KeystileError | None = None
        tried: list[FreshToken] = []
        while way := self._best(tried):
            tried.append(way.fresh)
            try:
                token = await way.fresh.get()
            except KeyRejectedError as error:
                problem = problem or error
                if not self._is_rejected(way):  # else another request has brought the same news
                    await self._reject(way)
                continue
            except RefusedError as error:
                problem = problem or error
                continue
            if account in {"", token.account}:
                return token
            problem = problem or self._of_another(account, token.account)
        raise problem or RefusedError(
            f"the gateway's credential for the connection `{self.name}` cannot be read",
            hint="ask the operator of the gateway",
        )

    def _best(self, tried: list[FreshToken]) -> Way | None:
        """Give the best way of now that was not tried: a refusal may have brought new ones."""
        left = [one for one in self.ways if one.fresh not in tried]
        return min(left, key=self._is_rejected, default=None)

    async def _reject(self, way: Way) -> None:
        """Have a way as the last choice for a while, and look whether there is a new one."""
        self._rejected[way.id] = time.monotonic() + _REJECTED_SECONDS
        self.rejections += 1
        _log.warning("credential_rejected", connection=self.name, key=way.id)
        # What is known goes on; the follower says what is wrong.
        with suppress(KeystileError):
            await self._reload()

    def _is_rejected(self, way: Way) -> bool:
        return time.monotonic() < self._rejected.get(way.id, 0.0)

    def _of_another(self, account: str, now: str) -> RefusedError:
        return RefusedError(
            f"this was begun as `{account}` at BigQuery, and the gateway's connection"
            f" `{self.name}` is `{now}` now",
            hint="ask the operator of the gateway, or begin it again",
        )

    def _way(self, key: SigningKey | None) -> Way:
        named = {"connection": self.name, "key": key.id if key else ""}
        return Way(key, FreshToken(self._fetch(key), **named))


def _holds(way: Way, text: str) -> bool:
    return way.fresh.last is not None and way.fresh.last.text == text
