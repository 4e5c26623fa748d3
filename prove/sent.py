"""Compares all that reached BigQuery with what the gateway has on record.

A request may reach it for two reasons only: the gateway looks up what tables there are, or a job or
rows on record, allowed by policy or approved by people, say so exactly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from keystile.masking.keyed import HASHES, TOKENS
from keystile.model.errors import KeystileError
from keystile.recording.events import Event, EventKind
from keystile.recording.reader import RecordingReader, SessionFilter
from keystile.sandbox.request_log import Asked
from keystile.wire.methods import METHODS, Access
from keystile.wire.paths import Call, route

_ROOT = "/bigquery/v2/"
_UPLOAD = "/upload"
_JOB = re.compile(r"keystile_([0-9a-f]{32})")
_SESSION = re.compile(r"keystile_session_[0-9a-f]{32}")
_ABORT = re.compile(r"keystile_abort_[0-9a-f]{32}")
_ABORTS = re.compile(r"CALL BQ\.ABORT_SESSION\('[A-Za-z0-9_=+/-]+'\)")
_INTO = re.compile(r"(keystile_[0-9a-f]{32})_into")
_RESULT = re.compile(r"SELECT \* FROM `[^`]+`\.`_[^`]+`\.`[^`]+`")
_LISTING = frozenset(("prettyPrint", "parentJobId", "projection", "maxResults", "pageToken"))
_DRY_RUN = re.compile(r"keystile_dry_[0-9a-f]{32}")
_ADDED = (HASHES, TOKENS)
_OK = 200
_TESTERS = ("python-requests/", "Python-urllib/")
"""What those call themselves who ask a sandbox directly: tests, and waiting until it stands."""
_OF_QUERY = frozenset(
    (
        "query",
        "useLegacySql",
        "useQueryCache",
        "defaultDataset",
        "parameterMode",
        "queryParameters",
        "maximumBytesBilled",
    )
)
_OF_INTO = frozenset(
    (
        "clustering",
        "createDisposition",
        "destinationTable",
        "rangePartitioning",
        "schemaUpdateOptions",
        "timePartitioning",
        "writeDisposition",
    )
)
_OF_GATEWAY = {"useLegacySql": False, "useQueryCache": False}
_OF_SESSION = frozenset(("connectionProperties", "createSession"))
_TRANSFERS = frozenset(("load", "copy", "extract"))


class Stray(NamedTuple):
    """A request that had no right to reach BigQuery, and why."""

    asked: Asked
    why: str

    def __str__(self) -> str:
        """Give the request's line, and why."""
        return f"{self.asked.method} {self.asked.path}?{self.asked.query}: {self.why}"


class _Known:
    """What is on record of one job, or of one request with rows."""

    def __init__(self) -> None:
        self.intents: list[Event] = []
        self.approved_at: float | None = None

    def intent(self, at: float) -> dict[str, Any] | None:
        """Give the newest intent of before."""
        before = [one for one in self.intents if one.at <= at]
        return dict(before[-1].body) if before else None

    def refusal(self, at: float) -> str:
        """Say why the job had no right to run at this time; nothing if it had."""
        intent = self.intent(at)
        if intent is None:
            return "nothing of it was on record"
        if intent["request"].get("dry_run"):
            return "its agent asked for a dry run"
        effect = intent["decision"]["effect"]
        if effect == "allow":
            return ""
        if effect == "require_approval":
            approved = self.approved_at is not None and self.approved_at <= at
            return "" if approved else "nobody had approved it"
        return f"its decision is `{effect}`"


async def events_of(recordings: Path) -> list[Event]:
    """Read every event that belongs to a session."""
    reader, sessions, cursor = RecordingReader(recordings), set[str](), ""
    while True:
        page = await reader.sessions(SessionFilter(), cursor=cursor)
        sessions |= {one.id for one in page.sessions if one.id}
        cursor = page.cursor
        if not cursor:
            break
    found = [found.event for one in sorted(sessions) for found in await reader.session(one)]
    return [*found, *_scans(recordings)]


def _scans(recordings: Path) -> Iterator[Event]:
    """Read of what belongs to no session what operators had the gateway look at."""
    for file in sorted(recordings.glob("*/*.jsonl")):
        for line in file.read_bytes().splitlines():
            if b'"labels_scanned"' in line:
                event = json.loads(line)["event"]
                if event["kind"] == EventKind.LABELS_SCANNED:
                    yield msgspec.convert(event, Event)


def requests_of(log: Path) -> list[Asked]:
    """Read what a gateway sent from the log of its sandbox."""
    lines = [msgspec.json.decode(line, type=Asked) for line in log.read_bytes().splitlines()]
    return [one for one in lines if not one.user_agent.startswith(_TESTERS)]


async def strays_of(recordings: Path, log: Path) -> list[Stray]:
    """Compare all that there is of a gateway.

    Raises `ValueError` where something was done of which the log knows nothing: it is no log.
    """
    asked, events = requests_of(log), await events_of(recordings)
    done = (one.kind is EventKind.OUTCOME and one.body["state"] == "done" for one in events)
    if not asked and any(done):
        raise ValueError("nothing reached BigQuery")
    return [*Comparison(events).strays(asked)]


class Comparison:
    """Holds the gateway's record against each request."""

    def __init__(self, events: Sequence[Event]) -> None:
        """Take all events of all sessions."""
        self._known: dict[str, _Known] = {}
        self._uploads: dict[str, str] = {}
        self._named: dict[tuple[str, str], str] = {}
        self._script_of: dict[str, tuple[str, str]] = {}
        self._children: dict[str, str] = {}
        self._inserted = set[str]()
        self._sent_rows = set[str]()
        self._scans: list[Event] = []
        for event in events:
            self._note(event)

    def strays(self, asked: Sequence[Asked]) -> Iterator[Stray]:
        """Name each request that had no right to be sent."""
        for one in sorted(asked, key=lambda one: one.at):
            why = self._fault(one)
            if why:
                yield Stray(one, why)

    def _note(self, event: Event) -> None:
        if event.kind is EventKind.LABELS_SCANNED:
            self._scans.append(event)
        if not event.job:
            return
        known = self._known.setdefault(event.job, _Known())
        if event.kind is EventKind.INTENT:
            known.intents.append(event)
            asked = event.body["request"]
            self._named[event.agent, asked.get("job_id", "")] = event.job
            if "script" in asked:
                self._script_of[event.job] = event.agent, asked["script"]
        elif event.kind is EventKind.APPROVAL_DECIDED and event.body["state"] == "approved":
            known.approved_at = event.at
        elif event.kind is EventKind.OUTCOME and event.job in self._script_of:
            self._children[event.body["upstream_job"]] = event.job

    def _fault(self, asked: Asked) -> str:
        if asked.path.startswith(_UPLOAD + "/"):
            return self._upload(asked)
        if not asked.path.startswith(_ROOT):
            return "its address is not one of the API"
        try:
            call = route(asked.method, asked.path, asked.query)
        except KeystileError as error:
            return str(error)
        method = METHODS[call.method]
        if not method.served:
            return f"the gateway does not serve `{call.method}`"
        if method.access is Access.METADATA and method.verb == "GET":
            return "a look-up has a body" if asked.body_bytes else ""
        check = {
            "jobs.insert": self._insert,
            "jobs.get": self._look,
            "jobs.list": self._list,
            "jobs.cancel": self._look,
            "jobs.getQueryResults": self._results,
            "tabledata.insertAll": self._rows,
            "tabledata.list": self._scanned,
            "tables.insert": self._table,
            "tables.patch": self._clustering,
        }.get(call.method)
        return check(asked, call) if check else f"the gateway never sends `{call.method}`"

    def _insert(self, asked: Asked, call: Call) -> str:
        body = asked.body if isinstance(asked.body, dict) else {}
        fault = _shape(body, call.project)
        if fault:
            return fault
        job, wanted = body["jobReference"]["jobId"], body["configuration"]
        if _SESSION.fullmatch(job) or _ABORT.fullmatch(job):
            fault_of = _session_fault if _SESSION.fullmatch(job) else _abort_fault
            return fault_of(wanted.get("query", {}))
        if found := _INTO.fullmatch(job):
            return self._written(found[1], wanted.get("query", {}), asked.at)
        if wanted.get("query", {}).keys() & _OF_INTO:
            return "the result of a query is to go into a table before it is there"
        if wanted.get("dryRun"):
            return "" if _DRY_RUN.fullmatch(job) else "a dry run has the name of a job"
        return self._as_recorded(job, wanted, asked.at)

    def _written(self, job: str, query: dict[str, Any], at: float) -> str:
        """Look at a job that writes the result of another one into a table."""
        known = self._job(job)
        intent = known.intent(at) if known else None
        if known is None or intent is None or job not in self._inserted:
            return f"no job `{job}` has a result"
        return known.refusal(at) or _into_fault(query, str(intent.get("into", "")))

    def _as_recorded(self, job: str, wanted: dict[str, Any], at: float) -> str:
        known = self._job(job)
        if known is None:
            return f"no job `{job}` is on record"
        intent = known.intent(at)
        fault = known.refusal(at)
        if fault or intent is None:
            return fault
        self._inserted.add(job)
        if "query" in wanted:
            return _query_fault(wanted["query"], intent)
        return _transfer_fault(wanted, intent)

    def _list(self, asked: Asked, call: Call) -> str:
        """Look at a list of the statements that a script has run."""
        if call.parameters.keys() - _LISTING or asked.body_bytes:
            return "the gateway sends no such list"
        script = call.parameters.get("parentJobId", "")
        known = self._job(script)
        if known is None or script not in self._inserted:
            return f"no script `{script}` was started"
        return known.refusal(asked.at)

    def _statement(self, asked: Asked, call: Call, *, rows: bool) -> str:
        """Look at what is asked of a script's statement, which BigQuery itself has named."""
        id_ = self._children[call.job]
        script = self._named.get(self._script_of[id_], "")
        if f"keystile_{script}" not in self._inserted:
            return "its script was not started"
        if rows and self._known[id_].intent(asked.at) is None:
            return "rows of a statement of which nothing is on record"
        return "a look-up has a body" if asked.body_bytes else self._known[script].refusal(asked.at)

    def _look(self, asked: Asked, call: Call) -> str:
        if call.job in self._children:
            return self._statement(asked, call, rows=False)
        if _SESSION.fullmatch(call.job) or _ABORT.fullmatch(call.job):
            return ""
        found = _INTO.fullmatch(call.job)
        known = self._job(found[1] if found else call.job)
        if known is None or known.intent(asked.at) is None:
            return f"no job `{call.job}` is on record"
        return "a look-up has a body" if asked.body_bytes else ""

    def _results(self, asked: Asked, call: Call) -> str:
        if call.parameters.get("maxResults") == "0":
            return self._look(asked, call)
        if call.job in self._children:
            return self._statement(asked, call, rows=True)
        known = self._job(call.job)
        fault = known.refusal(asked.at) if known else f"no job `{call.job}` is on record"
        if not fault and call.job not in self._inserted:
            return "rows of a job that the gateway did not start"
        return fault

    def _rows(self, asked: Asked, call: Call) -> str:
        body = asked.body if isinstance(asked.body, dict) else {}
        if body.keys() != {"skipInvalidRows", "ignoreUnknownValues", "rows"}:
            return f"its fields are {sorted(body)}"
        table = f"{call.project}.{call.dataset}.{call.table}"
        rows = [(row["json"], row.get("insertId", "")) for row in body["rows"]]
        for id_, known in self._known.items():
            intent = known.intent(asked.at)
            if not intent or known.refusal(asked.at) or id_ in self._sent_rows:
                continue
            sent = [(json.loads(row["json"]), row["insert_id"]) for row in intent.get("sent", ())]
            if intent["tables"] == [table] and sent == rows:
                if asked.status == _OK:
                    self._sent_rows.add(id_)
                return ""
        return f"no such rows for `{table}` are on record"

    def _scanned(self, asked: Asked, call: Call) -> str:
        """Look at rows that are read for an operator who looks for what has no label."""
        table = f"{call.project}.{call.dataset}.{call.table}"
        scans = [one.body for one in self._scans if one.at <= asked.at]
        rows = int(call.parameters.get("maxResults", "-1"))
        if any(table in one["tables"] and 0 <= rows <= one["rows"] for one in scans):
            return "" if call.parameters.get("selectedFields") else "it reads every column"
        return f"nobody is on record who looks at rows of `{table}`"

    def _table(self, asked: Asked, _call: Call) -> str:
        """Look at a table that is made without columns."""
        for known in self._known.values():
            intent = known.intent(asked.at)
            if intent and intent["request"].get("table") == asked.body:
                return known.refusal(asked.at)
        return "no such table is on record"

    def _clustering(self, asked: Asked, call: Call) -> str:
        """Look at what the rows of a table are to be clustered by, of which no more is patched."""
        body = asked.body if isinstance(asked.body, dict) else {}
        if body.keys() != {"clustering"}:
            return f"its fields are {sorted(body)}"
        names = {"projectId": call.project, "datasetId": call.dataset, "tableId": call.table}
        for known in self._known.values():
            intent = known.intent(asked.at)
            if intent and intent["request"].get("table") == {"tableReference": names, **body}:
                return known.refusal(asked.at)
        return "no such clustering is on record"

    def _upload(self, asked: Asked) -> str:
        if asked.method == "POST":
            body = asked.body if isinstance(asked.body, dict) else {}
            call = route("POST", asked.path.removeprefix(_UPLOAD), "")
            if asked.query != "uploadType=resumable" or call.method != "jobs.insert":
                return "the gateway begins no such upload"
            fault = _shape(body, call.project)
            if fault:
                return fault
            job = body["jobReference"]["jobId"]
            self._uploads[asked.upload] = job
            return self._as_recorded(job, body["configuration"], asked.at)
        found = re.search(r"(?:^|&)upload_id=([^&]+)", asked.query)
        if asked.method not in {"PUT", "DELETE"} or not found or found[1] not in self._uploads:
            return "the gateway did not begin this upload"
        known = self._job(self._uploads[found[1]])
        return known.refusal(asked.at) if known else "no such job is on record"

    def _job(self, name: str) -> _Known | None:
        found = _JOB.fullmatch(name)
        return self._known.get(found[1]) if found else None


def _shape(body: dict[str, Any], project: str) -> str:
    """Say what a job has that the gateway never sends."""
    reference, wanted = body.get("jobReference"), body.get("configuration")
    if body.keys() != {"jobReference", "configuration"} or not reference or not wanted:
        return f"its fields are {sorted(body)}"
    if reference.keys() - {"location"} != {"projectId", "jobId"}:
        return f"its reference has {sorted(reference)}"
    if reference["projectId"] != project:
        return "its project is another than its address's"
    kinds = wanted.keys() - {"dryRun", "labels", "jobTimeoutMs"}
    if len(kinds) != 1 or not kinds <= {"query", *_TRANSFERS}:
        return f"its configuration has {sorted(wanted)}"
    query = wanted.get("query", {})
    strange = query.keys() - _OF_QUERY - _OF_INTO - _OF_SESSION
    if strange or query.get("useLegacySql", False):
        return f"its query has {sorted(strange) or 'legacy SQL'}"
    return ""


def _query_fault(query: dict[str, Any], intent: dict[str, Any]) -> str:
    if query["query"] != intent["rewritten_sql"]:
        return "its text is another than the recorded one"
    if query.get("createSession"):
        return "a query of an agent begins a session"
    if ("connectionProperties" in query) != ("session" in intent["request"]):
        return "it runs in another session than the recorded one"
    given = [
        one
        for one in query.get("queryParameters", [])
        if not str(one.get("name")).startswith(_ADDED)
    ]
    recorded = list(intent["parameters"])
    return "" if given == recorded else "its parameters are others than the recorded ones"


def _into_fault(query: dict[str, Any], recorded: str) -> str:
    """Compare where a result goes. The gateway itself may say that no table is to be made."""
    if not _RESULT.fullmatch(query.get("query", "")) or query.keys() & {"queryParameters"}:
        return "it writes something else than the result of a query"
    into = {name: said for name, said in query.items() if name in _OF_INTO}
    names = into.pop("destinationTable", {})
    table, _, rest = recorded.partition(" {")
    wanted = json.loads("{" + rest) if rest else {}
    if into.get("createDisposition") == "CREATE_NEVER":
        wanted["createDisposition"] = "CREATE_NEVER"
    named = ".".join(names.get(part, "") for part in ("projectId", "datasetId", "tableId"))
    return "" if (named, into) == (table, wanted) else "it goes where nothing on record says"


def _session_fault(query: dict[str, Any]) -> str:
    """Look at a job that begins a session, and does nothing else."""
    same = _unbounded(query) == {**_OF_GATEWAY, "query": "SELECT 1", "createSession": True}
    return "" if same else "it does more than begin a session"


def _abort_fault(query: dict[str, Any]) -> str:
    """Look at a job that ends a session of an agent that is disabled, and does nothing else."""
    text = str(query.get("query", ""))
    same = _unbounded(query) == {**_OF_GATEWAY, "query": text}
    return "" if same and _ABORTS.fullmatch(text) else "it does more than end a session"


def _unbounded(query: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only bounds the cost of a query."""
    return {name: said for name, said in query.items() if name != "maximumBytesBilled"}


def _transfer_fault(wanted: dict[str, Any], intent: dict[str, Any]) -> str:
    """Compare what is moved. The gateway itself may say that no table is to be made."""
    (kind,) = wanted.keys() & _TRANSFERS
    first, _, text = str(intent["rewritten_sql"]).partition("\n")
    recorded, sent = json.loads(text), dict(wanted[kind])
    if sent.get("createDisposition") == "CREATE_NEVER":
        recorded["createDisposition"] = "CREATE_NEVER"
    same = first.startswith(f"-- {kind} job") and recorded == sent
    return "" if same else "it moves something else than what is recorded"
