"""Proves that masked answers tell nothing: random queries in two worlds that differ in secrets.

Prints progress, each leak with its query, and as the last line JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from random import Random
from typing import NamedTuple

from keystile.googlesql import module
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from prove.generate import PARAMETERS, Generator
from prove.trial import Court, Outcome


class Tally(NamedTuple):
    """What came of the cases. Benign ones show the same in both worlds without any mask."""

    outcomes: Counter[Outcome]
    leaks: list[str]
    reasons: Counter[str]
    benign: int
    benign_refused: int
    errors: int


def new_court() -> Court:
    """Make a court with engines of its own."""
    return Court(InlineRunner(), Engine(module.load()))


async def try_cases(
    court: Court, cases: int, seed: int, *, judge: bool = False, talk: bool = False
) -> Tally:
    """Try so many queries of this seed; `judge` finds out of each whether it is benign."""
    generator = Generator(Random(seed))
    tally = Tally(Counter(), [], Counter(), 0, 0, 0)
    for case in range(1, cases + 1):
        sql = generator.query()
        trial = await court.try_query(sql, PARAMETERS)
        benign = judge and not court.reveals_unmasked(sql, PARAMETERS)
        tally.outcomes[trial.outcome] += 1
        if trial.outcome is Outcome.LEAK:
            tally.leaks.append(sql)
        if trial.outcome in {Outcome.REFUSED, Outcome.INVALID}:
            tally.reasons[trial.why[:100]] += 1
        tally = tally._replace(
            benign=tally.benign + benign,
            benign_refused=tally.benign_refused + (benign and trial.outcome is Outcome.REFUSED),
            errors=tally.errors + any(answer.error for answer in trial.answers),
        )
        if talk and case % 100 == 0:
            counts = {outcome.value: count for outcome, count in tally.outcomes.items()}
            print(f"{case} of {cases}: {counts}", flush=True)
    return tally


def main() -> int:
    """Run the proof; 0 where nothing leaked."""
    parser = argparse.ArgumentParser(prog="prove leaks", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--through", choices=["core"], default="core")
    options = parser.parse_args()
    started = time.monotonic()
    tally = asyncio.run(try_cases(new_court(), options.cases, options.seed, judge=True, talk=True))
    for sql in tally.leaks:
        print(f"LEAK: {sql}")
    for reason, count in tally.reasons.most_common(10):
        print(f"{count} times: {reason}")
    summary = {
        "cases": options.cases,
        "leaks": len(tally.leaks),
        "refused": tally.outcomes[Outcome.REFUSED],
        "invalid": tally.outcomes[Outcome.INVALID],
        "query_errors": tally.errors,
        "benign": tally.benign,
        "benign_refused": tally.benign_refused,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))
    return 1 if tally.leaks else 0


if __name__ == "__main__":
    sys.exit(main())
