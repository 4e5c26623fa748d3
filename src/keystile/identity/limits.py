"""How many exchanges are taken in a minute, counted by each replica for itself, in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from ipaddress import ip_address, ip_network

from keystile.config.identity import ExchangeLimits
from keystile.model.errors import TokenFault, TokenRefusedError
from keystile.model.principal import Principal

_MINUTE = 60.0
_KEPT = 10_000
# Who has one address of IPv6 has as a rule a whole network of this size (RFC 6177).
_PREFIX = 64


class Bucket:
    """As many tries as a minute has, for each of many keys; they come back one by one."""

    def __init__(self, per_minute: int) -> None:
        """Start full for every key."""
        self._most = float(per_minute)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has(self, key: str) -> bool:
        """Tell whether there is a try left."""
        return self._now(key) >= 1

    def take(self, key: str) -> bool:
        """Take a try, and tell whether there was one."""
        left = self._now(key)
        if left < 1:
            return False
        self._left[key] = (left - 1, time.monotonic())
        self._left.move_to_end(key)
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)
        return True

    def _now(self, key: str) -> float:
        left, at = self._left.get(key, (self._most, 0.0))
        return min(self._most, left + (time.monotonic() - at) * self._most / _MINUTE)


class Limits:
    """The limits of the token endpoints. Each method raises `TokenRefusedError` beyond them.

    Addresses that are not known, which are empty, have none: they could be anybody's.
    """

    def __init__(self, settings: ExchangeLimits) -> None:
        """Take how many there may be in a minute."""
        self._per_address = Bucket(settings.per_address)
        self._per_agent = Bucket(settings.per_agent)
        self._failed = Bucket(settings.failed_per_address)

    def ask(self, address: str) -> None:
        """Count a request of an address, before anything of it is looked at."""
        self.verify(address)
        if address and not self._per_address.take(_network(address)):
            raise _too_many("exchanges from this address", "use each gateway token until it ends")

    def verify(self, address: str) -> None:
        """Look whether an address has failed too often for another token of it to be looked at."""
        if address and not self._failed.has(_network(address)):
            raise _too_many("refused tokens from this address", "see why they were refused")

    def fail(self, address: str) -> None:
        """Count a request that was refused."""
        if address:
            self._failed.take(_network(address))

    def identify(self, agent: Principal) -> None:
        """Count an exchange of an agent."""
        if not self._per_agent.take(f"{agent.issuer}|{agent.subject}"):
            raise _too_many("exchanges of this agent", "use each gateway token until it ends")


def _network(address: str) -> str:
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:  # noqa: PLR2004  IP's versions are 4 and 6
        return str(known)
    return str(ip_network((known, _PREFIX), strict=False))


def _too_many(what: str, hint: str) -> TokenRefusedError:
    # 400 as all refusals: Google's client for Node asks again in silence after a 429.
    return TokenRefusedError(
        f"there were too many {what} in a minute",
        hint=f"{hint}, and try again in a minute",
        fault=TokenFault.RATE,
        oauth_error="slow_down",
    )
