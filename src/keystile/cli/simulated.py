"""How a simulation is shown: its progress, and what would change."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.status import Status

from keystile.cli.common import err
from keystile.cli.replayed import replayed_json, show_replayed
from keystile.cli.terminal import moment, say, show, table, visible
from keystile.console.highlight import tokens
from keystile.gate.simulation_report import ChangedGroup, Outcome
from keystile.policy.ruling import Change
from keystile.recording.asked import Wanted

_SAID_EVERY_SECONDS = 10.0
_LONGEST_LINE = 100
_MINUTES_FROM = 120
"""From so many seconds on, minutes are said."""

_HIDDEN = {"string": "?", "number": "?", "comment": ""}


class Progress:
    """Says on standard error how far it is: a live line on a terminal, else one now and then."""

    def __init__(self, total: int) -> None:
        """Begin with nothing done of `total` queries."""
        self._total = total
        self._started = self._said = time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if err.is_terminal:
            self._status = err.status(f"{self._total:,} recorded queries")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the live line."""
        if self._status:
            self._status.stop()

    def done(self, count: int) -> None:
        """Show that so many are done."""
        now = time.monotonic()
        if self._status is None and now - self._said < _SAID_EVERY_SECONDS:
            return
        self._said = now
        rate = count / max(now - self._started, 0.001)
        left = max(self._total - count, 0) / max(rate, 0.001)
        text = f"{count:,} of {self._total:,} recorded queries, {rate:,.0f} a second"
        text += f", {_time(left)} left"
        if self._status:
            self._status.update(text)
        else:
            err.print(text, markup=False, soft_wrap=True)


def _time(seconds: float) -> str:
    """Say a time as precisely as it can be foreseen."""
    if seconds < _MINUTES_FROM:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min"


def first_line(sql: str) -> str:
    """Give the first line of a query, each literal as `?`: who reads this may read no values."""
    plain = "".join(_HIDDEN.get(kind, text) for kind, text in tokens(sql))
    lines = [" ".join(line.split()) for line in plain.split("\n")]
    line = visible(next(filter(None, lines), ""))
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def show_outcome(found: Outcome, wanted: Wanted) -> None:
    """Print what would change: the sums, then each query, alike ones together."""
    report = found.report
    for group in report.groups:
        _show_group(group)
    if more := report.changed - report.listed:
        say(f"… and {more:,} more; list them with `--limit`", style="dim")
    span = f"{moment(wanted.since)} to {moment(wanted.until)}"
    say(f"{report.read:,} recorded queries, {found.distinct:,} of them distinct: {span}")
    if unusable := report.not_simulated:
        say(f"{unusable.total():,} could not be simulated:")
        for why, count in unusable.most_common():
            say(f"  {count:,}: {why}")
    say(_schemas(found))
    show_replayed(found.limits, found.detectors)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.kinds.items()))
    say(
        f"{report.changed:,} of {report.simulated:,} would change: {kinds}"
        if kinds
        else f"nothing would change for {report.simulated:,} queries",
        style="bold",
    )


def _schemas(found: Outcome) -> str:
    changed = found.changed_since
    if changed is None:
        return "schemas: as recorded with each query; BigQuery could not be asked for those of now"
    if not changed:
        return "schemas: as recorded with each query, and still the same"
    named = ", ".join(map(visible, changed[:10]))
    more = f" and {len(changed) - 10:,} more" if len(changed) > 10 else ""  # noqa: PLR2004 - as many as a reader looks at
    return f"schemas: as recorded with each query; they have changed since of {named}{more}"


def _show_group(group: ChangedGroup) -> None:
    change = group.change
    noun = "query" if group.count == 1 else "queries"
    say(f"{change.kind}: {group.count:,} {noun} of {visible(group.agent)}", style="bold")
    for line in _details(change):
        say(f"  {visible(line)}")
    rows = table("AT", "SESSION", "QUERY", "SQL")
    for one in group.queries:
        other = f" (schemas not recorded with it: {', '.join(one.others)})" if one.others else ""
        cells = (moment(one.at), one.session, one.query, one.sql + other)
        rows.add_row(*map(visible, cells))
    show(rows)
    say("")


def _details(change: Change) -> Iterator[str]:
    if change.before != change.after:
        yield f"{change.before} -> {change.after}"
    for word, values in (
        ("rules that take part now", change.fires),
        ("rules that no longer do", change.rests),
        ("masked", [f"{one.column} as {one.label}: {one.mask}" for one in change.masked]),
        ("unmasked", [f"{one.column}, was {one.label}: {one.mask}" for one in change.unmasked]),
        ("masked otherwise", [f"{one.column}: {one.mask}" for one in change.remasked]),
        ("approval", [f"{one.rule}: {one.who}" for one in change.asks]),
        ("approval no more", [f"{one.rule}: {one.who}" for one in change.asks_no_more]),
        ("filtered", [f"{one.table} by {one.rule}: {one.where}" for one in change.filters]),
        ("filtered no more", [f"{one.table} by {one.rule}" for one in change.filters_no_more]),
    ):
        yield from _lines(word, values)


def _lines(word: str, values: Iterable[str]) -> Iterator[str]:
    if joined := "; ".join(values):
        yield f"{word}: {joined}"


def to_json(found: Outcome, wanted: Wanted) -> dict[str, Any]:
    """Give all of it as plain data."""
    report = found.report
    groups: list[dict[str, Any]] = msgspec.to_builtins(report.groups)
    for group in groups:
        for query in group["queries"]:
            query["at"] = moment(query["at"])
    return {
        "since": moment(wanted.since),
        "until": moment(wanted.until),
        "queries": report.read,
        "distinct": found.distinct,
        "simulated": report.simulated,
        "not_simulated": dict(report.not_simulated),
        "changed": report.changed,
        "kinds": {str(kind): count for kind, count in report.kinds.items()},
        "listed": report.listed,
        "schemas_changed": found.changed_since,
        "groups": groups,
        **replayed_json(found.limits, found.detectors),
    }
