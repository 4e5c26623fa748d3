from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench.recorded_days import Recordings, shop
from demo.stack import POLICY
from prove.agent_queries import AgentQueries
from prove.simulation import draft_of

from keystile.analysis.tasks import OUTLINE
from keystile.config.policy_folder import read_policy
from keystile.config.settings import EngineLimits
from keystile.gate.basis import Catalogue
from keystile.gate.simulation import Simulated
from keystile.gate.simulation_report import Outcome, Report, simulate
from keystile.googlesql.inline import InlineRunner, too_slow
from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.masking.task import MASK
from keystile.model.schema import Field
from keystile.policy.compile import compile_policy
from keystile.policy.ruling import Kind
from keystile.recording.asked import AskedQueries, Wanted
from keystile.recording.events import Event, EventKind
from keystile.recording.writer import canonical, claim

QUERIES = 120
NOW = time.time()
WANTED = Wanted(NOW - 3 * QUERIES, NOW + 1)


class Kept(Report):
    """A report that keeps every query."""

    def __init__(self, limit: int = 50) -> None:
        super().__init__(limit, str.upper)
        self.found: list[Simulated] = []

    def add(self, found: Iterable[Simulated]) -> None:
        self.found += (kept := list(found))
        super().add(kept)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    asked = AgentQueries("t", QUERIES // 3)
    asyncio.run(Recordings(folder, WANTED.since).write(QUERIES, asked))
    return folder


async def tried(
    folder: Path,
    policy: dict[str, str],
    now: Catalogue | None = None,
    limit: int = 50,
    runner: TaskRunner | None = None,
) -> tuple[Outcome, Kept]:
    report, told = Kept(limit), list[int]()
    made = compile_policy(policy)
    queries, limits = AskedQueries(folder), EngineLimits(workers=1)
    outcome = await simulate(
        queries, WANTED, made, runner or InlineRunner(), limits, now, report, told.append
    )
    assert told[-1] == await queries.count(WANTED)
    return outcome, report


async def test_the_policy_in_force_changes_nothing(recordings: Path) -> None:
    outcome, report = await tried(recordings, dict(read_policy(POLICY)), shop())
    assert (report.read, report.simulated, report.changed) == (QUERIES, QUERIES, 0)
    assert outcome.distinct < QUERIES  # what is asked twice is decided once
    assert outcome.changed_since == ()
    for one in report.found:
        if one.before and one.before.effect != "invalid":
            assert one.after == one.before


async def test_a_draft_changes_what_it_is_about_and_says_what_fires(recordings: Path) -> None:
    _, report = await tried(recordings, draft_of("stricter"), shop())
    assert {Kind.MASKED, Kind.ASKED} <= {*report.kinds}
    assert report.kinds.total() == report.changed == sum(one.count for one in report.groups)
    asked = [{*one.change.fires} for one in report.groups if one.change.kind is Kind.ASKED]
    # The draft has a rule of its own, and labels that the rule about personal data asks for.
    assert all(fires & {"tickets-by-people", "raw-pii-needs-a-person"} for fires in asked)
    assert any("tickets-by-people" in fires for fires in asked)


async def test_no_more_is_listed_than_is_wanted_and_all_is_counted(recordings: Path) -> None:
    _, whole = await tried(recordings, draft_of("stricter"), shop())
    _, part = await tried(recordings, draft_of("stricter"), shop(), limit=3)
    assert part.changed == whole.changed > 3
    assert part.listed == sum(len(one.queries) for one in part.groups) == 3
    assert all(query.sql == query.sql.upper() for one in part.groups for query in one.queries)


async def test_a_schema_that_nobody_knows_is_counted_and_never_guessed(recordings: Path) -> None:
    """To these agents tables were hidden: no decision of theirs has looked them up."""
    _, alone = await tried(recordings, draft_of("looser"))
    _, asked = await tried(recordings, draft_of("looser"), shop())
    unknown = [one for one in alone.found if one.why]
    assert unknown
    assert all(one.change is None and one.before for one in unknown)
    assert {one.before.effect for one in unknown if one.before} <= {"not_found", "deny"}
    assert asked.not_simulated.total() < alone.not_simulated.total()


async def test_schemas_that_have_changed_since_are_named_and_not_used(recordings: Path) -> None:
    now = shop()
    orders = next(one for id_, one in now._tables.items() if id_.table == "orders")
    now.add(msgspec.structs.replace(orders, fields=(Field("other", "STRING"),)))
    outcome, report = await tried(recordings, dict(read_policy(POLICY)), now)
    assert outcome.changed_since == ("acme-shop.shop.orders",)
    assert report.changed == 0


async def test_without_bigquery_nobody_says_that_schemas_are_the_same(recordings: Path) -> None:
    outcome, _ = await tried(recordings, dict(read_policy(POLICY)))
    assert outcome.changed_since is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"rests_on": {}}, "does not have all"),
        ({"principal": {"issuer": "i"}}, "does not have all"),
        ({"rests_on": {"beside": True}}, "result of an earlier query"),
        ({"request": {"project": "acme-shop", "session": "s"}}, "ran in a session"),
        ({"request": {"project": "acme-shop"}, "into": "no table"}, "not understood"),
        ({"kind": "refused", "reason": "accessDenied"}, "would not be now"),
    ],
)
async def test_what_cannot_be_decided_again_is_counted_by_its_reason(
    recordings: Path, tmp_path: Path, body: dict[str, Any], why: str
) -> None:
    every = [one async for batch in AskedQueries(recordings).batches(WANTED) for one in batch]
    events = [one.recorded.event for one in every if one.recorded]
    event = next(one for one in events if one.kind == "intent")
    if kind := body.get("kind"):
        context = event.body["rests_on"]["context"]
        other = {"decision": None, "sql": "SELECT 1", "rests_on": {"context": context}}
        event = msgspec.structs.replace(event, kind=kind, body={**event.body, **other})
    more = {key: value for key, value in body.items() if key != "kind"}
    event = msgspec.structs.replace(event, body={**event.body, **more})
    write(tmp_path, event)
    _, report = await tried(tmp_path, dict(read_policy(POLICY)), shop())
    assert (report.read, report.simulated, report.changed) == (1, 0, 0)
    assert why in next(iter(report.not_simulated))


class Failing(InlineRunner):
    """An engine that gives no answer where a query is to be masked, and counts what it is asked."""

    def __init__(self, failing: Task[Any, Any] | None = None) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self._failing = failing

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        self.asked[task.function.__name__] += 1
        if task is self._failing:
            raise too_slow(EngineLimits())
        return await super().run(task, request)


async def test_an_engine_that_fails_at_masking_was_counted_as_newly_refused(
    recordings: Path,
) -> None:
    """It says nothing of the query, so that nothing is known of it."""
    _, well = await tried(recordings, draft_of("stricter"), shop())
    _, failed = await tried(recordings, draft_of("stricter"), shop(), runner=Failing(MASK))
    assert failed.kinds[Kind.REFUSED] == well.kinds[Kind.REFUSED]
    assert failed.kinds[Kind.MASKED] < well.kinds[Kind.MASKED]
    [(why, count)] = failed.not_simulated.items()
    assert "the SQL analyser" in why
    assert count >= well.kinds[Kind.MASKED] - failed.kinds[Kind.MASKED]


async def test_one_that_was_undecided_is_not_called_the_same_where_the_engine_fails(
    recordings: Path, tmp_path: Path
) -> None:
    event = await intent_of(recordings)
    context = event.body["rests_on"]["context"]
    other = {"decision": None, "reason": "accessDenied", "rests_on": {"context": context}}
    event = msgspec.structs.replace(event, kind="refused", body={**event.body, **other})
    write(tmp_path, event)
    _, report = await tried(tmp_path, dict(read_policy(POLICY)), shop(), runner=Failing(OUTLINE))
    assert "the SQL analyser" in next(iter(report.not_simulated))


async def test_a_text_is_analysed_once_for_all_agents_and_all_that_are_alike(
    recordings: Path, tmp_path: Path
) -> None:
    event, events = await intent_of(recordings), []
    [orders] = [name for name in event.body["rests_on"]["objects"] if name.endswith("orders")]
    for number, agent in enumerate(("a", "b", "c") * 2):
        body = {**event.body, "sql": f"SELECT id FROM `{orders}` WHERE id = {number}"}  # noqa: S608 - a test's own
        body |= {"principal": {**event.body["principal"], "subject": agent}}
        events.append(msgspec.structs.replace(event, agent=agent, body=body))
    write(tmp_path, *await schemas_of(recordings), *events)
    runner = Failing()
    outcome, report = await tried(tmp_path, draft_of("stricter"), shop(), runner=runner)
    assert (report.read, outcome.distinct) == (6, 3)
    assert (runner.asked["outline"], runner.asked["mask_query"]) == (1, 1)


NETWORK = """
rules:
- {name: inside, when: '!request.network("10.0.0.0/8")', deny: [export]}
"""


async def test_recordings_without_address_and_client_are_simulated_where_no_condition_asks(
    recordings: Path, tmp_path: Path
) -> None:
    event = await intent_of(recordings)
    old = {k: v for k, v in event.body["principal"].items() if k not in {"address", "client"}}
    event = msgspec.structs.replace(event, body={**event.body, "principal": old})
    write(tmp_path, *await schemas_of(recordings), event)
    policy = dict(read_policy(POLICY))
    _, report = await tried(tmp_path, policy, shop())
    assert (report.simulated, report.changed) == (1, 0)
    _, report = await tried(tmp_path, {**policy, "more.yaml": NETWORK}, shop())
    assert [*report.not_simulated] == [
        "the policy asks for `request.network`, which is not on record with it"
    ]


async def intent_of(recordings: Path) -> Event:
    every = [one async for batch in AskedQueries(recordings).batches(WANTED) for one in batch]
    events = (one.recorded.event for one in every if one.recorded)
    plain = (one for one in events if not {"into", "transfer"} & {*one.body, *one.body["request"]})
    return next(one for one in plain if one.body.get("statement") == "SELECT")


async def schemas_of(recordings: Path) -> list[Event]:
    bodies = [one async for one in AskedQueries(recordings).schemas(WANTED)]
    return [
        Event(EventKind.SCHEMA, WANTED.since, body=msgspec.to_builtins(body)) for body in bodies
    ]


def write(folder: Path, *events: Event) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([canonical(event) for event in events])
    writer.close()


async def test_statements_of_scripts_are_no_queries_of_their_own(tmp_path: Path) -> None:
    body = {"sql": "SELECT 1", "request": {"project": "p", "script": "job_1"}}
    write(tmp_path, msgspec.convert({"kind": "intent", "at": NOW, "body": body}, Event))
    _, report = await tried(tmp_path, dict(read_policy(POLICY)))
    assert report.read == 0


DETECTORS = """
detectors:
- {name: net, find: [email]}
rules:
- {name: cap, limits: {bytes_per_query: 1MB}}
"""


async def test_limits_and_detectors_of_a_draft_are_tried_on_what_is_on_record(
    recordings: Path, tmp_path: Path
) -> None:
    event = msgspec.structs.replace(await intent_of(recordings), job="job")
    sql = "SELECT subject AS s FROM shop.tickets"
    objects = {name: digest for name, digest in await objects_of(recordings) if digest}
    body = {**event.body, "sql": sql, "rests_on": {**event.body["rests_on"], "objects": objects}}
    body["principal"] = {**event.body["principal"], "groups": ["coding-agents"]}
    body["request"] = {**event.body["request"], "dry_run": False}
    event = msgspec.structs.replace(event, body={**body, "bytes_estimate": 5_000_000})
    rows = [{"f": [{"v": "to jane@example.com"}]}]
    given = {"state": "done", "rows": rows, "schema": [{"name": "s", "type": "STRING"}]}
    given |= {"bytes_billed": 10 << 20}
    ended = msgspec.structs.replace(event, kind=EventKind.OUTCOME, at=event.at + 1, body=given)
    write(tmp_path, *await schemas_of(recordings), event, ended)
    policy = dict(read_policy(POLICY))
    outcome, report = await tried(tmp_path, {**policy, "more.yaml": DETECTORS}, shop())
    assert report.not_simulated == {}, report.found
    assert (outcome.limits.limited, outcome.limits.queries) == (1, 1)
    [(detected, count)] = outcome.detectors.found.items()
    assert (detected.kind, detected.entity, detected.column) == ("newly masked", "email", "s")
    assert detected.columns == ("acme-shop.shop.tickets.subject",)
    assert (count.queries, count.values, count.jobs) == (1, 1, ["job"])
    same, _ = await tried(tmp_path, policy, shop())
    assert (same.limits.limited, same.detectors.looked) == (0, 0)


async def objects_of(recordings: Path) -> list[tuple[str, str]]:
    every = [one async for batch in AskedQueries(recordings).batches(WANTED) for one in batch]
    return [pair for one in every if one.body for pair in one.body.rests_on.objects.items()]


LARGE = """
rules:
- {name: large, deny: [read], when: query.bytes > 1000000}
"""


@pytest.mark.parametrize(
    ("known", "changed", "why"),
    [(5_000_000, 1, ""), (1000, 0, ""), (None, 0, "how much it would read is not on record")],
)
async def test_a_draft_that_asks_for_bytes_takes_those_on_record_and_guesses_none(
    recordings: Path, tmp_path: Path, known: int | None, changed: int, why: str
) -> None:
    event = msgspec.structs.replace(await intent_of(recordings), job="job")
    objects = {name: digest for name, digest in await objects_of(recordings) if digest}
    context = {**event.body["rests_on"]["context"], "bytes": known}
    rests_on = {**event.body["rests_on"], "objects": objects, "context": context}
    body = {**event.body, "sql": "SELECT subject AS s FROM shop.tickets", "rests_on": rests_on}
    body["principal"] = {**event.body["principal"], "groups": ["coding-agents"]}
    write(
        tmp_path,
        *await schemas_of(recordings),
        msgspec.structs.replace(event, body=body),
    )
    policy = dict(read_policy(POLICY))
    _, report = await tried(tmp_path, {**policy, "more.yaml": LARGE}, shop())
    assert (report.read, report.changed) == (1, changed)
    assert [reason[: len(why)] for reason in report.not_simulated] == ([why] if why else [])
    _, same = await tried(tmp_path, policy, shop())
    assert (same.changed, same.not_simulated) == (0, {})
