"""Runs the system tests of Google's BigQuery client for Python directly and through the gateway.

Prints each test that passes directly and not through the gateway, with the reason, and as the last
line JSON: how many passed, failed and were skipped each way, and which were `lost`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keystile.model.facts import Action
from prove.clients.environments import AbsentError
from prove.clients.stage import WORKER, standing
from prove.system_tests.refused import REFUSED
from prove.system_tests.suite import fetched
from prove.system_tests.trial import Outcome, ran

_LEAST = 100  # what the sandbox must pass, or the comparison says little
_ABSENT = Outcome("failed", "it was not run")
_EVERYTHING = {"rules": [{"name": "everything", "allow": [*Action]}]}


def main() -> int:
    """Run the tests; 0 where nothing was lost."""
    options = _options()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keystile-system-tests-") as folder:
        try:
            direct, gateway = run(Path(folder), options.keywords)
        except AbsentError as error:
            print(error)
            print(json.dumps({"direct": {}, "gateway": {}, "lost": [], "absent": str(error)}))
            return 1
    figures = compared(direct, gateway)
    print(json.dumps({**figures, "seconds": round(time.monotonic() - started, 1)}))
    whole = not options.keywords
    few = whole and figures["direct"]["passed"] < _LEAST
    return 1 if few or figures["lost"] or (whole and figures["served"]) else 0


def run(folder: Path, keywords: str) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """Run the tests both ways at once, and give the outcomes of each way."""
    tests, found_by = fetched(folder / "source")
    only = ("-k", keywords) if keywords else ()
    with (
        standing(folder / "stage", {"rules.yaml": json.dumps(_EVERYTHING)}) as stage,
        ThreadPoolExecutor() as pool,
    ):
        ways = (stage.past("direct"), stage.through(WORKER, "gateway"))
        runs = [pool.submit(ran, tests, {**way, **found_by}, only) for way in ways]
        return runs[0].result(), runs[1].result()


def compared(direct: Mapping[str, Outcome], gateway: Mapping[str, Outcome]) -> dict[str, Any]:
    """Print what was lost, and give the figures of both ways.

    A test of what the gateway refuses on purpose is `refused` and not `lost`; one that passes all
    the same is `served`, and is no exception any more.
    """
    lost, refused = list[str](), list[str]()
    for name, outcome in direct.items():
        got = gateway.get(name, _ABSENT)
        if outcome.state == "passed" != got.state:
            kind = refused if name in REFUSED else lost
            kind.append(name)
            why = f"refused on purpose, for {REFUSED[name]}" if name in REFUSED else got.reason
            print(f"{name}: {why}", flush=True)
    return {
        "direct": _counted(direct),
        "gateway": _counted(gateway),
        "lost": lost,
        "refused": refused,
        "served": [name for name in REFUSED if gateway.get(name, _ABSENT).state == "passed"],
    }


def _counted(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    counts = Counter(outcome.state for outcome in outcomes.values())
    return {state: counts[state] for state in ("passed", "failed", "skipped")}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prove system-tests", description=__doc__)
    parser.add_argument("-k", dest="keywords", default="", help="only tests that pytest's -k finds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
