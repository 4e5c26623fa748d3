"""Deciding is a pure function, and the packs do what their tests say.

The same decisions are made by several processes, each of which hashes texts in its own way, and
must be the same to the last byte. As the last line, JSON.
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

import msgspec
from bench.policy import AGENT, CONTEXT, documents, facts

from keystile.config.policy_folder import read_policy, read_policy_tests
from keystile.gate.policy_tests import PolicyTester, Tried
from keystile.googlesql.inline import InlineRunner
from keystile.model.principal import Principal
from keystile.policy.compile import compile_policy

_PACKS = Path(__file__).parents[1] / "examples" / "policies"
_RULES, _LABELS, _QUERIES = 200, 500, 40
_KEY = bytes(range(32))


def main() -> int:
    """Prove; 0 where all is as it must be."""
    parser = argparse.ArgumentParser(prog="prove policy", description=__doc__)
    parser.add_argument(
        "--decisions", type=int, default=1_000_000, help="of all processes together"
    )
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--digest", type=int, help="make so many decisions, and print their digest")
    options = parser.parse_args()
    if options.digest:
        print(digest(options.digest))
        return 0
    began = time.monotonic()
    tried = [one for pack in sorted(_PACKS.iterdir()) for one in asyncio.run(_tried(pack))]
    for one in tried:
        for line in one.differences:
            print(f"{one.file} line {one.line}: {one.name}: {line}")
    failed = sum(bool(one.differences) for one in tried)
    digests = different(options.decisions, options.processes)
    figures = {
        "pack_tests": len(tried),
        "pack_tests_failed": failed,
        "decisions": options.decisions,
        "processes": options.processes,
        "different_outcomes": len(digests) - 1,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(figures))
    return 1 if failed or len(digests) > 1 else 0


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
