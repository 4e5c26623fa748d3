"""Wires the rooms together from the settings, and serves them."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import uvicorn

from keystile.analysis import tasks as analysis
from keystile.analysis.remembered import RememberingAnalyst
from keystile.api.app import Api
from keystile.api.ports import Check
from keystile.approvals.requests import Approvals
from keystile.config.policy_folder import read_policy
from keystile.config.settings import Listener, Settings
from keystile.console.app import console_app
from keystile.gate.by_statement import ByStatement
from keystile.gate.changes import Changes
from keystile.gate.children import Children
from keystile.gate.duties import Duties
from keystile.gate.gate import Gate
from keystile.gate.jobs import JobStore
from keystile.gate.metadata import Metadata
from keystile.gate.outcomes import Outcomes
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.pages import PageCache
from keystile.gate.pipeline import Pipeline
from keystile.gate.planning import Planner
from keystile.gate.read_sessions import ReadSessions
from keystile.gate.reading import ResultReader
from keystile.gate.recorder import Recorder
from keystile.gate.result_tables import ResultTables
from keystile.gate.sessions import QuerySessions
from keystile.gate.shares import Shares
from keystile.gate.streaming import Streaming
from keystile.gate.table_data import TableData
from keystile.gate.uploads import Uploads
from keystile.gate.vigil import Vigil
from keystile.googlesql.cached import CachedRunner
from keystile.googlesql.pool import EnginePool
from keystile.googlesql.task import TaskRunner
from keystile.identity import wiring
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.masking import tasks as masking
from keystile.masking.filters import PROBLEMS, Predicates
from keystile.masking.rewrite import Rewriter
from keystile.model.errors import (
    KeystileError,
    RecordingUnavailableError,
    RefusedError,
    UnsafeConfigurationError,
)
from keystile.policy.compile import compile_policy
from keystile.policy.policy import Policy
from keystile.recording.log import RecordingLog
from keystile.recording.retention import retain_as_configured
from keystile.secrets.file import SecretFile
from keystile.store.database import Database
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.credential import ServiceAccount

TASKS = (*analysis.TASKS, *masking.TASKS)
"""What the gateway asks of the SQL engine."""

_POLICY_SECONDS = 1.0
_RETENTION_SECONDS = 3600.0
_GRACE_SECONDS = 3

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
        await self._check(self._policy)

    async def _check(self, policy: Policy) -> None:
        filters = policy.row_filters.all
        if not filters:
            return
        request = Predicates(tuple(one.where for one in filters))
        answer = await self._runner.run(PROBLEMS, request)
        for one, problem in zip(filters, answer.found, strict=True):
            if problem:
                raise UnsafeConfigurationError(
                    f"{one.place}: row filter `{one.name}`: {problem}",
                    hint="see docs/reference/policy.md",
                )

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
            await self._check(policy)
            self._policy = policy
            _log.info("policy_replaced", digest=self._policy.digest)


class Planning(NamedTuple):
    """What it takes to plan a query: for the gateway, and for `keystile policy explain`."""

    planner: Planner
    policy: PolicySource
    bigquery: BigQuery
    credential: ServiceAccount


@asynccontextmanager
async def planning(
    settings: Settings, runner: TaskRunner, metrics: Metrics, database: Database
) -> AsyncIterator[Planning]:
    """Wire analysis, policy, masking and BigQuery together; jobs are those of an open store."""
    policy = PolicySource(settings.path(settings.policy), runner)
    await policy.check()
    credential = ServiceAccount(SecretFile(settings.path(settings.upstream.service_account_file)))
    bigquery = BigQuery(settings.upstream.endpoint, credential, settings.upstream.timeout)
    analyst = RememberingAnalyst(runner, settings.engine.max_sql_bytes)
    rewriter = Rewriter(runner, masking_key(settings))
    try:
        shares = Shares(2 * settings.engine.workers, settings.engine.queue)
        results = ResultTables(OwnJobs(database))
        planner = Planner(analyst, policy.current, rewriter, bigquery, shares, metrics, results)
        yield Planning(planner, policy, bigquery, credential)
    finally:
        await bigquery.close()


def masking_key(settings: Settings) -> bytes:
    """Read the key of keyed hashes; made once in the data folder where none is configured.

    Raises `UnsafeConfigurationError` for a key that is too short to be safe, or too long.
    """
    file = settings.path(settings.masking_key_file or _made_masking_key(settings))
    key = SecretFile(file).read().strip()
    if not 32 <= len(key) <= 64:  # noqa: PLR2004 - HMAC-SHA-256 asks for 32, its block holds 64
        raise UnsafeConfigurationError(
            f"the masking key in `{file}` is {len(key)} bytes long, not 32 to 64",
            hint="make one with `openssl rand -hex 32`",
        )
    return key


def _made_masking_key(settings: Settings) -> str:
    file = settings.data_folder / "masking-key"
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        half = file.with_name(f".masking-key-{uuid4().hex}")
        half.touch(mode=0o600)
        half.write_text(secrets.token_hex(32), encoding="ascii")
        try:
            # A link never replaces: of two gateways that start together, both use the first key.
            os.link(half, file)
        except FileExistsError:
            pass
        finally:
            half.unlink()
    return str(file)


async def serve(settings: Settings, ready: asyncio.Event) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is set once both ports answer.

    Raises `KeystileError` when something that it stands on cannot be opened.
    """
    metrics = Metrics()
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
            rooms = _gate(plans, cached, identity.tokens, database, log, metrics)
            gate, uploads, duties = rooms.gate, rooms.uploads, rooms.duties
            api = Api(
                gate=gate,
                uploading=uploads,
                principals=identity.tokens,
                exchanger=identity.exchange,
                issuer=identity.builtin,
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
            )
            try:
                async with _storage(settings, rooms.reads, identity.tokens, metrics):
                    await _run(settings, api, console, duties, plans.policy, ready)
            finally:
                await duties.stop()
                await identity.close()
    finally:
        await pool.close()
        await log.close()
        await database.close()


@asynccontextmanager
async def _storage(
    settings: Settings, reads: ReadSessions, tokens: GatewayTokens, metrics: Metrics
) -> AsyncIterator[None]:
    """Serve the Storage Read API beside, where a port for it is set."""
    chosen = settings.storage
    if not chosen.port:
        yield
        return
    # Here, for they take a second that nobody else needs to wait.
    from keystile.api.storage import read_service  # noqa: PLC0415
    from keystile.rpc.server import RpcServer, Tls  # noqa: PLC0415

    tls = None
    if chosen.certificate_file:
        tls = Tls(settings.path(chosen.certificate_file), settings.path(chosen.key_file))
    service = read_service(reads, tokens, metrics)
    server = await RpcServer.listening(service, chosen.host, chosen.port, tls)
    try:
        yield
    finally:
        await server.close()


class _Rooms(NamedTuple):
    gate: Gate
    uploads: Uploads
    reads: ReadSessions
    duties: Duties


def _gate(  # noqa: PLR0913, PLR0917 - what the gate stands on
    plans: Planning,
    runner: TaskRunner,
    tokens: GatewayTokens,
    database: Database,
    log: RecordingLog,
    metrics: Metrics,
) -> _Rooms:
    bigquery, recorder = plans.bigquery, Recorder(log, metrics)
    jobs, approvals = JobStore(database, replica=uuid4().hex), Approvals(database)
    own = OwnJobs(database)
    results = ResultTables(own)
    vigil = Vigil(approvals, recorder)
    outcomes = Outcomes(bigquery, recorder, PageCache())
    children = Children(jobs, bigquery, recorder)
    pipeline = Pipeline(
        plans.planner,
        bigquery,
        recorder,
        jobs,
        vigil,
        outcomes,
        children,
        metrics,
        tokens.current,
        QuerySessions(database),
    )
    duties = Duties(pipeline, jobs, vigil, approvals, metrics)
    reader = ResultReader(jobs, bigquery, recorder, outcomes, metrics)
    statements = ByStatement(duties, own, plans.policy.current)
    rows = TableData(statements, results, reader, bigquery, plans.policy.current)
    streaming = Streaming(plans.planner, bigquery, recorder, plans.policy.current)
    metadata = Metadata(bigquery, plans.policy.current)
    changes = Changes(statements, metadata, bigquery, plans.policy.current)
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
        children,
        bigquery,
    )
    uploads = Uploads(database, pipeline, duties, jobs, recorder, bigquery.uploads)
    reads = ReadSessions(rows, statements, results, own, reader, runner)
    return _Rooms(gate, uploads, reads, duties)


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
        plans.policy.current()

    async def credential() -> None:
        await plans.credential.bearer()

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


class _Server(uvicorn.Server):
    """A server among several in one process, which leaves signals to `_run`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(  # noqa: PLR0913, PLR0917 - everything that runs side by side
    settings: Settings,
    api: Api,
    console: Any,
    duties: Duties,
    policy: PolicySource,
    ready: asyncio.Event,
) -> None:
    sockets = [_listening(settings.gateway), _listening(settings.console)]
    servers = (_server(api, lifespan="off"), _server(console, lifespan="on"))
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, _stop, servers)
    lasting = (duties.run(), policy.follow(), _keep_retention(settings))
    background = [asyncio.ensure_future(work) for work in lasting]
    try:
        async with asyncio.TaskGroup() as group:
            for server, listening in zip(servers, sockets, strict=True):
                group.create_task(server.serve(sockets=[listening]))
            while not all(server.started for server in servers):
                if any(server.should_exit for server in servers):
                    break
                await asyncio.sleep(0.01)
            else:
                ready.set()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


def _listening(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((listener.host, listener.port))
    except OSError as error:
        listening.close()
        raise UnsafeConfigurationError(
            f"cannot listen on `{listener.host}:{listener.port}`: {error.strerror}",
            hint="choose another port, or stop what has it",
        ) from error
    return listening


def _server(app: Any, *, lifespan: Any) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan=lifespan,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )


def _stop(servers: tuple[_Server, ...]) -> None:
    for server in servers:
        server.should_exit = True
