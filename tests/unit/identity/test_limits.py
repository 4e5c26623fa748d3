from __future__ import annotations

import time

import pytest

from keystile.config.identity import ExchangeLimits
from keystile.identity import limits as module
from keystile.identity.limits import Bucket, Limits
from keystile.model.errors import TokenFault, TokenRefusedError
from keystile.model.principal import Principal

ANA = Principal("https://issuer.test", "a", "agent-a", "s1")


@pytest.fixture
def limits() -> Limits:
    return Limits(ExchangeLimits(per_address=3, per_agent=2, failed_per_address=2))


def _later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic() + seconds
    monkeypatch.setattr(module.time, "monotonic", lambda: now)


def test_an_address_asks_only_so_often_in_a_minute(
    limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    _later(monkeypatch, 0)
    for _ in range(3):
        limits.ask("192.0.2.1")
    with pytest.raises(TokenRefusedError, match="too many exchanges from this address") as caught:
        limits.ask("192.0.2.1")
    assert (caught.value.fault, caught.value.oauth_error) == (TokenFault.RATE, "slow_down")
    limits.ask("192.0.2.2")
    _later(monkeypatch, 21)
    limits.ask("192.0.2.1")
    with pytest.raises(TokenRefusedError):
        limits.ask("192.0.2.1")
    _later(monkeypatch, 600)
    for _ in range(3):
        limits.ask("192.0.2.1")
    with pytest.raises(TokenRefusedError):
        limits.ask("192.0.2.1")


def test_who_fails_too_often_is_not_looked_at_for_a_while(
    limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        limits.ask("192.0.2.1")
        limits.fail("192.0.2.1")
    with pytest.raises(TokenRefusedError, match="too many refused tokens"):
        limits.ask("192.0.2.1")
    limits.ask("192.0.2.2")
    _later(monkeypatch, 31)
    limits.ask("192.0.2.1")


def test_an_agent_exchanges_only_so_often_from_wherever(limits: Limits) -> None:
    for _ in range(2):
        limits.identify(ANA)
    with pytest.raises(TokenRefusedError, match="too many exchanges of this agent"):
        limits.identify(ANA)
    limits.identify(Principal("https://other.test", "a", "agent-a", "s1"))


def test_a_network_of_ipv6_is_one_address(limits: Limits) -> None:
    for host in range(3):
        limits.ask(f"2001:db8::{host}")
    with pytest.raises(TokenRefusedError):
        limits.ask("2001:db8::ffff%eth0")
    limits.ask("2001:db8:0:1::1")


def test_an_address_that_is_not_known_has_no_limit(limits: Limits) -> None:
    for _ in range(9):
        limits.ask("")
        limits.fail("")


def test_it_knows_a_bounded_number_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    bucket = Bucket(5)
    assert all(bucket.take(str(number)) for number in range(9))
    assert len(bucket._left) == 2
