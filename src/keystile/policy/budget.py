"""Whether a query keeps within limits, and what its agent is told where it does not. Pure.

INVARIANT: what bytes a query with masked columns or filtered rows would read is never told, nor
what is left of a budget that such a query has taken from: see ADR 9.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from keystile.model.decision import Limits
from keystile.model.errors import LimitError, RateLimitError

_MINUTE = 60.0
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_MOST_NAMED = 3
_PASSING = frozenset({"queries_per_minute", "concurrent_queries"})


class Used(NamedTuple):
    """What counts against one holder's limits at a time, in UTC seconds since the epoch.

    `day` and `month` are bytes that are billed or reserved; they are `hidden` where some of them
    are of queries whose bytes are not told. `minute` has when each query of the last minute was
    let in, the oldest first, `running` counts those that have not ended.
    """

    at: float
    day: int = 0
    month: int = 0
    hidden: bool = False
    minute: tuple[float, ...] = ()
    running: int = 0


class Charge(NamedTuple):
    """What a query is going to be billed: at `least`, and at `most`, None where nobody knows.

    At BigQuery it may run so many `statements`, each of which has a bound of its own. Where it is
    `hidden`, its agent does not hear of the numbers. It would read less if it asked for some
    `partitions`: columns that tables are partitioned by.
    """

    least: int = 0
    most: int | None = 0
    statements: int = 1
    hidden: bool = False
    partitions: tuple[str, ...] = ()


class Broken(NamedTuple):
    """A limit that a query would break, by its word; when that passes, where it does by itself."""

    limits: Limits
    word: str
    used: int = 0
    resets_at: float | None = None


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one limit stands: what is used and left, where that is counted, and when it resets."""

    limit: int
    used: int | None = None
    left: int | None = None
    resets_at: float | None = None


def standings(limits: Limits, used: Used) -> dict[str, Standing]:
    """Say how each limit stands, by its word; one of a single query has nothing to be used up."""
    spent = {
        "bytes_per_day": (used.day, day_of(used.at, limits.time_zone)[1]),
        "bytes_per_month": (used.month, month_of(used.at, limits.time_zone)[1]),
        "queries_per_minute": (
            len(used.minute),
            used.minute[-1] + _MINUTE if used.minute else None,
        ),
        "concurrent_queries": (used.running, None),
    }
    found = {}
    for word, amount in limits.amounts.items():
        if word in spent:
            taken, resets = spent[word]
            found[word] = Standing(amount, taken, max(amount - taken, 0), resets)
        else:
            found[word] = Standing(amount)
    return found


def day_of(at: float, time_zone: str) -> tuple[float, float]:
    """Give when the day of `at` begins in a time zone, and when the next one does."""
    zone = ZoneInfo(time_zone)
    begins = datetime.fromtimestamp(at, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return begins.timestamp(), (begins + timedelta(days=1)).timestamp()


def month_of(at: float, time_zone: str) -> tuple[float, float]:
    """Give when the month of `at` begins in a time zone, and when the next one does."""
    zone = ZoneInfo(time_zone)
    midnight = datetime.fromtimestamp(at, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = midnight.replace(day=1)
    following = (begins + timedelta(days=32)).replace(day=1)
    return begins.timestamp(), following.timestamp()


def left_of(limits: Limits, used: Used) -> int | None:
    """Give how many bytes one more query may be billed; None where nothing limits them."""
    left = [
        amount - spent
        for amount, spent in (
            (limits.bytes_per_query, 0),
            (limits.bytes_per_day, used.day),
            (limits.bytes_per_month, used.month),
        )
        if amount is not None
    ]
    return min(left, default=None)


def broken(limits: Limits, used: Used, charge: Charge) -> Iterator[Broken]:
    """Yield every limit that one more query would break."""
    at, zone, least = used.at, limits.time_zone, charge.least
    if limits.bytes_per_query is not None and least > limits.bytes_per_query:
        yield Broken(limits, "bytes_per_query")
    # A query that reads nothing is never one too many, and one of unknown size needs some room.
    least = max(least, 0 if charge.most is not None else 1)
    if limits.bytes_per_day is not None and used.day + least > limits.bytes_per_day and least:
        yield Broken(limits, "bytes_per_day", used.day, day_of(at, zone)[1])
    if limits.bytes_per_month is not None and used.month + least > limits.bytes_per_month and least:
        yield Broken(limits, "bytes_per_month", used.month, month_of(at, zone)[1])
    rate = limits.queries_per_minute
    if rate is not None and len(used.minute) >= rate:
        free = used.minute[len(used.minute) - rate] + _MINUTE
        yield Broken(limits, "queries_per_minute", len(used.minute), free)
    if limits.concurrent_queries is not None and used.running >= limits.concurrent_queries:
        yield Broken(limits, "concurrent_queries", used.running)


def refusal(found: Iterable[tuple[Broken, Used]], charge: Charge) -> LimitError:
    """Say which limits a query would break, what is left of each and when it resets.

    Clients may send the query again by themselves only where all of that soon passes.
    """
    every = [*found]
    sentences = "; ".join(_sentence(one, used, charge) for one, used in every)
    messages = dict.fromkeys(one.limits.message for one, _ in every if one.limits.message)
    hint = "; ".join((_hint({one.word for one, _ in every}, charge), *messages))
    message = f"refused by limit: {sentences}"
    if all(one.word in _PASSING for one, _ in every):
        waits = [one.resets_at - used.at for one, used in every if one.resets_at is not None]
        return RateLimitError(message, hint=hint, retry_after=max(1, math.ceil(max([1, *waits]))))
    return LimitError(message, hint=hint)


def size(count: int) -> str:
    """Give bytes for a reader, in units of 1000: `1.5 GB`."""
    power = min(max(len(str(count)) - 1, 0) // 3, len(_UNITS) - 1)
    number = f"{count / 1000**power:.3f}".rstrip("0").rstrip(".")
    return f"{number} {_UNITS[power]}"


def moment(at: float, time_zone: str) -> str:
    """Give a time for a reader, in a time zone: `2026-11-27 00:00 UTC`."""
    return f"{datetime.fromtimestamp(at, ZoneInfo(time_zone)):%Y-%m-%d %H:%M} {time_zone}"


def named(limits: Limits) -> str:
    """Name a rule's limits, and who shares them where more than one agent does."""
    shared = "" if limits.whose == "agent" else f" for {limits.whose} `{limits.holder}`"
    return f"rule `{limits.rule}`{shared}"


def _sentence(one: Broken, used: Used, charge: Charge) -> str:
    limits, amount = one.limits, one.limits.amounts[one.word]
    what = f"`{one.word}` of {named(limits)}"
    if one.word == "queries_per_minute":
        seconds = math.ceil((one.resets_at or 0) - used.at)
        return f"{what} is {amount}, and none is left for {seconds} seconds"
    if one.word == "concurrent_queries":
        return f"{what} is {amount}, and {one.used} run or are about to"
    if charge.hidden:
        needs = "the query would read more than is left"
    elif charge.most is None:
        needs = "nobody can tell how much the query reads"
    else:
        needs = f"the query would read {size(charge.least)}"
    told = f"{needs}, and {what} is {size(amount)}"
    if one.resets_at is None:
        return told
    if not (charge.hidden or used.hidden):
        left = max(amount - one.used, 0)
        told += f", of which {size(one.used)} are used and {size(left)} are left"
    return f"{told}; it resets at {moment(one.resets_at, limits.time_zone)}"


def _hint(words: Collection[str], charge: Charge) -> str:
    if _PASSING.issuperset(words):
        return "send it again then, or do less at once"
    less = "read fewer columns (`LIMIT` lowers no estimate)"
    if charge.partitions:
        named = ", ".join(f"`{column}`" for column in charge.partitions[:_MOST_NAMED])
        less = f"add a condition on {named}, by which the data is partitioned, or {less}"
    return less if "bytes_per_query" in words else f"{less}, or wait until then"
