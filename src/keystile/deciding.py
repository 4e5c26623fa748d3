"""Wires together what it takes to decide on a query and to plan it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from keystile.analysis import tasks as analysis
from keystile.analysis.remembered import RememberingAnalyst
from keystile.config.settings import Settings
from keystile.config.urls import require_safe_url
from keystile.gate.inherited_labels import InheritedLabels
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.own_tables import OwnTables
from keystile.gate.planning import Planner
from keystile.gate.policy_source import PolicySource
from keystile.gate.policy_versions import PolicyVersions
from keystile.gate.result_tables import ResultTables
from keystile.gate.second_net import SecondNet
from keystile.gate.shares import Shares
from keystile.googlesql.task import TaskRunner
from keystile.masking import tasks as masking
from keystile.masking.rewrite import Rewriter
from keystile.secrets.masking_keys import MaskingKeys
from keystile.store.database import Database
from keystile.telemetry.metrics import Metrics
from keystile.tls.end import End
from keystile.tls.from_settings import secrets_of, to_upstream, to_vault
from keystile.upstream.accounts import Accounts
from keystile.upstream.connections import Connections

TASKS = (*analysis.TASKS, *masking.TASKS)
"""What the gateway asks of the SQL engine."""


class Planning(NamedTuple):
    """What it takes to plan a query: for the gateway, and for `keystile policy explain`."""

    planner: Planner
    policy: PolicySource
    accounts: Accounts
    connections: Connections
    net: SecondNet
    ends: tuple[End, ...]


@asynccontextmanager
async def planning(
    settings: Settings, runner: TaskRunner, metrics: Metrics, database: Database
) -> AsyncIterator[Planning]:
    """Wire analysis, policy, masking and BigQuery together; jobs are those of an open store."""
    versions = PolicyVersions(database)
    folder, names = settings.path(settings.policy), settings.masking_keys
    policy = PolicySource(folder, runner, versions, metrics.policy, names)
    await policy.open()
    require_safe_url(settings.upstream.endpoint, "`upstream.endpoint`")
    outward = to_upstream(settings)
    vault = to_vault(settings)
    secrets = secrets_of(settings, vault)
    keys = MaskingKeys(settings, secrets)
    connections = Connections(settings, database, secrets)
    upstream = settings.upstream
    noted = InheritedLabels(database).noted
    most_billed = upstream.maximum_bytes_billed
    ends = (*outward.ends, *connections.ends, *vault.ends)
    accounts = Accounts(
        connections, upstream.endpoint, upstream.timeout, outward, noted, most_billed
    )
    analyst = RememberingAnalyst(runner, settings.engine.max_sql_bytes)
    try:
        await keys.open()
        rewriter, net = Rewriter(runner, keys.key), SecondNet(keys.key, metrics)
        await connections.open()
        metrics.watch_credentials(connections.ages)
        shares = Shares(2 * settings.engine.workers, settings.engine.queue)
        jobs = OwnJobs(database)
        results, own_tables = ResultTables(jobs), OwnTables(jobs)
        planner = Planner(
            analyst, policy.current, rewriter, accounts, shares, metrics, results, own_tables
        )
        yield Planning(planner, policy, accounts, connections, net, ends)
    finally:
        await accounts.close()
        await outward.close()
        await connections.close()
        await secrets.close()
