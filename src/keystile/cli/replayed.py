"""How limits and detectors of a draft are shown: what they would do with recorded queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from keystile.cli.terminal import say, visible
from keystile.gate.detector_replay import DetectorReplay
from keystile.gate.limit_replay import LimitReplay

_JOBS_SHOWN = 3


def show_replayed(limits: LimitReplay, detectors: DetectorReplay) -> None:
    """Print the sums, each with what makes them up; nothing of what is not in the draft."""
    for line in (*_limit_lines(limits), *_detector_lines(detectors)):
        say(visible(line))


def _limit_lines(found: LimitReplay) -> Iterator[str]:
    if not found.limited:
        return
    yield (
        f"limits: {_queries(found.queries)} would be over the limit, of {found.limited:,} that"
        " limits are about"
    )
    for one, count in sorted(found.over.items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"  {one.word} of rule {one.rule} for {one.whose} {one.holder}: {_queries(count)}"
    yield from _not_known(found.unknown)
    for note in found.notes:
        yield f"  not exact: {note}"


def _detector_lines(found: DetectorReplay) -> Iterator[str]:
    if not found.looked:
        return
    yield (
        f"detectors: {_queries(found.queries)} would have values treated otherwise, of"
        f" {found.looked:,} whose detectors would be others"
    )
    for one, count in sorted(found.found.items()):
        behind = f" ({', '.join(one.columns)})" if one.columns else ""
        more = ", …" if count.queries > _JOBS_SHOWN else ""
        jobs = ", ".join(count.jobs[:_JOBS_SHOWN]) + more
        yield (
            f"  {one.kind}: {count.values:,} {one.entity} in column {one.column}{behind},"
            f" {_queries(count.queries)}: {jobs}"
        )
    yield from _not_known(found.unknown)


def _not_known(unknown: Mapping[str, int]) -> Iterator[str]:
    for why, count in sorted(unknown.items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"  not known of {count:,}: {why}"


def _queries(count: int) -> str:
    return f"{count:,} {'query' if count == 1 else 'queries'}"


def replayed_json(limits: LimitReplay, detectors: DetectorReplay) -> dict[str, Any]:
    """Give the same as plain data."""
    return {
        "limits": {
            "about": limits.limited,
            "over": limits.queries,
            "by": [
                {**msgspec.structs.asdict(one), "queries": count}
                for one, count in sorted(limits.over.items())
            ],
            "not_known": dict(limits.unknown),
            "notes": limits.notes,
        },
        "detectors": {
            "about": detectors.looked,
            "queries": detectors.queries,
            "found": [
                {**msgspec.to_builtins(one), **msgspec.to_builtins(count)}
                for one, count in sorted(detectors.found.items())
            ],
            "not_known": dict(detectors.unknown),
        },
    }
