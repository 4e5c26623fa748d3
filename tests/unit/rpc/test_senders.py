"""Who sent a call, by what gRPC says of its connection and what load balancers say of its way."""

from __future__ import annotations

from typing import Any

import pytest

from keystile.model.sender import Sender
from keystile.rpc.senders import Senders

BALANCERS = ["10.0.0.0/28", "2001:db8::1"]


class Context:
    """A call with these headers, as gRPC shows it."""

    def __init__(self, peer: str, *headers: tuple[str, Any]) -> None:
        self._peer = peer
        self._headers = headers

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self._headers


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:50123", "192.0.2.7"),
        ("ipv6:[2001:db8::9]:50123", "2001:db8::9"),
        ("ipv6:%5B2001:db8::9%5D:50123", "2001:db8::9"),
        ("ipv6:[::ffff:192.0.2.7]:50123", "::ffff:192.0.2.7"),
        ("unix:/run/some.sock", ""),
        ("", ""),
    ],
)
def test_an_address_is_read_as_grpc_writes_it(peer: str, address: str) -> None:
    assert Senders().of(Context(peer)) == Sender(address)


@pytest.mark.parametrize(
    ("peer", "way", "address"),
    [
        ("ipv4:10.0.0.3:1", ("192.0.2.7",), "192.0.2.7"),
        ("ipv6:[::ffff:10.0.0.3]:1", ("192.0.2.7",), "192.0.2.7"),
        ("ipv6:[2001:db8::1]:1", ("192.0.2.7",), "192.0.2.7"),
        ("ipv4:10.0.0.3:1", (), "10.0.0.3"),
        # What an agent says itself stands before what the balancer has seen.
        ("ipv4:10.0.0.3:1", ("10.1.1.1, 192.0.2.7",), "192.0.2.7"),
        ("ipv4:10.0.0.3:1", ("10.1.1.1", "192.0.2.7"), "192.0.2.7"),
        ("ipv4:10.0.0.3:1", ("192.0.2.7, 10.0.0.4",), "192.0.2.7"),
        ("ipv4:10.0.0.3:1", ("10.0.0.5, 10.0.0.4",), "10.0.0.5"),
        ("ipv4:10.0.0.3:1", ("no address",), "no address"),
        ("ipv4:10.0.0.3:1", (" , ",), "10.0.0.3"),
        # Nobody vouches for these.
        ("ipv4:192.0.2.7:1", ("10.1.1.1",), "192.0.2.7"),
        ("unix:/run/some.sock", ("10.1.1.1",), ""),
    ],
)
def test_only_a_trusted_balancer_says_where_a_call_comes_from(
    peer: str, way: tuple[str, ...], address: str
) -> None:
    call = Context(peer, *(("x-forwarded-for", one) for one in way))
    assert Senders(BALANCERS).of(call).address == address
    assert Senders().of(call).address == Senders().of(Context(peer)).address


def test_a_client_is_what_it_says_it_is_once() -> None:
    once = ("user-agent", "grpc-python/1.76.0 grpc-c/51.0.0")
    assert Senders().of(Context("", once)).client == once[1]
    assert Senders().of(Context("", once, once)).client == ""
    assert Senders().of(Context("", ("user-agent", "x" * 300))).client == "x" * 256
    assert Senders().of(Context("", ("user-agent-bin", b"\xff"), ("user-agent", b"x"))).client == ""
