from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench.recorded_days import Recordings, shop
from demo.stack import POLICY
from prove.agent_queries import AgentQueries
from prove.simulation import draft_of

from keystile.config.policy_folder import read_policy
from keystile.config.settings import EngineLimits
from keystile.gate.basis import Catalogue
from keystile.gate.simulation import Simulated
from keystile.gate.simulation_report import Outcome, Report, simulate
from keystile.googlesql.inline import InlineRunner
from keystile.model.schema import Field
from keystile.policy.compile import compile_policy
from keystile.policy.ruling import Kind
from keystile.recording.asked import AskedQueries, Wanted
from keystile.recording.events import Event
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
    folder: Path, policy: dict[str, str], now: Catalogue | None = None, limit: int = 50
) -> tuple[Outcome, Kept]:
    report, told = Kept(limit), list[int]()
    made = compile_policy(policy)
    queries, limits = AskedQueries(folder), EngineLimits(workers=1)
    outcome = await simulate(
        queries, WANTED, made, InlineRunner(), limits, now, report, told.append
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
    asked = [one for one in report.groups if one.change.kind is Kind.ASKED]
    assert all("tickets-by-people" in one.change.fires for one in asked)


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
    writer = claim(tmp_path, segment_bytes=1 << 20)
    writer.append([canonical(event)])
    writer.close()
    _, report = await tried(tmp_path, dict(read_policy(POLICY)), shop())
    assert (report.read, report.simulated, report.changed) == (1, 0, 0)
    assert why in next(iter(report.not_simulated))


async def test_statements_of_scripts_are_no_queries_of_their_own(tmp_path: Path) -> None:
    writer = claim(tmp_path, segment_bytes=1 << 20)
    body = {"sql": "SELECT 1", "request": {"project": "p", "script": "job_1"}}
    writer.append([canonical(msgspec.convert({"kind": "intent", "at": NOW, "body": body}, Event))])
    writer.close()
    _, report = await tried(tmp_path, dict(read_policy(POLICY)))
    assert report.read == 0
