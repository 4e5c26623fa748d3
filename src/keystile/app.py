"""Wires the rooms together from the settings, and serves them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import uuid4

from keystile.api.app import Api
from keystile.api.ports import Check
from keystile.approvals.requests import Approvals
from keystile.config.settings import Settings
from keystile.console.agents import Fleet
from keystile.console.app import console_app
from keystile.deciding import TASKS, Planning, planning
from keystile.gate.at_once import AtOnce
from keystile.gate.blank_tables import BlankTables
from keystile.gate.by_statement import ByStatement
from keystile.gate.changes import Changes
from keystile.gate.children import Children
from keystile.gate.clustering import Clustering
from keystile.gate.duties import Duties
from keystile.gate.gate import Gate
from keystile.gate.inherited_labels import InheritedLabels
from keystile.gate.job_store import JobStore
from keystile.gate.kill_switch import KillSwitch
from keystile.gate.ledger import Ledger
from keystile.gate.metadata import Metadata
from keystile.gate.noted import NoteRecords
from keystile.gate.outcomes import Outcomes
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.pages import PageCache
from keystile.gate.permissions import Permissions
from keystile.gate.pipeline import Pipeline
from keystile.gate.policy_versions import PolicyVersions
from keystile.gate.publishing import Publishing
from keystile.gate.read_sessions import ReadSessions
from keystile.gate.reading import ResultReader
from keystile.gate.recorder import Recorder
from keystile.gate.remote_publishing import RemotePublishing
from keystile.gate.result_tables import ResultTables
from keystile.gate.routine_changes import RoutineChanges
from keystile.gate.sessions import QuerySessions
from keystile.gate.streaming import Streaming
from keystile.gate.table_data import TableData
from keystile.gate.uploads import Uploads
from keystile.gate.vigil import Vigil
from keystile.googlesql.cached import CachedRunner
from keystile.googlesql.pool import EnginePool
from keystile.googlesql.task import TaskRunner
from keystile.identity import wiring
from keystile.identity.callers import Callers
from keystile.identity.wiring import Identity
from keystile.model.errors import (
    KeystileError,
    RecordingUnavailableError,
    RefusedError,
)
from keystile.recording.log import RecordingLog
from keystile.recording.retention import retain_as_configured
from keystile.servers import Served, run
from keystile.store.database import Database
from keystile.store.notes import Notes
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.tls.end import End
from keystile.tls.from_settings import listening
from keystile.tls.watch import watch
from keystile.upstream.listing import Listing
from keystile.upstream.stored import StoredConnections

_RETENTION_SECONDS = 3600.0

_log = logger("app")


async def serve(settings: Settings, ready: asyncio.Event) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is set once both ports answer.

    Raises `KeystileError` when something that it stands on cannot be opened.
    """
    metrics = Metrics()
    ends = listening(settings)
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    log = RecordingLog(settings.path(settings.recording.folder), settings.recording.segment_bytes)
    pool = EnginePool(settings.engine, TASKS)
    await database.open()
    try:
        await log.open()
        await pool.start()
        metrics.watch_engine(pool.stats)
        cached = CachedRunner(pool)
        metrics.watch_cache(cached.stats)
        identity = wiring.build(settings, database)
        async with planning(settings, cached, metrics, database) as plans:
            rooms = _gate(plans, cached, identity, database, log, metrics)
            gate, uploads, duties = rooms.gate, rooms.uploads, rooms.duties
            versions = PolicyVersions(database)
            api = Api(
                gate=gate,
                uploading=uploads,
                principals=identity.callers,
                exchanger=identity.exchange,
                issuer=identity.builtin,
                publishing=RemotePublishing(
                    identity.publishers,
                    Publishing(versions, cached, settings.masking_keys),
                    plans.policy,
                    rooms.recorder,
                ),
                checks=_checks(database, log, pool, plans),
                metrics=metrics,
                url=settings.gateway_url,
                storage=settings.storage.port > 0,
            )
            console = console_app(
                url=settings.people_url,
                people=identity.people,
                approvals=Approvals(database),
                recording=log,
                recordings=settings.path(settings.recording.folder),
                fleet=Fleet(
                    identity.agents,
                    identity.disablings,
                    rooms.jobs,
                    identity.own_issuer,
                    settings.identity.operators,
                    Ledger(database),
                    identity.tokens,
                ),
                versions=versions,
                listing=Listing(StoredConnections(database), plans.connections),
            )
            try:
                async with _storage(settings, rooms.reads, identity.callers, metrics, ends):
                    served = (
                        Served(settings.gateway, api, "off", ends.get("gateway")),
                        Served(settings.console, console, "on", ends.get("console")),
                    )
                    lasting = (
                        duties.run(),
                        rooms.kill_switch.run(),
                        plans.policy.follow(rooms.replica, _name(settings)),
                        NoteRecords(Notes(database), rooms.recorder).run(),
                        plans.connections.follow(rooms.jobs.oldest_running),
                        watch((*ends.values(), *plans.ends, *identity.ends), metrics),
                        _keep_retention(settings),
                    )
                    await run(served, lasting, ready)
            finally:
                await duties.stop()
                await identity.close()
    finally:
        await pool.close()
        await log.close()
        await database.close()


@asynccontextmanager
async def _storage(
    settings: Settings,
    reads: ReadSessions,
    callers: Callers,
    metrics: Metrics,
    ends: Mapping[str, End],
) -> AsyncIterator[None]:
    """Serve the Storage Read API beside, where a port for it is set."""
    chosen = settings.storage
    if not chosen.port:
        yield
        return
    # Here, for they take a second that nobody else needs to wait.
    from keystile.api.storage import read_service  # noqa: PLC0415
    from keystile.rpc.server import RpcServer  # noqa: PLC0415

    proxies = settings.gateway.trusted_proxies
    service = read_service(reads, callers, metrics, proxies)
    server = await RpcServer.listening(service, chosen.host, chosen.port, ends.get("storage"))
    try:
        yield
    finally:
        await server.close()


class _Rooms(NamedTuple):
    gate: Gate
    uploads: Uploads
    reads: ReadSessions
    duties: Duties
    kill_switch: KillSwitch
    jobs: JobStore
    recorder: Recorder
    replica: str


def _gate(  # noqa: PLR0913, PLR0917 - what the gate stands on
    plans: Planning,
    runner: TaskRunner,
    identity: Identity,
    database: Database,
    log: RecordingLog,
    metrics: Metrics,
) -> _Rooms:
    accounts, recorder, replica = plans.accounts, Recorder(log, metrics), uuid4().hex
    jobs, approvals = JobStore(database, replica=replica), Approvals(database)
    own = OwnJobs(database)
    results = ResultTables(own)
    vigil = Vigil(approvals, recorder)
    outcomes = Outcomes(accounts, recorder, PageCache(), plans.net)
    children, sessions = Children(jobs, accounts, recorder, plans.net), QuerySessions(database)
    pipeline = Pipeline(
        plans.planner,
        accounts,
        recorder,
        jobs,
        vigil,
        outcomes,
        children,
        metrics,
        identity.tokens.current,
        sessions,
        InheritedLabels(database),
        Ledger(database),
    )
    duties = Duties(pipeline, jobs, vigil, approvals, metrics)
    reader = ResultReader(jobs, accounts, recorder, outcomes, metrics)
    statements = ByStatement(duties, own, plans.policy.current)
    policy = plans.policy.current
    rows = TableData(statements, results, reader, accounts, policy)
    at_once = AtOnce(plans.planner, recorder, accounts)
    streaming = Streaming(at_once, accounts, policy)
    metadata = Metadata(accounts, policy)
    blank_tables = BlankTables(at_once)
    clustering = Clustering(at_once, accounts, policy)
    changes = Changes(statements, blank_tables, clustering, metadata, accounts, policy)
    gate = Gate(
        duties,
        jobs,
        own,
        results,
        reader,
        rows,
        streaming,
        metadata,
        changes,
        Permissions(accounts, plans.policy.current),
        RoutineChanges(statements, metadata, runner),
        children,
        accounts,
    )
    uploads = Uploads(database, pipeline, duties, jobs, recorder, accounts)
    reads = ReadSessions(rows, statements, results, own, reader, runner)
    kill_switch = KillSwitch(
        identity.disablings,
        identity.agents,
        identity.own_issuer,
        jobs,
        duties,
        uploads,
        sessions,
        accounts,
        recorder,
        metrics,
    )
    return _Rooms(gate, uploads, reads, duties, kill_switch, jobs, recorder, replica)


def _name(settings: Settings) -> str:
    """Say how people know this process: by its machine and port."""
    return f"{socket.gethostname()}:{settings.gateway.port}"


def _checks(
    database: Database, log: RecordingLog, pool: EnginePool, plans: Planning
) -> dict[str, Check]:
    async def store() -> None:
        async with database.read():
            return

    async def recording() -> None:
        if not log.available:
            raise RecordingUnavailableError("the recording cannot be written")

    async def engine() -> None:
        if not pool.stats().workers:
            raise RefusedError("no GoogleSQL worker is ready")

    async def policy() -> None:
        plans.policy.check()

    async def credential() -> None:
        await plans.connections.check()

    return {
        "store": store,
        "recording": recording,
        "engine": engine,
        "policy": policy,
        "credential": credential,
    }


async def _keep_retention(settings: Settings) -> None:
    """Purge or archive what is old enough, now and every hour."""
    while True:
        try:
            report = await asyncio.to_thread(retain_as_configured, settings, time.time())
        except KeystileError as error:
            _log.error("retention_failed", reason=str(error))
        else:
            if report.segments or report.skipped:
                _log.info(
                    "retention_done",
                    action=report.action,
                    segments=len(report.segments),
                    skipped=report.skipped,
                )
        await asyncio.sleep(_RETENTION_SECONDS)
