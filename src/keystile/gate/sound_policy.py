"""Whether a policy may hold: it compiles, and settings and SQL engine have no objection."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from keystile.googlesql.task import TaskRunner
from keystile.masking.custom import UNSOUND, Expressions
from keystile.masking.filters import PROBLEMS, Predicates
from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import compile_policy
from keystile.policy.parse import suggestion
from keystile.policy.policy import Policy

_HINT = "see docs/reference/policy.md"


async def checked_policy(
    files: Mapping[str, str], runner: TaskRunner, keys: Collection[str] | None
) -> Policy:
    """Compile a policy, as the gateway would take it. Raises `UnsafeConfigurationError`.

    `keys` are the names under `masking_keys` of the settings; None where no settings are at hand.
    """
    policy = await asyncio.to_thread(compile_policy, files)
    if keys is not None:
        _check_keys(policy, keys)
    await _check_filters(policy, runner)
    await _check_masks(policy, runner)
    return policy


def _check_keys(policy: Policy, keys: Collection[str]) -> None:
    """Refuse a mask with a key that is not there, which would refuse every query that needs it."""
    for one in policy.named_keys:
        if one.key not in keys:
            known = ", ".join(f"`{name}`" for name in sorted(keys))
            raise UnsafeConfigurationError(
                f"{one.place}: the settings have no masking key `{one.key}`"
                + (f", but {known}" if known else ""),
                hint=suggestion(one.key, keys, "add it to `masking_keys`"),
            )


async def _check_filters(policy: Policy, runner: TaskRunner) -> None:
    filters = policy.every_filter
    if not filters:
        return
    answer = await runner.run(PROBLEMS, Predicates(tuple(one.where for one in filters)))
    for one, problem in zip(filters, answer.found, strict=True):
        if problem:
            raise UnsafeConfigurationError(
                f"{one.place}: row filter `{one.name}`: {problem}", hint=_HINT
            )


async def _check_masks(policy: Policy, runner: TaskRunner) -> None:
    masks = policy.sql_masks
    if not masks:
        return
    answer = await runner.run(UNSOUND, Expressions(tuple(one.mask for one in masks)))
    for one, problem in zip(masks, answer.found, strict=True):
        if problem:
            raise UnsafeConfigurationError(f"{one.place}: `expression`: {problem}", hint=_HINT)
