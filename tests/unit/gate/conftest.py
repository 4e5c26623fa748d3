"""The gate over a real store, a real recording and real approvals, before a small BigQuery."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from tests.support.accounts import ACCOUNT, OneAccount

from keystile.analysis.analysed import Analysed
from keystile.analysis.scope import Scope
from keystile.analysis.statement import Statement
from keystile.approvals.requests import Approvals, ApprovalState, Person
from keystile.gate.at_once import AtOnce
from keystile.gate.blank_tables import BlankTables
from keystile.gate.by_statement import ByStatement
from keystile.gate.changes import Changes
from keystile.gate.children import Children
from keystile.gate.clustering import Clustering
from keystile.gate.decided import Decided
from keystile.gate.duties import Duties
from keystile.gate.gate import Gate
from keystile.gate.inherited_labels import InheritedLabels
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.ledger import Ledger
from keystile.gate.metadata import Metadata
from keystile.gate.outcomes import Outcomes
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.pages import PageCache
from keystile.gate.permissions import Permissions
from keystile.gate.pipeline import Pipeline
from keystile.gate.plan import Plan, digest_of
from keystile.gate.planned import Planned
from keystile.gate.read_results import Understood
from keystile.gate.read_sessions import ReadSessions
from keystile.gate.reading import ResultReader
from keystile.gate.recorder import Recorder
from keystile.gate.result_tables import ResultTables
from keystile.gate.routine_changes import RoutineChanges
from keystile.gate.second_net import SecondNet
from keystile.gate.sessions import Left, QuerySessions
from keystile.gate.statements import ScriptStatement
from keystile.gate.streaming import Streaming
from keystile.gate.table_data import TableData
from keystile.gate.vigil import Vigil
from keystile.masking.filters import Predicates, Problems
from keystile.masking.keyed import always
from keystile.model.decision import ApprovalDemand, Decision, Effect, Limits, NewLabel, Reason
from keystile.model.errors import KeystileError, NotFoundError, PolicyUnreadableError, RefusedError
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import Field, Table, TableId, TableKind
from keystile.policy.budget import Charge
from keystile.policy.compile import compile_policy
from keystile.policy.policy import Policy
from keystile.recording.log import RecordingLog
from keystile.store.database import Database
from keystile.telemetry.metrics import Metrics
from keystile.upstream.values import JobRef, JobStatus, Page, ScriptJob, UpstreamQuery
from keystile.wire.into import Into
from keystile.wire.requests import PageRequest, QueryRequest
from keystile.wire.responses import JobView

TABLE = TableId("acme-shop", "shop", "customers")
FACTS = QueryFacts("SELECT", (Action.READ,), reads=(TABLE,))
FIELDS = (Field("id", "INT64"),)
RESULT = TableId("acme-shop", "_hidden", "anon`1")
LAB = TableId("acme-shop", "lab", "kept")
INTO = Into(
    LAB, {"destinationTable": {"projectId": "acme-shop", "datasetId": "lab", "tableId": "kept"}}
)
DEMAND = ApprovalDemand("raw-ssn", ("data-stewards",), 1, 600, ("pii.ssn",))
REWRITTEN = "SELECT id FROM (SELECT * REPLACE ('XXX' AS ssn) FROM shop.customers)"


class FakeBigQuery(OneAccount):
    """Keeps jobs by id; a `held` one runs until `finish`. `started` has every accepted start."""

    def __init__(self) -> None:
        super().__init__()
        self.rows_of: list[dict[str, Any]] = [{"f": [{"v": str(n)}]} for n in range(3)]
        self.jobs: dict[str, asyncio.Event] = {}
        self.started: list[str] = []
        self.began = asyncio.Event()
        self.texts: list[str] = []
        self.in_piece = 1000
        self.breaks: KeystileError | None = None
        self.schema = FIELDS
        self.read: list[int] = []
        self.cancelled: list[str] = []
        self.hold = False
        self.error: KeystileError | None = None
        self.start_fails: list[KeystileError] = []
        self.wait_fails: list[KeystileError] = []
        self.before_start: Any = None
        self.starts_anyway = False
        self.queries: list[UpstreamQuery] = []
        self.write_fails: KeystileError | None = None
        self.of_script: list[ScriptJob] = []
        self.listed: list[str] = []
        self.list_fails: list[KeystileError] = []
        self.session = ""
        self.billed = 0

    async def start(self, query: UpstreamQuery, job: str) -> None:
        if self.before_start:
            self.before_start()
        if self.start_fails:
            failure = self.start_fails.pop(0)
            if self.starts_anyway:
                self._begin(query, job)
            raise failure
        self._begin(query, job)

    def _begin(self, query: UpstreamQuery, job: str) -> None:
        if job in self.jobs:
            return
        self.jobs[job] = asyncio.Event()
        self.started.append(job)
        self.began.set()
        self.texts.append(query.sql)
        self.queries.append(query)
        if not self.hold:
            self.jobs[job].set()

    def finish(self) -> None:
        for job in self.jobs.values():
            job.set()

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        if id.table == "absent":
            raise NotFoundError("BigQuery's own words")
        kind = TableKind.VIEW if id.table == "view" else TableKind.TABLE
        return Table(id, kind, (*FIELDS, Field("Name", "STRING"), Field("age", "INT64")), "e1")

    async def get_dataset(self, project: str, dataset: str) -> dict[str, Any]:
        return {"id": f"{project}:{dataset}", "location": "EU"}

    async def wait(self, job: JobRef, timeout_seconds: float, *, rows: int = 0) -> JobStatus:
        if self.wait_fails:
            raise self.wait_fails.pop(0)
        if job.job not in self.jobs:
            raise NotFoundError(f"Not found: Job {job.project}:{job.job}")
        done = self.jobs[job.job]
        if not done.is_set() and timeout_seconds:
            try:
                await asyncio.wait_for(done.wait(), timeout_seconds)
            except TimeoutError:
                return JobStatus(done=False)
        if not done.is_set():
            return JobStatus(done=False)
        if job.job.endswith("_into"):
            return JobStatus(done=True, error=self.write_fails, bytes_billed=self.billed)
        return JobStatus(
            done=True,
            error=self.error,
            schema=self.schema,
            total_rows=len(self.rows_of),
            bytes_billed=self.billed,
            first=await self.rows(job, max_results=rows) if rows and not self.error else None,
            result=RESULT,
            session=self.session,
        )

    async def script_jobs(self, script: JobRef) -> tuple[ScriptJob, ...]:
        self.listed.append(script.job)
        if self.list_fails:
            raise self.list_fails.pop(0)
        for one in self.of_script:
            self.jobs.setdefault(one.job.job, asyncio.Event()).set()
        return tuple(self.of_script)

    async def rows(self, job: JobRef, **asked: Any) -> Page:
        assert self.jobs[job.job].is_set()
        start = asked.get("start_index", 0)
        self.read.append(start)
        rows = self.rows_of[start : start + asked["max_results"]]
        raw = tuple(msgspec.Raw(msgspec.json.encode(row)) for row in rows)
        return Page(raw, "", len(self.rows_of), self.schema)

    async def pieces(self, job: JobRef, **asked: Any) -> AsyncGenerator[Any]:
        rows = (await self.rows(job, **asked)).rows
        for at in range(0, len(rows), self.in_piece):
            yield rows[at : at + self.in_piece], at + self.in_piece >= len(rows)
            if self.breaks:
                raise self.breaks
        if not rows:
            yield (), True

    async def cancel(self, job: JobRef) -> None:
        if job.job not in self.jobs:
            raise NotFoundError(f"Not found: Job {job.job}")
        self.cancelled.append(job.job)


class FakePlanner:
    """Plans everything as told; the digest is the real one of what a plan stands on."""

    def __init__(self) -> None:
        self.effect = Effect.ALLOW
        self.approvals: tuple[ApprovalDemand, ...] = ()
        self.column = "id"
        self.policy = "p1"
        self.bytes = 1000
        self.schema = FIELDS
        self.decide_fails: KeystileError | None = None
        self.plan_fails: KeystileError | None = None
        self.transfer: dict[str, object] | None = None
        self.sql, self.facts = REWRITTEN, FACTS
        self.statements: tuple[ScriptStatement, ...] = ()
        self.left = Left()
        self.inherits: tuple[NewLabel, ...] = ()
        self.limits: tuple[Limits, ...] = ()
        self.charge = Charge()
        self.sessions: list[Any] = []

    def ask_people(self, *demands: ApprovalDemand) -> None:
        self.effect, self.approvals = Effect.REQUIRE_APPROVAL, demands or (DEMAND,)

    async def decide(
        self,
        principal: Principal,
        request: QueryRequest,
        session: Any = None,
        context: Any = None,
        *,
        unmeasured: bool = False,
    ) -> Decided:
        del context, unmeasured
        if self.decide_fails:
            raise self.decide_fails
        reason = Reason("raw-ssn", self.effect, "raw numbers need a steward.")
        decision = Decision(
            self.effect, (reason,), self.policy, approvals=self.approvals, limits=self.limits
        )
        statement = Statement(request.sql, request.project, "", ())
        analysed = Analysed(statement, request.sql, Scope(), FACTS)
        known = Understood(FACTS, ())
        return Decided(principal, analysed, decision, {}, known, session=session, account=ACCOUNT)

    def require_policy(self) -> None:
        if isinstance(self.decide_fails, PolicyUnreadableError):
            raise self.decide_fails

    async def plan(self, principal: Principal, request: QueryRequest, decided: Decided) -> Planned:
        if self.plan_fails:
            raise self.plan_fails
        table = Table(TABLE, TableKind.TABLE, (Field(self.column, "INT64"),), "e1")
        plan = Plan(
            facts=self.facts,
            decision=decided.decision,
            sql=self.sql,
            masked=(),
            schema=self.schema,
            bytes_estimate=self.bytes,
            digest=digest_of(principal, request, REWRITTEN, decided.decision, (table,)),
            statements=self.statements,
            account=decided.account,
            inherits=self.inherits,
        )
        query = UpstreamQuery(project=request.project, sql=REWRITTEN, transfer=self.transfer)
        if decided.session:
            self.sessions.append(decided.session)
        return Planned(plan, query, "US", decided.session, self.left, self.charge)


class FakeConditions:
    """Finds nothing wrong with conditions, or what it is told to."""

    def __init__(self) -> None:
        self.problem = ""
        self.looked_at: list[str] = []

    async def run(self, _task: Any, request: Predicates) -> Problems:
        self.looked_at += request.texts
        return Problems((self.problem,))


class Replica:
    """One gateway process, as far as the gate goes; it does its duties when told to."""

    def __init__(self, bench: Bench, log: RecordingLog) -> None:
        self.log = log
        self.metrics = Metrics()
        self.jobs = JobStore(bench.database, uuid4().hex, bench.lease_seconds)
        self.pages = PageCache()
        recorder = Recorder(log, self.metrics)
        self.vigil = Vigil(bench.approvals, recorder)
        bigquery: Any = bench.bigquery
        outcomes = Outcomes(
            bigquery, recorder, self.pages, SecondNet(always(bytes(32)), self.metrics)
        )
        children = Children(self.jobs, bigquery, recorder, outcomes.net)
        planner: Any = bench.planner
        self.pipeline = Pipeline(
            planner,
            bigquery,
            recorder,
            self.jobs,
            self.vigil,
            outcomes,
            children,
            self.metrics,
            bench.current,
            QuerySessions(bench.database),
            InheritedLabels(bench.database),
            Ledger(bench.database),
        )
        self.duties = Duties(self.pipeline, self.jobs, self.vigil, bench.approvals, self.metrics)
        metadata = Metadata(bigquery, bench.current_policy)
        own = OwnJobs(bench.database)
        results = ResultTables(own)
        reader = ResultReader(self.jobs, bigquery, recorder, outcomes, self.metrics)
        statements = ByStatement(self.duties, own, bench.planned_policy)
        policy = bench.current_policy
        rows = TableData(statements, results, reader, bigquery, policy)
        runner: Any = bench.conditions
        self.reads = ReadSessions(rows, statements, results, own, reader, runner)
        at_once = AtOnce(planner, recorder, bigquery)
        streaming = Streaming(at_once, bigquery, policy)
        blank_tables = BlankTables(at_once)
        clustering = Clustering(at_once, bigquery, policy)
        changes = Changes(statements, blank_tables, clustering, metadata, bigquery, policy)
        self.gate = Gate(
            self.duties,
            self.jobs,
            own,
            results,
            reader,
            rows,
            streaming,
            metadata,
            changes,
            Permissions(bigquery, policy),
            RoutineChanges(statements, metadata, runner),
            children,
            bigquery,
        )

    async def query(self, principal: Principal, request: QueryRequest) -> JobView:
        """Ask as jobs.query does, and give the job."""
        page = PageRequest(timeout_ms=request.timeout_ms)
        return (await self.gate.query(principal, request, page)).job

    async def watch(self) -> None:
        """Look once at what waits for people, and let what that starts come to its end."""
        await self.duties._watch_waiting()
        await self.settle()

    async def take_over(self) -> None:
        await self.duties._keep_and_take()
        await self.settle()

    async def settle(self) -> None:
        await asyncio.gather(*self.duties._carried.values())
        await asyncio.sleep(0)

    async def die(self) -> None:
        """End like a killed process: nothing that it carried goes on, nothing is tidied up."""
        for task in list(self.duties._carried.values()):
            task.cancel()
        await asyncio.gather(*self.duties._carried.values(), return_exceptions=True)
        await self.log.close()


class Bench:
    """What replicas share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(f"sqlite+aiosqlite:///{folder / 'keystile.db'}")
        self.approvals = Approvals(self.database)
        self.bigquery = FakeBigQuery()
        self.planner = FakePlanner()
        self.conditions = FakeConditions()
        self.lease_seconds = 15.0
        self.replicas: list[Replica] = []
        self.demand = DEMAND
        self.table = TABLE
        self.into = INTO
        self.rewritten = REWRITTEN
        self.disabled = False
        self.groups: tuple[str, ...] = ()
        self.policy = "rules: [{name: read, allow: [read]}]"

    async def current(self, principal: Principal) -> Principal:
        if self.disabled:
            raise RefusedError(f"the agent `{principal.agent}` is disabled")
        return msgspec.structs.replace(principal, groups=self.groups)

    def planned_policy(self) -> Any:
        """Give the policy that the planner says it decides by."""
        return SimpleNamespace(digest=self.planner.policy)

    def current_policy(self) -> Policy:
        return compile_policy({"p.yaml": self.policy})

    async def replica(self) -> Replica:
        log = RecordingLog(self.folder / "recordings", 1 << 20)
        await log.open()
        self.replicas.append(Replica(self, log))
        return self.replicas[-1]

    @property
    def events(self) -> list[Any]:
        """Every recorded event, oldest first."""
        lines = [
            json.loads(line)["event"]
            for file in sorted((self.folder / "recordings").glob("*/*.jsonl"))
            for line in file.read_text("utf-8").splitlines()
        ]
        events = [SimpleNamespace(**line) for line in lines if line["kind"] != "recovered"]
        return sorted(events, key=lambda event: event.at)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def request(self, sql: str = "SELECT id FROM shop.customers", **more: Any) -> QueryRequest:
        return QueryRequest(sql, "acme-shop", **more)

    def principal(self, name: str = "demo-agent") -> Principal:
        return Principal("https://issuer.example", f"sub-{name}", name, "run-1")

    async def waiting(self, replica: Replica, **more: Any) -> JobView:
        """Ask for something that waits for a person."""
        self.planner.ask_people()
        return await replica.gate.insert(self.principal(), self.request(**more))

    async def vote(self, *, approve: bool = True, comment: str = "ticket 7") -> None:
        """Decide on everything that waits."""
        for request in await self.approvals.list(ApprovalState.PENDING):
            await self.vote_on(request.id, approve=approve, comment=comment)

    async def vote_on(self, id_: str, *, approve: bool = True, comment: str = "") -> None:
        person = Person("operator", ("data-stewards",))
        await self.approvals.vote(
            id_, person, approve=approve, comment=comment, via="cli", now=time.time()
        )

    async def job(self, view: JobView) -> Job:
        return await self.replicas[-1].jobs.owned(self.principal().key, "acme-shop", view.job_id)

    def a_job(self, **changes: Any) -> Job:
        """A job as the pipeline makes it."""
        decision = Decision(Effect.ALLOW, (), "p1")
        values: dict[str, Any] = {
            "id": uuid4().hex,
            "principal": self.principal(),
            "request": self.request(),
            "plan": Plan(FACTS, decision, REWRITTEN, (), FIELDS, 1000, "d1", account=ACCOUNT),
            "job_id": f"job_{uuid4().hex}",
            "location": "US",
            "state": JobState.READY,
            "created_at": time.time(),
        }
        return Job(**(values | changes))

    @staticmethod
    def outage() -> RefusedError:
        return RefusedError("BigQuery cannot be reached")

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.duties.stop()
            await replica.log.close()
        await self.database.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.database.open()
    yield bench
    await bench.close()


@pytest.fixture
async def one(bench: Bench) -> Replica:
    return await bench.replica()
