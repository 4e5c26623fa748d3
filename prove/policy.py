"""What is said of policies holds.

The packs do what their tests say. The invariants hold for many examples. The same decisions are
made by several processes, each of which hashes texts in its own way, and are the same to the last
byte. Drafts do what was simulated of them. Detectors find at least what Presidio finds, much
faster. As the last line, JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from bench.detectors import figures as detector_figures
from bench.policy import AGENT, CONTEXT, documents, facts
from hypothesis import HealthCheck, settings

from keystile.config.policy_folder import read_policy, read_policy_tests
from keystile.gate.policy_tests import PolicyTester, Tried
from keystile.googlesql.inline import InlineRunner
from keystile.model.principal import Principal
from keystile.policy.compile import compile_policy
from prove.simulation import figures as simulation_figures

_PACKS = Path(__file__).parents[1] / "examples" / "policies"
_INVARIANTS = Path(__file__).parents[1] / "tests" / "unit" / "policy" / "test_policy_properties.py"
_TIMES = 100
"""How many times as fast as Presidio detectors are to be."""

_RULES, _LABELS, _QUERIES = 200, 500, 40
_KEY = bytes(range(32))


def main() -> int:
    """Prove; 0 where all is as it must be."""
    parser = argparse.ArgumentParser(prog="prove policy", description=__doc__)
    parser.add_argument(
        "--decisions", type=int, default=1_000_000, help="of all processes together"
    )
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--examples", type=int, default=1000, help="of each invariant")
    parser.add_argument("--queries", type=int, default=300, help="simulated, for each draft")
    parser.add_argument("--cells", type=int, default=2000, help="looked through by detectors")
    parser.add_argument("--digest", type=int, help="make so many decisions, and print their digest")
    options = parser.parse_args()
    if options.digest:
        print(digest(options.digest))
        return 0
    began = time.monotonic()
    found = [
        packs(),
        invariants(options.examples),
        purity(options.decisions, options.processes),
        simulation(options.queries),
        detectors(options.cells),
    ]
    figures = {name: said for part in found for name, said in part.figures.items()}
    print(json.dumps(figures | {"seconds": round(time.monotonic() - began, 1)}))
    return 0 if all(part.holds for part in found) else 1


class Part(NamedTuple):
    """One claim: its figures, and whether it holds."""

    figures: dict[str, Any]
    holds: bool


def packs() -> Part:
    """Run the tests of every pack; prints what differs from them."""
    tried = [one for pack in sorted(_PACKS.iterdir()) for one in asyncio.run(_tried(pack))]
    for one in tried:
        for line in one.differences:
            print(f"{one.file} line {one.line}: {one.name}: {line}", flush=True)
    failed = sum(bool(one.differences) for one in tried)
    return Part({"pack_tests": len(tried), "pack_tests_failed": failed}, bool(tried) and not failed)


class _Counts:
    """Counts tests for pytest."""

    def __init__(self) -> None:
        self.ran = self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one: what fails before the test itself counts as failed too."""
        self.ran += report.when == "call"
        self.failed += report.failed


def invariants(examples: int) -> Part:
    """Run the tests of the invariants, with so many examples of each."""
    settings.register_profile(
        "prove",
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow],
    )
    counts = _Counts()
    # Hypothesis was imported before pytest could look at it, of which it warns.
    quiet = ["-q", "--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    words = [*quiet, "--hypothesis-profile=prove", str(_INVARIANTS)]
    pytest.main(words, plugins=[counts])
    figures = {
        "invariants": counts.ran,
        "invariant_examples": examples,
        "invariants_failed": counts.failed,
    }
    return Part(figures, bool(counts.ran) and not counts.failed)


def purity(decisions: int, processes: int) -> Part:
    """Make the same decisions by processes that hash texts differently."""
    outcomes = len(different(decisions, processes))
    figures = {
        "decisions": decisions,
        "processes": processes,
        "different_outcomes": outcomes - 1,
    }
    return Part(figures, outcomes == 1)


def simulation(queries: int) -> Part:
    """Simulate drafts, and enforce them."""
    found = simulation_figures(queries)
    return Part({"simulation": found}, found["ok"] is True)


def detectors(cells: int) -> Part:
    """Find personal data beside Presidio."""
    found = detector_figures(cells)
    pairs = [(found["keystile"][name], theirs) for name, theirs in found["presidio"].items()]
    worse = any((ours["recall"] or 0) < (theirs["recall"] or 0) for ours, theirs in pairs)
    return Part({"detectors": found}, not worse and found["times_presidio"] >= _TIMES)


async def _tried(pack: Path) -> list[Tried]:
    tester = PolicyTester(compile_policy(read_policy(pack)), InlineRunner(), _KEY)
    return [one async for one in tester.run(read_policy_tests(pack))]


def different(decisions: int, processes: int) -> set[str]:
    """Give the digests of the same decisions, made by so many processes: one where all is well."""
    each = str(max(decisions // processes, 1))
    command = [sys.executable, "-m", "prove.policy", "--digest", each]
    running = [
        subprocess.Popen(
            command, env={**os.environ, "PYTHONHASHSEED": str(seed)}, stdout=subprocess.PIPE
        )
        for seed in range(1, processes + 1)
    ]
    return {one.communicate()[0].decode() + f"{one.returncode or ''}" for one in running}


def digest(decisions: int) -> str:
    """Give the SHA-256 of so many decisions, of many agents on the same queries."""
    asked, agents = [*facts(_QUERIES)], [*_agents()]
    policy = compile_policy(documents(_RULES, _LABELS))
    found = hashlib.sha256()
    for number in range(decisions):
        one, agent = asked[number % len(asked)], agents[number // len(asked) % len(agents)]
        decision = policy.decide(agent, one.facts, one.tables, CONTEXT)
        found.update(msgspec.json.encode(decision))
    return found.hexdigest()


def _agents() -> Iterator[Principal]:
    """Give agents of several groups, one of none."""
    for groups in ((), ("coding-agents",), AGENT.groups, ("coding-agents", "team-3", "leads-9")):
        yield msgspec.structs.replace(AGENT, groups=groups)


if __name__ == "__main__":
    sys.exit(main())
