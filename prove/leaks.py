"""Proves that masked answers tell nothing: random queries in two worlds that differ in secrets.

Prints progress, each leak with its query made small, refusals by reason, and as the last line JSON.
Leaks are kept in tests/property/counter_examples.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import sys
import time
from multiprocessing.queues import Queue
from queue import Empty

from prove.core import Search
from prove.http import HttpSearch
from prove.schemas import SCHEMAS
from prove.tally import Tally

_REASONS_SHOWN = 15
_SHOW_EVERY = 10.0  # seconds
_LOOK_EVERY = 5.0


def main() -> int:
    """Run the proof; 0 where nothing leaked."""
    options = _options()
    print(f"seed {options.seed}, {options.cases} cases, {options.jobs} processes", flush=True)
    started = time.monotonic()
    through = _through_http if options.through == "http" else _through_core
    tally = through(options, started)
    seconds = time.monotonic() - started
    for kind, found in (("LEAK", tally.leaks), ("NOT BENIGN", tally.misjudged)):
        for schema, sql in found:
            print(f"{kind} in {schema}: {sql}")
    for reason, count in tally.reasons.most_common(_REASONS_SHOWN):
        print(f"{count} times: {reason}")
    print(json.dumps(tally.summary(seconds)))
    return 0 if tally.sound and tally.cases == options.cases else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prove leaks", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--through", choices=["core", "http"], default="core")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--schema", choices=[*SCHEMAS], default="", help="ask about this one only")
    return parser.parse_args()


def _through_core(options: argparse.Namespace, started: float) -> Tally:
    context = multiprocessing.get_context("spawn")
    tallies: Queue[Tally] = context.Queue()
    jobs = min(options.jobs, options.cases)
    shares = [options.cases // jobs + (job < options.cases % jobs) for job in range(jobs)]
    processes = [
        context.Process(
            target=_search, args=(f"{options.seed} {job}", share, options.schema, tallies)
        )
        for job, share in enumerate(shares)
    ]
    for process in processes:
        process.start()
    whole, shown = Tally(), started
    while whole.cases < options.cases:
        try:
            whole.add(tallies.get(timeout=_LOOK_EVERY))
        except Empty:
            if not any(process.is_alive() for process in processes):
                break
        if time.monotonic() - shown > _SHOW_EVERY:
            shown = time.monotonic()
            _show(whole, options.cases, shown - started)
    for process in processes:
        process.join()
    return whole


def _through_http(options: argparse.Namespace, started: float) -> Tally:
    whole, shown = Tally(), started

    def report(tally: Tally) -> None:
        nonlocal shown
        whole.add(tally)
        if time.monotonic() - shown > _SHOW_EVERY:
            shown = time.monotonic()
            _show(whole, options.cases, shown - started)

    HttpSearch(str(options.seed), only=options.schema).run(options.cases, report)
    return whole


def _search(seed: str, cases: int, schema: str, tallies: Queue[Tally]) -> None:
    def report(tally: Tally) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            sys.exit(1)  # nobody is left to report to
        tallies.put(tally)

    Search(seed, only=schema).run(cases, report)


def _show(tally: Tally, cases: int, seconds: float) -> None:
    rate = tally.cases / seconds
    counts = ", ".join(f"{count} {name}" for name, count in sorted(tally.outcomes.items()))
    print(f"{tally.cases} of {cases} at {rate:.1f}/s: {counts}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
