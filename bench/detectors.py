"""Finds personal data in labelled sentences, and beside it Presidio in the same run.

Prints as its last line JSON. What each figure means: `bench/README.md`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from prove.clients.environments import python_of

from keystile.detecting.entities import ENTITIES
from keystile.detecting.finder import Finder

ENTITY_OF = {
    "CREDIT_CARD": "card",
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "US_SSN": "ssn",
}
"""Presidio's name of each entity that both look for."""

_PASSES = 20

Span = tuple[str, int, int]
"""An entity, and where a value of it begins and ends in its text."""


def score(labelled: Sequence[Iterable[Span]], found: Sequence[Iterable[Span]]) -> dict[str, Any]:
    """Give recall and precision by entity.

    A value counts as found where one of its entity covers all of it, and what is found is wrong
    where it touches no value that is labelled.
    """
    there, hit, claimed, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for values, marks in zip(map(list, labelled), map(list, found), strict=True):
        for name, begin, end in values:
            there[name] += 1
            hit[name] += any(m[0] == name and m[1] <= begin and m[2] >= end for m in marks)
        for name, begin, end in marks:
            claimed[name] += 1
            right[name] += any(v[1] < end and begin < v[2] for v in values)
    return {
        name: {
            "values": there[name],
            "recall": round(hit[name] / there[name], 3) if there[name] else None,
            "precision": round(right[name] / claimed[name], 3) if claimed[name] else None,
        }
        for name in ENTITY_OF.values()
    }


def ours(finder: Finder, texts: Sequence[str]) -> tuple[float, list[list[Span]]]:
    """Look through texts; gives CPU seconds and what was found, in characters.

    One pass takes milliseconds, in which little but how busy the machine is shows: so it is many.
    """
    begun = time.process_time()
    for _ in range(_PASSES):
        found = finder.find(texts)
    seconds = (time.process_time() - begun) / _PASSES
    marks: list[list[Span]] = [[] for _ in texts]
    for place, several in found.items():
        whole = texts[place].encode()
        for one in several:
            begin, end = (len(whole[:at].decode()) for at in (one.start, one.end))
            marks[place] += [(name, begin, end) for name in one.entities]
    return seconds, marks


def figures(cells: int = 2000, rounds: int = 9, seed: int = 7) -> dict[str, Any]:
    """Measure both in turns, on sentences of presidio-evaluator's own templates."""
    program = Path(__file__).with_name("presidio.py")
    command = [str(python_of(program.with_suffix(""))), str(program), ",".join(ENTITY_OF)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        texts, labels = _ask(child, [cells, seed])
        labelled = [_known(spans) for spans in labels]
        finder = Finder(ENTITIES)
        finder.find(texts)
        theirs: list[float] = []
        mine: list[float] = []
        for _ in range(rounds):
            seconds, marks = _ask(child, "analyse")
            theirs.append(seconds)
            seconds, found = ours(finder, texts)
            mine.append(seconds)
    clean = [text for text, spans in zip(texts, found, strict=True) if not spans]
    unmarked = median(ours(finder, clean)[0] for _ in range(rounds))
    # The machine's own speed changes between rounds, less within one.
    times = median(one / other for one, other in zip(theirs, mine, strict=True))
    return {
        "cells": cells,
        "keystile": score(labelled, found),
        "presidio": score(labelled, [_known(spans) for spans in marks]),
        "presidio_nlp": "spacy.blank('en')",
        "cells_per_s": round(len(texts) / median(mine)),
        "presidio_cells_per_s": round(len(texts) / median(theirs)),
        "times_presidio": round(times, 1),
        "clean_cells_per_s": round(len(clean) / unmarked),
    }


def _known(spans: Iterable[Sequence[Any]]) -> list[Span]:
    return [(ENTITY_OF[name], begin, end) for name, begin, end in spans if name in ENTITY_OF]


def _ask(child: subprocess.Popen[str], what: object) -> Any:
    if child.stdin is None or child.stdout is None:
        raise AssertionError  # both are pipes
    child.stdin.write(json.dumps(what) + "\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("Presidio's side ended: run it by hand to see why")
    return json.loads(line)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench detectors", description=__doc__)
    parser.add_argument("--cells", type=int, default=2000, help="how many sentences")
    parser.add_argument("--rounds", type=int, default=9, help="of each, in turns")
    options = parser.parse_args()
    print(json.dumps(figures(options.cells, options.rounds)))


if __name__ == "__main__":
    main()
