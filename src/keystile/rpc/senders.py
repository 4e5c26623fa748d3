"""Who sent a call, as far as the call itself tells: the address of its connection and its client.

Behind load balancers a call comes from them, and what they say of its way stands in
`x-forwarded-for`, the nearest hop last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import unquote

from keystile.model.sender import Sender

_PEER = re.compile(r"ipv[46]:\[?([^\[\]]+)\]?:[0-9]+")
_LONGEST_CLIENT = 256


class Senders:
    """Says who sends a call. `trusted` are addresses and networks of load balancers.

    INVARIANT: what a call says of its own way counts only as far as those that it came by are
    trusted, as over HTTP.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Trust nobody unless told."""
        self._trusted: Sequence[IPv4Network | IPv6Network] = tuple(map(ip_network, trusted))

    def of(self, context: Any) -> Sender:
        """Give the address, empty where there is none, and the one `user-agent`, unverified."""
        found: dict[str, list[str]] = {}
        for key, value in context.invocation_metadata() or ():
            if isinstance(value, str):
                found.setdefault(key, []).append(value)
        way = ",".join(found.get("x-forwarded-for", ())).split(",")
        said = found.get("user-agent", [])
        client = said[0][:_LONGEST_CLIENT] if len(said) == 1 else ""
        return Sender(address=self._first(way, _address(context.peer())), client=client)

    def _first(self, way: Sequence[str], nearest: str) -> str:
        """Go back along the way, from the nearest hop to the first that nobody vouches for."""
        hop = nearest
        for before in reversed([one.strip() for one in way if one.strip()]):
            if not self._is_trusted(hop):
                break
            hop = before
        return hop

    def _is_trusted(self, hop: str) -> bool:
        try:
            found = ip_address(hop)
        except ValueError:
            return False
        address = getattr(found, "ipv4_mapped", None) or found
        return any(address in network for network in self._trusted)


def _address(peer: str) -> str:
    """Read an address as gRPC writes it: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`."""
    match = _PEER.fullmatch(unquote(peer))
    return match[1] if match else ""
