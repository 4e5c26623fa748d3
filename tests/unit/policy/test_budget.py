from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.decision import Limits
from keystile.model.errors import LimitError, RateLimitError
from keystile.policy.budget import (
    Charge,
    Used,
    broken,
    day_of,
    left_of,
    month_of,
    refusal,
    size,
)

NOON = datetime(2026, 11, 26, 12, tzinfo=ZoneInfo("UTC")).timestamp()
GB = 10**9


def limits(**amounts: Any) -> Limits:
    return Limits("cost", "agent", "a", **amounts)


def words(of: Limits, used: Used, charge: Charge) -> list[str]:
    return [one.word for one in broken(of, used, charge)]


@pytest.mark.parametrize(
    ("amounts", "used", "charge", "wrong"),
    [
        ({"bytes_per_query": 5}, Used(NOON), Charge(5, 9), []),
        ({"bytes_per_query": 5}, Used(NOON), Charge(6, 9), ["bytes_per_query"]),
        ({"bytes_per_day": 5}, Used(NOON, day=3), Charge(2, 9), []),
        ({"bytes_per_day": 5}, Used(NOON, day=3, month=9), Charge(3, 9), ["bytes_per_day"]),
        ({"bytes_per_month": 5}, Used(NOON, day=9, month=3), Charge(3, 9), ["bytes_per_month"]),
        ({"bytes_per_day": 5}, Used(NOON, day=7), Charge(0, 0), []),
        ({"bytes_per_day": 5}, Used(NOON, day=4), Charge(0, None), []),
        ({"bytes_per_day": 5}, Used(NOON, day=5), Charge(0, None), ["bytes_per_day"]),
        ({"queries_per_minute": 2}, Used(NOON, minute=(1.0,)), Charge(), []),
        (
            {"queries_per_minute": 2},
            Used(NOON, minute=(1.0, 2.0)),
            Charge(),
            ["queries_per_minute"],
        ),
        ({"concurrent_queries": 2}, Used(NOON, running=1), Charge(), []),
        ({"concurrent_queries": 2}, Used(NOON, running=2), Charge(), ["concurrent_queries"]),
        (
            {"bytes_per_query": 1, "bytes_per_day": 1, "bytes_per_month": 1},
            Used(NOON),
            Charge(2, 2),
            ["bytes_per_query", "bytes_per_day", "bytes_per_month"],
        ),
    ],
)
def test_every_limit_that_a_query_would_break_is_named(
    amounts: dict[str, int], used: Used, charge: Charge, wrong: list[str]
) -> None:
    assert words(limits(**amounts), used, charge) == wrong


def test_what_is_left_is_the_least_of_all() -> None:
    of = limits(bytes_per_query=50, bytes_per_day=100, bytes_per_month=1000)
    assert left_of(of, Used(NOON)) == 50
    assert left_of(of, Used(NOON, day=70)) == 30
    assert left_of(of, Used(NOON, day=70, month=995)) == 5
    assert left_of(limits(rows_per_query=1), Used(NOON)) is None


def test_a_refusal_says_what_is_used_and_left_and_when_that_ends() -> None:
    of = limits(bytes_per_day=2000 * GB, message="ask #data-platform")
    used, charge = Used(NOON, day=1900 * GB), Charge(300 * GB, 301 * GB)
    error = refusal([(one, used) for one in broken(of, used, charge)], charge)
    assert type(error) is LimitError
    assert str(error) == (
        "refused by limit: the query would read 300 GB, and `bytes_per_day` of rule `cost` is 2 TB,"
        " of which 1.9 TB are used and 100 GB are left; it resets at 2026-11-27 00:00 UTC;"
        " read fewer columns (`LIMIT` lowers no estimate), or wait until then;"
        " ask #data-platform"
    )


@pytest.mark.parametrize(
    ("charge", "used"),
    [
        (Charge(300 * GB, 301 * GB, hidden=True), Used(NOON, day=1900 * GB)),
        (Charge(111 * GB, 112 * GB), Used(NOON, day=1900 * GB, hidden=True)),
    ],
)
def test_no_refusal_tells_what_queries_of_masked_columns_read(charge: Charge, used: Used) -> None:
    of = limits(bytes_per_day=2000 * GB)
    text = str(refusal([(one, used) for one in broken(of, used, charge)], charge))
    assert "1.9 TB" not in text
    assert "100 GB" not in text
    assert ("300 GB" in text, "2 TB" in text) == (False, True)


def test_a_refusal_says_by_which_column_less_would_be_read() -> None:
    of, used = limits(bytes_per_query=5), Used(NOON)
    charge = Charge(6, 6, partitions=("p.d.t.day", "p.d.u.id"))
    error = refusal([(one, used) for one in broken(of, used, charge)], charge)
    assert error.hint == (
        "add a condition on `p.d.t.day`, `p.d.u.id`, by which the data is partitioned,"
        " or read fewer columns (`LIMIT` lowers no estimate)"
    )


def test_only_what_soon_passes_is_told_to_be_sent_again() -> None:
    of = limits(queries_per_minute=2, concurrent_queries=1, bytes_per_query=5)
    used = Used(NOON, minute=(NOON - 50.5, NOON - 20), running=1)
    passing = refusal([(one, used) for one in broken(of, used, Charge())], Charge())
    assert isinstance(passing, RateLimitError)
    assert (passing.reason, passing.retry_after) == ("rateLimitExceeded", 10)
    assert "is 2, and none is left for 10 seconds" in str(passing)
    assert "`concurrent_queries` of rule `cost` is 1, and 1 run" in str(passing)
    large = Charge(6, 6)
    lasting = refusal([(one, used) for one in broken(of, used, large)], large)
    assert (type(lasting), lasting.reason) == (LimitError, "quotaExceeded")


def test_who_shares_a_limit_is_named() -> None:
    of = Limits("cost", "group", "analytics", bytes_per_query=1)
    charge = Charge(2, 2)
    found = [(one, Used(NOON)) for one in broken(of, Used(NOON), charge)]
    assert "of rule `cost` for group `analytics` is 1 B" in str(refusal(found, charge))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (10**12, "1 TB"), (10**18, "1000 PB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"]


@given(st.integers(946_684_800, 2_208_988_800), st.sampled_from(ZONES))
def test_days_and_months_cover_every_moment(at: int, zone: str) -> None:
    for period in (day_of, month_of):
        begins, ends = period(at, zone)
        assert begins <= at < ends
        assert period(begins, zone) == (begins, ends)
        assert period(ends, zone)[0] == ends
