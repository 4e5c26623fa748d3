"""Signs in by every way, attacks, changes keys under load and disables an agent.

Prints each fault as soon as it is found, how each library did, and as the last line JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from prove.clients.environments import AbsentError
from prove.identity import sources
from prove.identity.exchanges import exchanges
from prove.identity.killing import killed
from prove.identity.libraries import LIBRARIES
from prove.identity.recognised import attacks, presets
from prove.identity.rotation import rotated
from prove.identity.stage import Stage, standing
from prove.identity.thefts import thefts

_MOST_SECONDS = 5.0


class Size(NamedTuple):
    """How much is tried: `libraries` by their number, `rotations`, and the seconds between two."""

    libraries: int
    rotations: int
    every: float


FULL, SMALL = Size(len(LIBRARIES), 5, 12.0), Size(1, 1, 1.0)


def main() -> int:
    """Try everything; 0 where all of it held."""
    parser = argparse.ArgumentParser(prog="prove identity", description=__doc__)
    parser.add_argument(
        "--small",
        action="store_true",
        help="only the library of the repository's own environment, and one change of each key",
    )
    size = SMALL if parser.parse_args().small else FULL
    started = time.monotonic()
    try:
        figures, faults = run(size)
    except AbsentError as error:
        print(f"the issuer is absent: {error}")
        return 1
    figures["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(figures))
    return 1 if faults else 0


def run(size: Size) -> tuple[dict[str, Any], list[str]]:
    """Try everything in this size; gives the figures, and each fault in words.

    Raises `AbsentError` where the issuer cannot be had.
    """
    told = _Told()
    with tempfile.TemporaryDirectory(prefix="keystile-identity-") as name:
        folder = Path(name)
        with standing(folder) as stage, sources.standing(folder / "sources") as found:
            return _figures(stage, found, size, told), told.faults


def _figures(stage: Stage, found: sources.Sources, size: Size, told: _Told) -> dict[str, Any]:
    first = stage.gateways[0]
    recognised = [told.of(f"preset {name}", fault) for name, fault in presets(first)]
    tried = (*attacks(first), *thefts(*stage.gateways))
    refused = [told.of(f"attack: {name}", fault) for name, fault in tried]
    attempts, exchanged = dict[str, Counter[int]](), 0
    libraries = LIBRARIES[: size.libraries]
    for one in exchanges(stage, found, libraries, small=size is SMALL):
        right = told.of(f"{one.library}, {one.what}", one.fault)
        exchanged += right and not one.refusal
        if one.refusal:
            attempts.setdefault(one.library, Counter())[one.attempts] += 1
    for library, counted in attempts.items():
        print(f"{library}: attempts at a token that is refused: {max(counted)}", flush=True)
    load = rotated(stage, times=size.rotations, every=size.every)
    for fault in load.faults:
        told.of("rotation", fault)
    end = killed(stage)
    slow = f"{end.seconds:.1f} s" if end.seconds >= _MOST_SECONDS else ""
    told.of("kill switch", end.fault or slow)
    return {
        "presets": sum(recognised),
        "exchanges": exchanged,
        "attempts": {library: max(counted) for library, counted in attempts.items()},
        "attacks": len(refused),
        "attacks_refused": sum(refused),
        "rotations": load.rotations,
        "rotation_queries": load.queries,
        "rotation_failures": len(load.faults),
        "kill_seconds": round(end.seconds, 1),
    }


class _Told:
    """Every fault, printed as soon as it is known."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def of(self, what: str, fault: str) -> bool:
        """Tell of a fault if there is one; true if there is none."""
        if fault:
            self.faults.append(f"{what}: {fault}")
            print(self.faults[-1], flush=True)
        return not fault


if __name__ == "__main__":
    sys.exit(main())
