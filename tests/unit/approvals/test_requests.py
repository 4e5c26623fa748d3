from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from keystile.approvals.requests import (
    ApprovalRequest,
    Approvals,
    ApprovalState,
    Person,
    Summary,
    TouchedColumn,
)
from keystile.model.decision import ApprovalDemand
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import Parameter, SqlType
from keystile.store.database import Database
from keystile.store.tables import agents

PRINCIPAL = Principal("https://issuer", "agent-7", "demo-agent", "s1", attributes={"team": "x"})
SUMMARY = Summary(
    sql="SELECT ssn\nFROM t -- \x1b[31m",
    parameters=(Parameter("id", SqlType("INT64"), {"value": "7"}),),
    columns=(TouchedColumn("p.d.t.ssn", ("pii.ssn",), ("output",), unlocked=True),),
    bytes=10,
    rule="raw-pii",
    reason="raw PII needs a steward",
)
STEWARD = Person("operator", ("data-stewards",))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    store = Database(f"sqlite+aiosqlite:///{tmp_path}/keystile.db")
    await store.open()
    yield store
    await store.close()


async def opened(approvals: Approvals, **change: Any) -> ApprovalRequest:
    values: dict[str, Any] = {
        "job": "j1",
        "digest": "d1",
        "session": "s1",
        "principal": PRINCIPAL,
        "summary": SUMMARY,
        "demand": ApprovalDemand("raw-pii", ("data-stewards",), 1, 600, ("pii.ssn",)),
        "now": 100.0,
    }
    return await approvals.open(**(values | change))


async def vote(
    approvals: Approvals, id_: str, person: Person = STEWARD, *, approve: bool = True
) -> ApprovalRequest:
    return await approvals.vote(id_, person, approve=approve, comment="ok", via="cli", now=200.0)


async def test_a_request_reads_back_as_it_was_asked(database: Database) -> None:
    approvals = Approvals(database)
    asked = await opened(approvals)
    assert asked.expires_at == 700.0
    assert await Approvals(database).get(asked.id) == asked
    decided = await vote(approvals, asked.id)
    assert await approvals.get(asked.id) == decided
    assert decided.state is ApprovalState.APPROVED
    (only,) = decided.votes
    assert (only.person, only.approve, only.comment, only.via, only.at) == (
        "operator",
        True,
        "ok",
        "cli",
        200.0,
    )


async def test_asking_again_gives_the_pending_request(database: Database) -> None:
    approvals = Approvals(database)
    asked = await opened(approvals)
    assert await opened(approvals, now=150.0) == asked
    assert (await opened(approvals, digest="d2")).id != asked.id
    await vote(approvals, asked.id, approve=False)
    assert (await opened(approvals)).id != asked.id
    assert len(await approvals.for_job("j1")) == 3


async def test_lists_by_state(database: Database) -> None:
    approvals = Approvals(database)
    asked = [await opened(approvals, job=f"j{n}", now=100.0 + n) for n in range(4)]
    await vote(approvals, asked[1].id)
    await vote(approvals, asked[2].id, approve=False)
    pending = await approvals.list(ApprovalState.PENDING)
    assert [one.job for one in pending] == ["j0", "j3"]
    assert [one.job for one in await approvals.list(ApprovalState.DENIED)] == ["j2"]
    assert [one.job for one in await approvals.list()] == ["j3", "j2", "j1", "j0"]
    assert [one.job for one in await approvals.list(limit=2)] == ["j3", "j2"]
    assert [one.votes for one in await approvals.list(ApprovalState.APPROVED)] != [()]


async def test_unknown_requests_are_not_found(database: Database) -> None:
    approvals = Approvals(database)
    with pytest.raises(NotFoundError, match="`nope`"):
        await approvals.get("nope")
    with pytest.raises(NotFoundError, match="`nope`"):
        await vote(approvals, "nope")


async def test_a_refused_vote_leaves_no_trace(database: Database) -> None:
    approvals = Approvals(database)
    asked = await opened(approvals)
    with pytest.raises(RefusedError, match="ask someone of"):
        await vote(approvals, asked.id, Person("eve", ("analysts",)))
    assert await approvals.get(asked.id) == asked


async def test_an_agent_is_no_person(database: Database) -> None:
    approvals = Approvals(database)
    values = {"groups": "[]", "attributes": "{}", "created_at": 0.0, "created_by": "x"}
    for issuer, name in (("", "other-agent"), ("https://elsewhere.example", "operator")):
        row = {"issuer": issuer, "subject": name, "name": name} | values
        async with database.begin() as connection:
            await connection.execute(insert(agents).values(row))
    asked = await opened(approvals)
    with pytest.raises(RefusedError, match="agents decide nothing"):
        await vote(approvals, asked.id, Person("other-agent", ("data-stewards",)))
    # No issuer can bar a person by calling one of its agents so.
    await vote(approvals, asked.id, Person("operator", ("data-stewards",)))


async def test_expiry_closes_each_once(database: Database) -> None:
    approvals = Approvals(database)
    asked = await opened(approvals)
    later = await opened(approvals, job="j2", now=500.0)
    assert await approvals.expire_due(699.9) == ()
    (expired,) = await approvals.expire_due(700.0)
    assert (expired.id, expired.state, expired.closed_at) == (asked.id, "expired", 700.0)
    assert await approvals.expire_due(700.0) == ()
    assert await approvals.get(asked.id) == expired
    assert [one.id for one in await approvals.list(ApprovalState.PENDING)] == [later.id]
    with pytest.raises(RefusedError, match="is expired already"):
        await vote(approvals, asked.id)


async def test_a_late_vote_does_not_count_before_anyone_noticed_the_expiry(
    database: Database,
) -> None:
    approvals = Approvals(database)
    asked = await opened(approvals)
    with pytest.raises(RefusedError, match="has expired"):
        await approvals.vote(asked.id, STEWARD, approve=True, comment="", via="cli", now=700.0)
    assert (await approvals.get(asked.id)).votes == ()


async def test_cancelling_a_job_closes_what_is_pending(database: Database) -> None:
    approvals = Approvals(database)
    first, second = await opened(approvals), await opened(approvals, digest="d2")
    await vote(approvals, first.id)
    (cancelled,) = await approvals.cancel_for_job("j1", 300.0)
    assert (cancelled.id, cancelled.state) == (second.id, ApprovalState.CANCELLED)
    assert (await approvals.get(first.id)).state is ApprovalState.APPROVED


async def test_votes_at_the_same_time_end_in_one_state(database: Database) -> None:
    """Ten approvers and a denier at once: the first to close it wins, and the row agrees."""
    approvals = Approvals(database)
    demand = ApprovalDemand("raw-pii", ("data-stewards",), 3, 600)
    asked = await opened(approvals, demand=demand)
    people = [Person(f"p{n}", ("data-stewards",)) for n in range(10)]
    answers = await asyncio.gather(
        *(vote(approvals, asked.id, person) for person in people),
        vote(approvals, asked.id, Person("no", ("data-stewards",)), approve=False),
        return_exceptions=True,
    )
    counted = [answer for answer in answers if isinstance(answer, ApprovalRequest)]
    refused = [answer for answer in answers if not isinstance(answer, ApprovalRequest)]
    assert all(isinstance(answer, RefusedError) for answer in refused)
    final = await approvals.get(asked.id)
    assert [one.state for one in counted].count(final.state) == 1
    assert len(final.votes) == len(counted) <= 3


VOTER = """
import asyncio, sys
from keystile.approvals.requests import Approvals, Person
from keystile.model.errors import RefusedError
from keystile.store.database import Database
async def main():
    database = Database(sys.argv[1])
    await database.open()
    print("ready", flush=True)
    sys.stdin.readline()
    person = Person(sys.argv[3], ("data-stewards",))
    try:
        answer = await Approvals(database).vote(
            sys.argv[2], person, approve=sys.argv[4] == "approve", comment="", via="cli", now=200.0)
        print(answer.state)
    except RefusedError:
        print("refused")
    await database.close()
asyncio.run(main())
"""


async def test_two_processes_deciding_at_once_agree(database: Database, tmp_path: Path) -> None:
    approvals = Approvals(database)
    asked = await opened(approvals)
    voters = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            VOTER,
            f"sqlite+aiosqlite:///{tmp_path}/keystile.db",
            asked.id,
            name,
            how,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name, how in (("ann", "approve"), ("bob", "deny"))
    ]
    for voter in voters:
        assert voter.stdout
        assert await voter.stdout.readline() == b"ready\n"
    said = await asyncio.gather(*(voter.communicate(b"go\n") for voter in voters))
    final = await approvals.get(asked.id)
    assert sorted(out.decode().strip() for out, _ in said) == sorted([final.state, "refused"])
    assert len(final.votes) == 1
