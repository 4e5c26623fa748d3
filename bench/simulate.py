"""Times `keystile policy simulate` over recordings of agents' queries.

Prints a line for each set, and as the last line JSON; how far it is stands on standard error. What
each figure means: `bench/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from prove.agent_queries import AgentQueries
from prove.simulation import draft_of

from bench.recorded_days import Recordings, shop
from keystile.config.settings import EngineLimits
from keystile.deciding import TASKS
from keystile.gate.simulation_report import Report, simulate
from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.pool import EnginePool
from keystile.recording.asked import AskedQueries, Wanted

_WORKERS = os.cpu_count() or 1
_LIMITS = EngineLimits(workers=_WORKERS, queue=4096, deadline=60)
_LISTED = 50
_SAID_EVERY_SECONDS = 10.0
_SHARE = 20
"""Of the usual set each text comes so often, on average."""

_UNLIKE_SHARE = 10
"""Of those of which each is analysed, so many times fewer are simulated."""

SETS = ("repeated", "all_distinct", "all_unlike")


class _Unlike(AgentQueries):
    """Queries of which no two are alike: in each stands what alike ones may not have."""

    def sql(self) -> tuple[str, str]:
        """Give the next text and its shape."""
        text, shape = super().sql()
        return f"{text}\n-- ''' {len(self._made)}", shape


async def measure(queries: int, *, only: str = "") -> dict[str, object]:
    """Write recordings of so many queries and simulate a draft on them."""
    found: dict[str, object] = {"workers": _WORKERS}
    for name in SETS:
        if only in {"", name}:
            kind, count = AgentQueries, queries
            if name == "all_unlike":
                kind, count = _Unlike, max(queries // _UNLIKE_SHARE, 1)
            asked = kind("bench", max(queries // _SHARE, 1) if name == "repeated" else 0)
            with tempfile.TemporaryDirectory() as folder:
                found[name] = await _measured(name, Path(folder), count, asked)
            print(f"{name}: {found[name]}", flush=True)
    return found


class _Progress:
    """Says on standard error how far it is, every ten seconds."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._said = time.monotonic()

    def done(self, what: str, count: int) -> None:
        if time.monotonic() - self._said >= _SAID_EVERY_SECONDS:
            self._said = time.monotonic()
            told = f"{self._name}: {what} {count:,} of {self._total:,}"
            print(told, file=sys.stderr, flush=True)


async def _measured(
    name: str, folder: Path, queries: int, asked: AgentQueries
) -> dict[str, object]:
    progress = _Progress(name, queries)
    now = time.time()
    wanted = Wanted(now - 2 * queries - 1, now + 1)
    recordings = folder / "recordings"
    started = time.perf_counter()
    texts = await Recordings(recordings, wanted.since).write(
        queries, asked, lambda count: progress.done("written", count)
    )
    written = time.perf_counter()
    reader = AskedQueries(recordings)
    await reader.count(wanted)
    indexed, spent = time.perf_counter(), _processor_seconds()
    pool = EnginePool(_LIMITS, TASKS)
    await pool.start()
    try:
        policy = await checked_policy(draft_of("stricter"), pool, None)
        report = Report(_LISTED, str)
        outcome = await simulate(
            reader,
            wanted,
            policy,
            pool,
            _LIMITS,
            shop(),
            report,
            lambda count: progress.done("simulated", count),
        )
    finally:
        await pool.close()
    seconds, spent = time.perf_counter() - indexed, _processor_seconds() - spent
    return {
        "queries": report.read,
        "distinct_texts": texts,
        "decisions": outcome.distinct,
        "changed": report.changed,
        "not_simulated": report.not_simulated.total(),
        "write_s": round(written - started, 1),
        "index_s": round(indexed - written, 1),
        "simulate_s": round(seconds, 1),
        "queries_per_s": round(report.read / seconds),
        "decisions_per_s": round(outcome.distinct / seconds),
        "cpu_s_per_1000": round(1000 * spent / report.read, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "recordings_mb": sum(one.stat().st_size for one in recordings.rglob("*.jsonl")) >> 20,
    }


def _processor_seconds() -> float:
    """Give what this process and its ended workers have had of the processors."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench simulate", description=__doc__)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--only", choices=SETS, default="")
    arguments = parser.parse_args()
    print(json.dumps(uvloop.run(measure(arguments.queries, only=arguments.only))))


if __name__ == "__main__":
    main()
