"""Measures how much of GoogleSQL's own query tests, and of benchmarks, the gateway understands.

Nothing of either is kept here. Prints progress, what is no query of BigQuery's, what was refused
and why, and as the last line JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from prove.benchmarks import SCHEMA, measured
from prove.cases import TESTS, of_googlesql
from prove.coverage import Coverage, Trier

_SHOW_EVERY = 10.0  # seconds
_SHOWN = 40
_CONTEXT = multiprocessing.get_context("spawn")


class Job(NamedTuple):
    """What one process does: every `step`th case after so many."""

    folder: Path
    compare: bool
    limit: int | None
    step: int


def main() -> int:
    """Measure; 0 where nothing was misread, and every query of the benchmarks proved."""
    options = _options()
    started = time.monotonic()
    figures: dict[str, object] = {}
    sound = True
    if options.googlesql:
        job = Job(options.googlesql, options.compare, options.limit, options.jobs)
        whole = _together(job, started)
        _report(whole)
        figures |= whole.summary()
        sound = not whole.misread
    for folder in options.benchmark:
        benchmark = measured(folder)
        for name, why in benchmark.refused.items():
            print(f"{folder.name}/{name}: {why}")
        figures[folder.name] = benchmark.summary()
        sound = sound and not benchmark.refused
    print(json.dumps({**figures, "seconds": round(time.monotonic() - started, 1)}))
    return 0 if sound else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prove corpus", description=__doc__)
    parser.add_argument("--googlesql", type=_with(TESTS), help="a checkout of GoogleSQL")
    parser.add_argument("--compare", action="store_true", help="run each query in two worlds")
    parser.add_argument("--limit", type=int, help="stop after so many cases of GoogleSQL's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--benchmark",
        type=_with(SCHEMA),
        action="append",
        default=[],
        help="a folder with schema.sql and queries in BigQuery's dialect, one to a file",
    )
    return parser.parse_args()


def _with(needed: str) -> Callable[[str], Path]:
    """Take a folder that holds what is needed, so that a wrong one is told at once."""

    def folder(text: str) -> Path:
        if not (Path(text) / needed).exists():
            raise argparse.ArgumentTypeError(f"there is no `{needed}` in `{text}`")
        return Path(text)

    return folder


class Worker(NamedTuple):
    """A process, the share of the cases that it tries, and where its results come from."""

    share: int
    process: BaseProcess
    results: Connection


def _together(job: Job, started: float) -> Coverage:
    """Share the cases among processes; one that dies goes on behind the case that it died of."""
    workers = [_started(job, share, 0) for share in range(job.step)]
    tried = dict.fromkeys(range(job.step), 0)
    whole, shown = Coverage(), started
    while workers:
        ready = wait([worker.results for worker in workers])
        for worker in [worker for worker in workers if worker.results in ready]:
            try:
                found: Coverage = worker.results.recv()
            except EOFError:
                workers.remove(worker)
                worker.process.join()
                if not worker.process.exitcode:
                    continue
                found = Coverage(cases=1, refused=Counter({"the process died": 1}))
                workers.append(_started(job, worker.share, tried[worker.share] + 1))
            tried[worker.share] += found.cases
            whole.add(found)
        if time.monotonic() - shown > _SHOW_EVERY:
            shown = time.monotonic()
            _show(whole, shown - started)
    return whole


def _started(job: Job, share: int, after: int) -> Worker:
    results, given = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_share, args=(job, share, after, given))
    process.start()
    given.close()
    return Worker(share, process, results)


def _share(job: Job, share: int, after: int, given: Connection) -> None:
    trier = Trier(compare=job.compare)
    cases = islice(of_googlesql(job.folder, trier.engine), job.limit)
    for case in islice(cases, share + job.step * after, None, job.step):
        given.send(trier.tried(case))


def _show(found: Coverage, seconds: float) -> None:
    print(
        f"{found.cases} cases at {found.cases / seconds:.1f}/s:"
        f" {found.analysed} of {found.accepted} analysed, {len(found.misread)} misread",
        flush=True,
    )


def _report(found: Coverage) -> None:
    for what, reasons in (
        ("excluded", found.details),
        ("refused", found.refused),
        ("cannot be masked", found.unmasked),
    ):
        print(f"{what}: {reasons.total()}")
        for reason, count in reasons.most_common(_SHOWN):
            print(f"  {count} times: {reason} ({found.first.get(reason, '?')})")
    for wrong in found.misread:
        print(f"MISREAD {wrong}")


if __name__ == "__main__":
    sys.exit(main())
