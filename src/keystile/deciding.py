"""Wires together what it takes to decide on a query and to plan it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple
from uuid import uuid4

from keystile.analysis import tasks as analysis
from keystile.analysis.remembered import RememberingAnalyst
from keystile.config.policy_folder import read_policy
from keystile.config.settings import Secret, Settings
from keystile.config.urls import require_safe_url
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.own_tables import OwnTables
from keystile.gate.planning import Planner
from keystile.gate.result_tables import ResultTables
from keystile.gate.shares import Shares
from keystile.googlesql.task import TaskRunner
from keystile.masking import tasks as masking
from keystile.masking.filters import PROBLEMS, Predicates
from keystile.masking.rewrite import Rewriter
from keystile.model.errors import KeystileError, UnsafeConfigurationError
from keystile.policy.compile import compile_policy
from keystile.policy.policy import Policy
from keystile.secrets.sources import Secrets
from keystile.store.database import Database
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.tls.end import End
from keystile.tls.from_settings import to_upstream
from keystile.upstream.accounts import Accounts
from keystile.upstream.connections import Connections

TASKS = (*analysis.TASKS, *masking.TASKS)
"""What the gateway asks of the SQL engine."""

_POLICY_SECONDS = 1.0

_log = logger("app")


class PolicySource:
    """The compiled policy. Files that change are compiled and take its place.

    A change that does not compile is logged and the policy before it stays in force.
    INVARIANT: a change is taken only when it is read the same twice, one look after the other: a
    file that is being written may be a policy too, with the masks still missing.
    """

    def __init__(self, folder: Path, runner: TaskRunner) -> None:
        """Compile the policy in `folder`; `runner` is for `check`.

        Raises `UnsafeConfigurationError`.
        """
        self._folder = folder
        self._runner = runner
        self._documents = self._seen = read_policy(folder)
        self._policy = compile_policy(self._documents)

    def current(self) -> Policy:
        """Give the policy that holds now."""
        return self._policy

    async def check(self) -> None:
        """Check what it takes an engine to read. Raises `UnsafeConfigurationError`."""
        await _check(self._policy, self._runner)

    async def follow(self) -> None:
        """Look for changes for ever."""
        while True:
            await asyncio.sleep(_POLICY_SECONDS)
            try:
                await self._follow_once()
            except KeystileError as error:
                _log.error("policy_not_replaced", reason=str(error))

    async def _follow_once(self) -> None:
        documents = await asyncio.to_thread(read_policy, self._folder)
        settled, self._seen = documents == self._seen, documents
        if settled and documents != self._documents:
            self._documents = documents
            policy = await asyncio.to_thread(compile_policy, documents)
            await _check(policy, self._runner)
            self._policy = policy
            _log.info("policy_replaced", digest=self._policy.digest)


async def checked_policy(documents: Mapping[str, str], runner: TaskRunner) -> Policy:
    """Compile a policy, as the gateway would take it. Raises `UnsafeConfigurationError`."""
    policy = compile_policy(documents)
    await _check(policy, runner)
    return policy


async def _check(policy: Policy, runner: TaskRunner) -> None:
    filters = policy.row_filters.all
    if not filters:
        return
    answer = await runner.run(PROBLEMS, Predicates(tuple(one.where for one in filters)))
    for one, problem in zip(filters, answer.found, strict=True):
        if problem:
            raise UnsafeConfigurationError(
                f"{one.place}: row filter `{one.name}`: {problem}",
                hint="see docs/reference/policy.md",
            )


class Planning(NamedTuple):
    """What it takes to plan a query: for the gateway, and for `keystile policy explain`."""

    planner: Planner
    policy: PolicySource
    accounts: Accounts
    connections: Connections
    ends: tuple[End, ...]


@asynccontextmanager
async def planning(
    settings: Settings, runner: TaskRunner, metrics: Metrics, database: Database
) -> AsyncIterator[Planning]:
    """Wire analysis, policy, masking and BigQuery together; jobs are those of an open store."""
    policy = PolicySource(settings.path(settings.policy), runner)
    await policy.check()
    require_safe_url(settings.upstream.endpoint, "`upstream.endpoint`")
    outward = to_upstream(settings)
    secrets = Secrets(settings)
    connections = Connections(settings, database, secrets)
    upstream = settings.upstream
    accounts = Accounts(connections, upstream.endpoint, upstream.timeout, outward)
    analyst = RememberingAnalyst(runner, settings.engine.max_sql_bytes)
    try:
        rewriter = Rewriter(runner, await masking_key(settings, secrets))
        await connections.open()
        metrics.watch_credentials(connections.ages)
        shares = Shares(2 * settings.engine.workers, settings.engine.queue)
        jobs = OwnJobs(database)
        results, own_tables = ResultTables(jobs), OwnTables(jobs)
        planner = Planner(
            analyst, policy.current, rewriter, accounts, shares, metrics, results, own_tables
        )
        yield Planning(planner, policy, accounts, connections, outward.ends)
    finally:
        await accounts.close()
        await connections.close()
        await secrets.close()


async def masking_key(settings: Settings, secrets: Secrets) -> bytes:
    """Read the key of keyed hashes; made once in the data folder where none is configured.

    Raises `UnsafeConfigurationError` for a key that is too short to be safe, or too long.
    """
    secret = settings.masking_key
    if secret is None:
        secret = Secret(file=settings.masking_key_file or _made_masking_key(settings))
    source = secrets.source(secret)
    key = (await source.read()).strip()
    if not 32 <= len(key) <= 64:  # noqa: PLR2004 - HMAC-SHA-256 asks for 32, its block holds 64
        raise UnsafeConfigurationError(
            f"the masking key in `{source.name}` is {len(key)} bytes long, not 32 to 64",
            hint="make one with `openssl rand -hex 32`",
        )
    return key


def _made_masking_key(settings: Settings) -> str:
    file = settings.data_folder / "masking-key"
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        half = file.with_name(f".masking-key-{uuid4().hex}")
        half.touch(mode=0o600)
        half.write_text(token_hex(32), encoding="ascii")
        try:
            # A link never replaces: of two gateways that start together, both use the first key.
            os.link(half, file)
        except FileExistsError:
            pass
        finally:
            half.unlink()
    return str(file)
