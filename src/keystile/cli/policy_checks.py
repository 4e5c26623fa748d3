"""What `keystile policy test` and `keystile policy apply` share: the tests beside a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_bytes

from keystile.cli.common import out
from keystile.gate.policy_tests import PolicyTester, Tried
from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.inline import InlineRunner


async def tried(documents: Mapping[str, str], tests: Mapping[str, str]) -> list[Tried]:
    """Run tests of a policy, both by file name. Raises `UnsafeConfigurationError`."""
    engine = InlineRunner()
    tester = PolicyTester(await checked_policy(documents, engine, None), engine, token_bytes(32))
    return [one async for one in tester.run(tests)]


def show_failed(tried: Sequence[Tried]) -> int:
    """Print the tests that failed, and give how many there are."""
    failed = [one for one in tried if one.differences]
    for one in failed:
        out.print(f"FAILED `{one.file}` line {one.line}: {one.name}", markup=False)
        for line in one.differences:
            out.print(f"  {line}", markup=False, soft_wrap=True)
    return len(failed)
