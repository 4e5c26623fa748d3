from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from keystile.gate import records
from keystile.gate.basis import Basis
from keystile.gate.looking import Caught
from keystile.model.decision import ApprovalDemand, ColumnMask, RowFilter, Shadow, Would
from keystile.model.errors import RefusedError, UnmaskableError
from keystile.model.facts import ColumnUse, OutputColumn, Use
from keystile.model.masks import KeepLastMask
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Field, Parameter, SqlType
from keystile.policy.context import Context
from keystile.recording.events import Event
from keystile.recording.people_events import ApprovalDecidedBody, ApprovalRequestedBody
from keystile.recording.query_events import (
    IntentBody,
    OutcomeBody,
    PageBody,
    PrincipalBody,
    RefusedBody,
)
from keystile.upstream.values import JobStatus, Page
from keystile.wire.responses import JobError

ROW = {"f": [{"v": "1"}]}
RAW = (msgspec.Raw(msgspec.json.encode(ROW)),)


def read(event: Event, body: type[Any]) -> Any:
    """Read an event as a reader of the recording does, who must know every field."""
    stored = msgspec.json.decode(msgspec.json.encode(event), type=Event)
    assert set(stored.body) <= {field.name for field in msgspec.structs.fields(body)}
    return msgspec.convert(stored.body, body)


def test_an_intent_tells_what_was_asked_and_what_will_run(bench: Any) -> None:
    number = Parameter("n", SqlType("INT64"), {"value": "1"})
    plan = msgspec.structs.replace(bench.a_job().plan, masked=(ColumnRef(bench.table, ("ssn",)),))
    request = bench.request(parameters=(number,))
    job = bench.a_job(id="id-1", plan=plan, request=request, job_id="j1", location="EU")
    event = records.intent(job, 5.0)
    assert (event.session, event.agent, event.job) == ("run-1", "demo-agent", "id-1")
    body = read(event, IntentBody)
    assert (body.sql, body.rewritten_sql) == (request.sql, bench.rewritten)
    assert body.parameters[0]["name"] == "n"
    assert body.masked == ("acme-shop.shop.customers.ssn",)
    assert body.tables == ("acme-shop.shop.customers",)
    assert (body.decision.effect, body.decision.policy_digest) == ("allow", "p1")
    assert (body.request["location"], body.digest) == ("EU", "d1")


def test_where_a_result_goes_is_on_record_whether_it_runs_or_not(bench: Any) -> None:
    request, error = bench.request(into=bench.into), RefusedError("no")
    for event, body in (
        (records.intent(bench.a_job(request=request), 5.0), IntentBody),
        (records.refused(bench.principal(), request, error, Basis(), 5.0), RefusedBody),
    ):
        assert read(event, body).into == "acme-shop.lab.kept"


def test_for_whom_an_agent_asks_is_on_record_whether_it_runs_or_not(bench: Any) -> None:
    principal = msgspec.structs.replace(bench.principal(), on_behalf_of="dana")
    job = msgspec.structs.replace(bench.a_job(), principal=principal)
    error = RefusedError("no")
    for event, body in (
        (records.intent(job, 5.0), IntentBody),
        (records.refused(principal, bench.request(), error, Basis(), 5.0), RefusedBody),
    ):
        assert read(event, body).on_behalf_of == "dana"
    assert "on_behalf_of" not in records.intent(bench.a_job(), 5.0).body


def test_the_identity_that_was_decided_on_is_on_record_whether_it_runs_or_not(bench: Any) -> None:
    more = {"groups": ("g",), "attributes": {"purpose": "support"}, "service_account": "sa"}
    principal = msgspec.structs.replace(bench.principal(), **more)
    job = msgspec.structs.replace(bench.a_job(), principal=principal)
    error = RefusedError("no")
    for event, body in (
        (records.intent(job, 5.0), IntentBody),
        (records.refused(principal, bench.request(), error, Basis(), 5.0), RefusedBody),
    ):
        found = read(event, body).principal
        assert (found.issuer, found.subject) == (principal.issuer, principal.subject)
        assert msgspec.structs.asdict(found).items() >= more.items()


def test_all_that_policy_knows_of_an_agent_is_on_record() -> None:
    beside = {"agent", "session", "on_behalf_of"}
    assert {*PrincipalBody.__struct_fields__} | beside == {*Principal.__struct_fields__}


def test_what_a_decision_can_be_made_again_from_is_on_record(bench: Any) -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    basis = Basis(Context("acme-shop", now, dry_run=True), {"acme-shop.shop.customers": "d1"})
    job = bench.a_job(request=bench.request(default_project="p", default_dataset="d"))
    job = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, basis=basis))
    refusal = records.refused(job.principal, job.request, RefusedError("no"), basis, 5.0)
    for event, body in ((records.intent(job, 5.0), IntentBody), (refusal, RefusedBody)):
        found = read(event, body)
        assert msgspec.convert(found.rests_on.context, Context) == basis.context
        assert found.rests_on.objects == basis.objects
        assert (found.request["default_project"], found.request["default_dataset"]) == ("p", "d")


def test_a_decision_tells_the_masks_of_what_is_used_and_who_is_asked(bench: Any) -> None:
    job = bench.a_job()
    ssn, other = ColumnRef(bench.table, ("ssn",)), ColumnRef(bench.table, ("email",))
    masks = tuple(ColumnMask(column, "pii", KeepLastMask(4)) for column in (ssn, other))
    decision = msgspec.structs.replace(
        job.plan.decision,
        masks=masks,
        approvals=(ApprovalDemand("raw", ("stewards",), 2, 60, ("pii",)),),
        row_filters=(RowFilter(bench.table, "own", "id = 1"),),
    )
    facts = msgspec.structs.replace(job.plan.facts, columns=(ColumnUse(ssn, (Use.FILTER,)),))
    plan = msgspec.structs.replace(job.plan, decision=decision, facts=facts)
    found = read(records.intent(msgspec.structs.replace(job, plan=plan), 5.0), IntentBody).decision
    assert [(one.column, one.label, one.mask) for one in found.masks] == [
        ("acme-shop.shop.customers.ssn", "pii", {"kind": "keep_last", "count": 4})
    ]
    assert [(one.rule, one.count, one.unmask) for one in found.approvals] == [("raw", 2, ("pii",))]
    assert [(one.rule, one.where) for one in found.row_filters] == [("own", "id = 1")]


def test_what_rules_in_shadow_would_do_is_on_record(bench: Any) -> None:
    job = bench.a_job()
    shadows = (Shadow("no", Would.MASK, "not here", ("a.b.c.d",), failed=True),)
    decision = msgspec.structs.replace(job.plan.decision, shadows=shadows)
    plan = msgspec.structs.replace(job.plan, decision=decision)
    event = records.intent(msgspec.structs.replace(job, plan=plan), 5.0)
    [found] = read(event, IntentBody).decision.shadows
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(shadows[0])


def test_a_refusal_tells_whether_it_came_of_what_policy_hides(bench: Any) -> None:
    for error, found in ((UnmaskableError("no"), True), (RefusedError("no"), False)):
        event = records.refused(bench.principal(), bench.request(), error, Basis(), 5.0)
        assert read(event, RefusedBody).unmaskable is found


def test_an_intent_tells_the_job_id_that_the_client_gets_though_it_chose_none(bench: Any) -> None:
    job = bench.a_job(request=bench.request(request_id="r1"), job_id="job_1")
    assert read(records.intent(job, 5.0), IntentBody).request["job_id"] == "job_1"


def test_a_refusal_tells_the_clients_words(bench: Any) -> None:
    error = RefusedError("refused", hint="ask a steward")
    event = records.refused(bench.principal(), bench.request(), error, Basis(), 5.0)
    body = read(event, RefusedBody)
    assert (body.reason, body.message, body.decision) == (
        "accessDenied",
        "refused; ask a steward",
        None,
    )


def test_a_refusal_tells_what_was_understood(bench: Any) -> None:
    error, plan = RefusedError("refused"), bench.a_job().plan
    event = records.refused(bench.principal(), bench.request(), error, plan, 5.0)
    body = read(event, RefusedBody)
    assert (body.statement, body.actions) == ("SELECT", ("read",))
    assert body.tables == ("acme-shop.shop.customers",)
    assert body.decision
    assert body.decision.policy_digest == "p1"


def test_a_table_that_is_read_and_written_is_told_once(bench: Any) -> None:
    job = bench.a_job()
    facts = msgspec.structs.replace(job.plan.facts, writes=job.plan.facts.reads)
    job = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, facts=facts))
    assert read(records.intent(job, 5.0), IntentBody).tables == ("acme-shop.shop.customers",)


def test_an_outcome_has_the_rows_as_they_came(bench: Any) -> None:
    status = JobStatus(done=True, schema=(Field("id", "INT64"),), total_rows=1)
    page = Page(RAW, "", 1, status.schema)
    body = read(records.done(bench.a_job(), status, page.rows, (), 5.0), OutcomeBody)
    assert body.state == "done"
    assert body.rows == (ROW,)
    assert body.schema[0]["name"] == "id"


def masked_by(bench: Any, output: tuple[OutputColumn, ...], width: int) -> list[tuple[str, ...]]:
    ssn, day = (ColumnRef(bench.table, (name,)) for name in ("ssn", "day"))
    plan = bench.a_job().plan
    facts = msgspec.structs.replace(plan.facts, output=output)
    job = bench.a_job(plan=msgspec.structs.replace(plan, facts=facts, masked=(ssn, day)))
    status = JobStatus(done=True, schema=(Field("x", "STRING"),) * width, total_rows=0)
    body = read(records.done(job, status, (), (), 5.0), OutcomeBody)
    return [tuple(column["masked"]) for column in body.schema]


def test_an_outcome_says_which_columns_come_from_masked_ones(bench: Any) -> None:
    ssn, id_ = (ColumnRef(bench.table, (name,)) for name in ("ssn", "id"))
    text = SqlType("STRING")
    output = (OutputColumn("x", text, (id_,)), OutputColumn("x", text, (id_, ssn)))
    assert masked_by(bench, output, 2) == [(), ("acme-shop.shop.customers.ssn",)]


def test_a_result_of_another_width_counts_as_masked_in_every_column(bench: Any) -> None:
    names = ("acme-shop.shop.customers.day", "acme-shop.shop.customers.ssn")
    assert masked_by(bench, (), 2) == [names, names]


def test_a_bad_end_has_its_error_and_no_rows(bench: Any) -> None:
    error = JobError.of(RefusedError("denied"))
    body = read(records.ended(bench.a_job(), "denied", error, 5.0), OutcomeBody)
    assert (body.state, body.error.message, body.rows) == ("denied", "denied", ())


def test_a_page_tells_where_it_starts(bench: Any) -> None:
    body = read(records.page(bench.a_job(), 40, Caught(RAW), 5.0), PageBody)
    assert (body.start, body.rows) == (40, (ROW,))


async def test_approvals_are_told_with_who_and_why(bench: Any, one: Any) -> None:
    job = bench.a_job()
    await bench.waiting(one)
    (request,) = await bench.approvals.list()
    asked = read(records.approval_requested(job, request), ApprovalRequestedBody)
    assert (asked.request, asked.demand["rule"]) == (request.id, "raw-ssn")
    await bench.vote()
    (request,) = await bench.approvals.list()
    decided = read(records.approval_decided(job, request, 5.0), ApprovalDecidedBody)
    (vote,) = decided.votes
    assert (decided.state, vote.person, vote.comment) == ("approved", "operator", "ticket 7")
