from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from keystile.gate.plan import Plan
from keystile.gate.planned import Planned
from keystile.gate.vigil import Verdict, refusal
from keystile.model.decision import ColumnMask, Decision, Effect, Reason
from keystile.model.errors import RefusedError
from keystile.model.facts import Action, ColumnUse, QueryFacts, Use
from keystile.model.masks import NullMask
from keystile.model.schema import ColumnRef, TableId
from keystile.upstream.values import UpstreamQuery
from keystile.wire.transfers import Transfer


@pytest.fixture
def job(bench: Any) -> Any:
    """A job that waits, whose query shows one protected column and masks another."""
    ssn, email = (ColumnRef(bench.table, (name,)) for name in ("ssn", "email"))
    plan = Plan(
        facts=QueryFacts(
            "SELECT",
            (Action.READ,),
            reads=(bench.table,),
            columns=(ColumnUse(ssn, (Use.OUTPUT,)), ColumnUse(email, (Use.FILTER,))),
        ),
        decision=Decision(
            Effect.REQUIRE_APPROVAL,
            (Reason("raw-ssn", Effect.REQUIRE_APPROVAL, "raw numbers need a steward"),),
            "p1",
            masks=(ColumnMask(email, "pii.email", NullMask()),),
            approvals=(bench.demand,),
        ),
        sql=bench.rewritten,
        masked=(email,),
        schema=(),
        bytes_estimate=1 << 30,
        digest="d1",
        labels={str(ssn): ("pii.ssn",), str(email): ("pii.email",)},
    )
    principal = msgspec.structs.replace(bench.principal(), attributes={"purpose": "support"})
    return bench.a_job(plan=plan, principal=principal)


def planned(job: Any, **changes: Any) -> Planned:
    plan = msgspec.structs.replace(job.plan, **changes)
    return Planned(plan, UpstreamQuery(project="p", sql=plan.sql), "US")


async def test_what_people_see_is_computed(bench: Any, one: Any, job: Any) -> None:
    await one.vigil.ask(job)
    (request,) = await bench.approvals.list()
    summary = request.summary
    assert (request.digest, request.demand) == ("d1", bench.demand)
    assert (summary.sql, summary.rewritten_sql) == (job.request.sql, bench.rewritten)
    assert (summary.rule, summary.reason) == ("raw-ssn", "raw numbers need a steward")
    ssn, email = summary.columns
    assert (ssn.labels, ssn.unlocked, ssn.masked) == (("pii.ssn",), True, False)
    assert (email.labels, email.unlocked, email.masked) == (("pii.email",), False, True)
    assert summary.bytes == 1 << 30
    assert summary.claims == {"purpose": "support"}


async def test_people_see_where_the_result_goes(bench: Any, one: Any, job: Any) -> None:
    request = bench.request(into=bench.into)
    await one.vigil.ask(msgspec.structs.replace(job, request=request))
    (asked,) = await bench.approvals.list()
    assert asked.summary.into == "acme-shop.lab.kept"


async def test_people_see_which_tables_and_files_a_job_reads_and_writes(
    bench: Any, one: Any, job: Any
) -> None:
    copy = TableId("acme-shop", "lab", "copy")
    facts = QueryFacts(
        "COPY", (Action.WRITE,), reads=(bench.table,), writes=(copy,), uris=("gs://lab/a.csv",)
    )
    plan = msgspec.structs.replace(job.plan, facts=facts)
    request = bench.request("-- copy job", transfer=Transfer("copy", {}))
    await one.vigil.ask(msgspec.structs.replace(job, plan=plan, request=request))
    (asked,) = await bench.approvals.list()
    summary = asked.summary
    assert (summary.statement, summary.reads) == ("COPY", (str(bench.table),))
    assert (summary.writes, summary.uris) == (("acme-shop.lab.copy",), ("gs://lab/a.csv",))
    # BigQuery makes no dry run of it, so "0 B" would be a guess.
    assert summary.bytes is None


async def test_asking_twice_opens_one_request(bench: Any, one: Any, job: Any) -> None:
    await one.vigil.ask(job)
    await one.vigil.ask(job)
    assert len(await bench.approvals.list()) == 1


async def test_the_verdict_follows_the_votes(bench: Any, one: Any, job: Any) -> None:
    assert (await one.vigil.look(job)).verdict is Verdict.ASK
    await one.vigil.ask(job)
    assert (await one.vigil.look(job)).verdict is Verdict.WAIT
    await bench.vote()
    assert (await one.vigil.look(job)).verdict is Verdict.RELEASE


async def test_an_approval_of_another_plan_releases_nothing(bench: Any, one: Any, job: Any) -> None:
    await one.vigil.ask(job)
    await bench.vote()
    changed = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, digest="d2"))
    assert (await one.vigil.look(changed)).verdict is Verdict.ASK


async def test_an_approval_of_another_job_releases_nothing(bench: Any, one: Any, job: Any) -> None:
    await one.vigil.ask(job)
    await bench.vote()
    assert (await one.vigil.look(bench.a_job(plan=job.plan))).verdict is Verdict.ASK


async def test_one_denial_outweighs_an_approval(bench: Any, one: Any, job: Any) -> None:
    second = msgspec.structs.replace(bench.demand, rule="second-rule")
    decision = msgspec.structs.replace(job.plan.decision, approvals=(bench.demand, second))
    both = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, decision=decision))
    await one.vigil.ask(both)
    first, other = await bench.approvals.list()
    await bench.vote_on(first.id)
    await bench.vote_on(other.id, approve=False)
    seen = await one.vigil.look(both)
    assert seen.verdict is Verdict.DENIED
    assert "denied by `operator`: no reason given" in refusal(seen).message


async def test_an_expired_request_ends_the_wait(bench: Any, one: Any, job: Any) -> None:
    await one.vigil.ask(job)
    await bench.approvals.expire_due(time.time() + 601)
    seen = await one.vigil.look(job)
    assert seen.verdict is Verdict.EXPIRED
    assert "nobody approved the query in time (rule `raw-ssn`" in refusal(seen).message


async def test_a_withdrawn_request_is_told_as_the_agents_own_doing(
    bench: Any, one: Any, job: Any
) -> None:
    await one.vigil.ask(job)
    await one.vigil.withdraw(job)
    seen = await one.vigil.look(job)
    assert seen.verdict is Verdict.CANCELLED
    assert refusal(seen).reason == "stopped"
    assert bench.kinds == ["approval_requested", "approval_decided"]


async def test_only_the_approved_plan_fits(one: Any, job: Any) -> None:
    assert one.vigil.fits(job, planned(job))
    assert not one.vigil.fits(job, planned(job, digest="d2"))


async def test_a_plan_within_the_ceiling_fits_and_one_above_does_not(one: Any, job: Any) -> None:
    assert one.vigil.fits(job, planned(job, bytes_estimate=2 << 30))
    with pytest.raises(RefusedError, match=r"far more bytes by now than were approved"):
        one.vigil.fits(job, planned(job, bytes_estimate=(2 << 30) + 1))


async def test_what_is_still_open_is_not_recorded_as_decided(
    bench: Any, one: Any, job: Any
) -> None:
    await one.vigil.ask(job)
    await one.vigil.note(job, await one.vigil.look(job))
    assert bench.kinds == ["approval_requested"]
