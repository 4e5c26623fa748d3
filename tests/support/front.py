"""The gateway's HTTP front over its real gate, planner, store and record, before a small BigQuery.

No process and no socket: a request is a call, and all that reaches BigQuery is written down.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tests.support.accounts import OneAccount

from keystile.api.app import Api
from keystile.api.fake_identity import FakeExchange, FakePrincipals
from keystile.api.fake_publishing import FakePublishing
from keystile.approvals.requests import Approvals
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
from keystile.gate.ledger import Ledger
from keystile.gate.metadata import Metadata
from keystile.gate.outcomes import Outcomes
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.pages import PageCache
from keystile.gate.permissions import Permissions
from keystile.gate.pipeline import Pipeline
from keystile.gate.planning import Planner
from keystile.gate.read_sessions import ReadSessions
from keystile.gate.reading import ResultReader
from keystile.gate.recorder import Recorder
from keystile.gate.result_tables import ResultTables
from keystile.gate.routine_changes import RoutineChanges
from keystile.gate.second_net import SecondNet
from keystile.gate.sessions import QuerySessions
from keystile.gate.streaming import Streaming
from keystile.gate.table_data import TableData
from keystile.gate.uploads import Uploads
from keystile.gate.vigil import Vigil
from keystile.masking.keyed import always
from keystile.model.principal import Principal
from keystile.model.schema import Field, RoutineId, TableId
from keystile.recording.log import RecordingLog
from keystile.store.database import Database
from keystile.telemetry.metrics import Metrics
from keystile.upstream.uploads import Taken
from keystile.upstream.values import DryRun, JobRef, JobStatus, Page, ScriptJob, UpstreamQuery
from keystile.wire.schema import schema_json
from keystile.wire.streaming import BadRow, NewRows
from keystile.wire.uploads import Piece

OK = 200
FIELDS = (Field("n", "INT64"),)
ROWS = 3


class Account(OneAccount):
    """BigQuery under the gateway's account: tells of `known` tables, and runs everything alike.

    `asked` has each request that reached it, `queries` what it was to run, `inserted` rows.
    """

    def __init__(self, known: Any) -> None:
        super().__init__()
        self._known = known
        self.asked: list[str] = []
        self.queries: list[UpstreamQuery] = []
        self.inserted: list[NewRows] = []
        self.session = ""
        self.uploads = self

    async def begin(self, query: UpstreamQuery, job: str) -> str:
        self.asked.append(f"upload {job}")
        self.queries.append(query)
        return f"/upload/{job}"

    async def send(self, target: str, piece: Piece, chunks: Any) -> Taken:
        self.asked.append(f"{target} {piece.header}")
        if not isinstance(chunks, bytes):
            async for _ in chunks:
                pass
        return Taken(done=piece.is_last, received=piece.start + piece.size)

    async def drop(self, target: str) -> None:
        self.asked.append(f"drop {target}")

    async def table(self, id: TableId) -> Any:  # noqa: A002 - the word of the port
        self.asked.append(f"tables.get {id}")
        return await self._known.table(id)

    async def routine(self, id: RoutineId) -> Any:  # noqa: A002 - as above
        self.asked.append(f"routines.get {id}")
        return await self._known.routine(id)

    async def every_table(self, project: str, dataset: str) -> Any:
        self.asked.append(f"tables.list {project}.{dataset}")
        return await self._known.every_table(project, dataset)

    async def dry_run(self, query: UpstreamQuery) -> DryRun:
        self.asked.append("jobs.insert")
        self.queries.append(query)
        return DryRun("", (), FIELDS, 1)

    async def start(self, query: UpstreamQuery, job: str) -> None:
        self.asked.append(f"jobs.insert {job}")
        self.queries.append(query)

    async def wait(self, job: JobRef, timeout_seconds: float, *, rows: int = 0) -> JobStatus:
        self.asked.append(f"jobs.get {job.job}")
        del timeout_seconds
        result = TableId("acme-shop", "_hidden", "anon1")
        return JobStatus(
            done=True,
            schema=FIELDS,
            total_rows=ROWS,
            first=await self.rows(job, max_results=rows) if rows else None,
            bytes_processed=1,
            result=result,
            session=self.session,
        )

    async def script_jobs(self, script: JobRef) -> tuple[ScriptJob, ...]:
        self.asked.append(f"jobs.list {script.job}")
        return ()

    async def rows(self, job: JobRef, **asked: Any) -> Page:
        self.asked.append(f"jobs.getQueryResults {job.job}")
        start = asked.get("start_index", 0)
        rows = [{"f": [{"v": str(n)}]} for n in range(ROWS)][start : start + asked["max_results"]]
        raw = tuple(msgspec.Raw(msgspec.json.encode(row)) for row in rows)
        return Page(raw, "", ROWS, FIELDS)

    async def pieces(self, job: JobRef, **asked: Any) -> AsyncGenerator[Any]:
        yield (await self.rows(job, **asked)).rows, True

    async def cancel(self, job: JobRef) -> None:
        self.asked.append(f"jobs.cancel {job.job}")

    async def insert_rows(self, rows: NewRows) -> tuple[BadRow, ...]:
        self.asked.append(f"tabledata.insertAll {rows.table}")
        self.inserted.append(rows)
        return ()

    async def list_projects(self) -> list[dict[str, Any]]:
        self.asked.append("projects.list")
        return [{"projectReference": {"projectId": "acme-shop"}}]

    async def list_datasets(self, project: str) -> list[dict[str, Any]]:
        self.asked.append(f"datasets.list {project}")
        named = await self._known.every_dataset(project)
        return [{"datasetReference": {"projectId": project, "datasetId": one}} for one in named]

    async def get_dataset(self, project: str, dataset: str) -> dict[str, Any]:
        self.asked.append(f"datasets.get {project}.{dataset}")
        reference = {"projectId": project, "datasetId": dataset}
        return {"datasetReference": reference, "access": [{"userByEmail": "boss@example.com"}]}

    async def list_tables(self, project: str, dataset: str) -> list[dict[str, Any]]:
        tables = await self.every_table(project, dataset)
        return [{"tableReference": _reference(one.id)} for one in tables]

    async def get_table(self, id: TableId) -> dict[str, Any]:  # noqa: A002 - as above
        table = await self.table(id)
        size = {"numBytes": "77", "numRows": "7", "type": table.kind.value}
        named = {"tableReference": _reference(id), "schema": schema_json(table.fields)}
        hidden = _reference(TableId(id.project, "payroll", "salaries"))
        columns = [{"referencingColumn": "n", "referencedColumn": "amount"}]
        keys = [{"name": "paid", "referencedTable": hidden, "columnReferences": columns}]
        more = {"view": {"query": table.view_query}, "tableConstraints": {"foreignKeys": keys}}
        return {**size, **named, **more}

    async def list_routines(self, project: str, dataset: str) -> list[dict[str, Any]]:
        self.asked.append(f"routines.list {project}.{dataset}")
        return []

    async def get_routine(self, id: RoutineId) -> dict[str, Any]:  # noqa: A002 - as above
        routine = await self.routine(id)
        names = dict(zip(("projectId", "datasetId", "routineId"), id.path, strict=True))
        kind = {"routineType": routine.kind.value, "language": routine.language, "etag": "e1"}
        return {"routineReference": names, "definitionBody": routine.body, **kind}


def _reference(id_: TableId) -> dict[str, str]:
    return {"projectId": id_.project, "datasetId": id_.dataset, "tableId": id_.table}


class Reply(NamedTuple):
    """An answer, as a client reads it."""

    status: int
    json: Any
    headers: dict[str, str]

    @property
    def error(self) -> str:
        return str(self.json["error"]["message"])


class Front:
    """One gateway. Agents have their names as tokens, and most have them as groups."""

    def __init__(self, folder: Path, bench: Any) -> None:
        self.account = Account(bench.bigquery)
        self._database = Database(f"sqlite+aiosqlite:///{folder / 'keystile.db'}")
        self._log = RecordingLog(folder / "recordings", 1 << 20)
        self.metrics = Metrics()
        account: Any = self.account
        planner = Planner(
            bench.planner._analyst,
            lambda: bench.policy,
            bench.rewriter,
            account,
            bench.planner._shares,
            self.metrics,
            ResultTables(OwnJobs(self._database)),
        )
        self._conditions = bench._runner
        gate, uploads, self._duties = self._gate(planner, account, lambda: bench.policy)
        groups = {
            "reader": "reader",
            "writer": "writer",
            "other-writer": "writer",
            "other": "reader",
            "some-rows": "some-rows",
        }
        self.principals = {
            name: Principal("https://issuer.example", name, name, "run", groups=(group,))
            for name, group in groups.items()
        }
        self._api = Api(
            gate=gate,
            uploading=uploads,
            principals=FakePrincipals(self.principals),
            exchanger=FakeExchange(),
            publishing=FakePublishing(),
            issuer=None,
            checks={},
            metrics=self.metrics,
            url="https://gateway.example",
        )

    def _gate(self, planner: Planner, account: Any, policy: Any) -> tuple[Gate, Uploads, Duties]:
        recorder = Recorder(self._log, self.metrics)
        approvals = Approvals(self._database)
        jobs, own = JobStore(self._database, secrets.token_hex(8)), OwnJobs(self._database)
        vigil = Vigil(approvals, recorder)

        async def current(principal: Principal) -> Principal:
            return principal

        outcomes = Outcomes(
            account, recorder, PageCache(), SecondNet(always(bytes(32)), self.metrics)
        )
        children = Children(jobs, account, recorder, outcomes.net)
        pipeline = Pipeline(
            planner,
            account,
            recorder,
            jobs,
            vigil,
            outcomes,
            children,
            self.metrics,
            current,
            QuerySessions(self._database),
            InheritedLabels(self._database),
            Ledger(self._database),
        )
        duties = Duties(pipeline, jobs, vigil, approvals, self.metrics)
        results = ResultTables(own)
        reader = ResultReader(jobs, account, recorder, outcomes, self.metrics)
        statements = ByStatement(duties, own, policy)
        rows = TableData(statements, results, reader, account, policy)
        self.reads = ReadSessions(rows, statements, results, own, reader, self._conditions)
        at_once = AtOnce(planner, recorder, account)
        streaming = Streaming(at_once, account, policy)
        metadata = Metadata(account, policy)
        blank_tables = BlankTables(at_once)
        clustering = Clustering(at_once, account, policy)
        changes = Changes(statements, blank_tables, clustering, metadata, account, policy)
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
            Permissions(account, policy),
            RoutineChanges(statements, metadata, self._conditions),
            children,
            account,
        )
        uploads = Uploads(self._database, pipeline, duties, jobs, recorder, account)
        return gate, uploads, duties

    async def open(self) -> None:
        await self._database.open()
        await self._log.open()

    async def close(self) -> None:
        await self._duties.stop()
        await self._log.close()
        await self._database.close()

    async def settle(self) -> None:
        """Let every job come to its end."""
        await asyncio.gather(*self._duties._carried.values())

    async def ask(
        self,
        verb: str,
        target: str,
        body: bytes | dict[str, Any] = b"",
        *,
        who: str = "reader",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request; `target` begins with a slash and may have a query."""
        path, _, query = target.partition("?")
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        messages: list[Any] = [{"type": "http.request", "body": content, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        given = {"authorization": f"Bearer {who}", **(headers or {})}
        scope = {
            "type": "http",
            "method": verb,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
        await self._api(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], json.loads(sent[1]["body"] or b"null"), told)

    async def query(self, sql: str, *, who: str = "reader", **more: Any) -> Reply:
        """Run a query that must succeed."""
        body = {"query": sql, "defaultDataset": {"datasetId": "shop"}, **more}
        reply = await self.ask("POST", "/projects/acme-shop/queries", body, who=who)
        assert reply.status == OK, reply
        return reply

    async def result_table(self, *, who: str = "reader") -> str:
        """Run a query, and give the path of the table that stands for its result."""
        reply = await self.query("SELECT id FROM customers", who=who)
        job = reply.json["jobReference"]["jobId"]
        told = await self.ask("GET", f"/projects/acme-shop/jobs/{job}", who=who)
        table = told.json["configuration"]["query"]["destinationTable"]
        return f"/projects/acme-shop/datasets/{table['datasetId']}/tables/{table['tableId']}"
