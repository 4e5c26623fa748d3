from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.accounts import ACCOUNT, OneAccount

from keystile.analysis.analysed import Analysed
from keystile.analysis.resolve import Scan
from keystile.analysis.scope import Scope, SpelledTable
from keystile.analysis.statement import Statement
from keystile.gate.jobs import Child, Job, JobOutcome
from keystile.gate.plan import Plan
from keystile.gate.read_results import Results, places, refuse_changed, understood
from keystile.gate.result_tables import result_table
from keystile.masking.moved import Place
from keystile.model.decision import ColumnMask, Decision, Effect, RowFilter
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.facts import Action, ColumnUse, OutputColumn, QueryFacts, Use
from keystile.model.masks import KeepLastMask, NullMask
from keystile.model.schema import ColumnRef, Field, SqlType, Table, TableId, TableKind
from keystile.upstream.values import Account, JobStatus

STRING = SqlType("STRING")
CUSTOMERS = TableId("acme-shop", "shop", "customers")
SSN, EMAIL = (ColumnRef(CUSTOMERS, (name,)) for name in ("ssn", "email"))
FACTS = QueryFacts(
    "SELECT",
    (Action.READ,),
    reads=(CUSTOMERS,),
    columns=(ColumnUse(EMAIL, (Use.FILTER,)), ColumnUse(SSN, (Use.OUTPUT,))),
    output=(OutputColumn("Number", STRING, (SSN,)), OutputColumn("one", STRING, ())),
    functions=("upper",),
)
LABELS: dict[str, tuple[str, ...]] = {str(SSN): ("pii.ssn",)}
MASKS = (ColumnMask(SSN, "pii.ssn", NullMask()),)
FILTER = RowFilter(CUSTOMERS, "eu", "region = 'eu'")


class Finished:
    def __init__(self, *jobs: Job) -> None:
        self.jobs = {result_table(job): job for job in jobs}

    async def job(self, owner: str, table: TableId) -> Job | None:
        job = self.jobs.get(table)
        return job if job and job.principal.key == owner else None


class Source:
    def __init__(self, *tables: TableId) -> None:
        self.tables = tables

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        if id not in self.tables:
            raise NotFoundError("no")
        return Table(id, TableKind.TABLE, (Field("ssn", "STRING"),), "e1")


@pytest.fixture
def job(bench: Any) -> Any:
    return made(bench)


def made(bench: Any, facts: QueryFacts = FACTS, **changes: Any) -> Any:
    decision = Decision(Effect.ALLOW, (), "p1", masks=MASKS)
    plan = Plan(facts, decision, "SELECT", (SSN,), (), 1, "d1", labels=LABELS, account=ACCOUNT)
    schema = (Field("Number", "STRING"), Field("one", "STRING"))
    outcome = JobOutcome(schema, 1, 1, cache_hit=False, recorded_rows=1)
    return bench.a_job(plan=plan, **({"outcome": outcome} | changes))


def reading(job: Job, facts: QueryFacts | None = None, **changes: Any) -> Analysed:
    """A query that reads the result of a job."""
    id_ = result_table(job)
    number = ColumnRef(id_, ("number",))
    facts = facts or QueryFacts(
        "SELECT",
        (Action.READ,),
        reads=(id_,),
        columns=(ColumnUse(number, (Use.ORDER,)),),
        output=(OutputColumn("n", STRING, (number,)),),
    )
    table = Table(id_, TableKind.TABLE, (Field("Number", "STRING"),), "")
    scope = Scope((SpelledTable((id_.project, id_.dataset, id_.table), table),))
    statement = Statement("SELECT …", "acme-shop")
    return msgspec.structs.replace(Analysed(statement, "SELECT …", scope, facts), **changes)


async def read_by(job: Job, analysed: Analysed | None = None, owner: str = "") -> Any:
    results = Results(Finished(job), owner or job.principal.key)
    await results.table(result_table(job))
    return results.read_by(analysed or reading(job))


async def test_a_result_is_a_table_with_its_own_columns_for_its_owner_alone(job: Any) -> None:
    table = await Results(Finished(job), job.principal.key).table(result_table(job))
    assert table
    assert [field.name for field in table.fields] == ["Number", "one"]
    assert await Results(Finished(job), "somebody else").table(result_table(job)) is None
    assert await Results(None, job.principal.key).table(result_table(job)) is None


async def test_what_the_earlier_query_read_is_read_again(job: Any) -> None:
    read = await read_by(job)
    facts, tables = await understood(reading(job), read, Source(CUSTOMERS))  # type: ignore[arg-type]
    assert facts.reads == (CUSTOMERS,)
    assert [table.id for table in tables] == [CUSTOMERS]
    assert facts.columns == (
        ColumnUse(EMAIL, (Use.FILTER,)),
        ColumnUse(SSN, (Use.OUTPUT, Use.ORDER)),
    )
    assert facts.output == (OutputColumn("n", STRING, (SSN,)),)
    assert facts.functions == ("upper",)


async def test_a_column_of_unknown_origin_derives_from_all_that_was_read(job: Any) -> None:
    analysed, id_ = reading(job), result_table(job)
    odd = (OutputColumn("n", STRING, (ColumnRef(id_, ("odd",)),)),)
    analysed = reading(job, msgspec.structs.replace(analysed.facts, output=odd))
    facts, _ = await understood(analysed, await read_by(job), Source(CUSTOMERS))  # type: ignore[arg-type]
    assert facts.output[0].sources == (EMAIL, SSN)


async def test_a_query_without_results_is_understood_as_it_is(job: Any) -> None:
    analysed = reading(job, FACTS)
    known = await understood(analysed, await read_by(job, analysed), Source())  # type: ignore[arg-type]
    assert known == (FACTS, analysed.tables)


async def test_the_rows_of_a_table_that_is_hidden_by_now_are_not_read(job: Any) -> None:
    with pytest.raises(RefusedError, match="has changed since they were read; run the query"):
        await understood(reading(job), await read_by(job), Source())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "changes", "said"),
    [
        ({"statement": "CREATE_TABLE_AS_SELECT"}, {}, "only a SELECT reads one"),
        ({}, {"parts": (1,)}, "only a SELECT reads one"),
        ({}, {"scans": "past"}, "no earlier state"),
    ],
)
async def test_only_a_plain_query_reads_a_result(
    job: Any, facts: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    if changes.get("scans"):
        changes = {"scans": (Scan(0, 1, result_table(job), past=True),)}
    analysed = reading(job, msgspec.structs.replace(reading(job).facts, **facts), **changes)
    with pytest.raises(RefusedError, match=said):
        await read_by(job, analysed)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"statement": "SCRIPT"}, "no result of a SELECT"),
        ({"metadata": (CUSTOMERS,)}, "with a wildcard, a routine or INFORMATION_SCHEMA"),
        ({"wildcards": (CUSTOMERS,)}, "with a wildcard, a routine or INFORMATION_SCHEMA"),
        ({"routines": (1,)}, "with a wildcard, a routine or INFORMATION_SCHEMA"),
    ],
)
async def test_the_result_of_a_query_that_is_not_plain_is_not_read(
    bench: Any, facts: dict[str, Any], said: str
) -> None:
    job = made(bench, msgspec.structs.replace(FACTS, **facts))
    with pytest.raises(RefusedError, match=said):
        await read_by(job)


@pytest.mark.parametrize(
    "changes", [{"session": "s1"}, {"creates_session": True}, {"into": "into"}], ids=str
)
async def test_rows_that_may_come_of_what_others_have_made_are_not_read(
    bench: Any, changes: dict[str, Any]
) -> None:
    changes = {name: bench.into if value == "into" else value for name, value in changes.items()}
    job = made(bench, request=bench.request(**changes))
    with pytest.raises(RefusedError, match="no result of a SELECT"):
        await read_by(job)


async def test_the_rows_of_a_statement_of_a_script_are_not_read(bench: Any) -> None:
    with pytest.raises(RefusedError, match="no result of a SELECT"):
        await read_by(made(bench, child=Child("script", "keystile_1", ())))


def now(**changes: Any) -> Decision:
    return Decision(Effect.ALLOW, (), "p2", **({"masks": MASKS} | changes))


@pytest.mark.parametrize(
    ("decision", "labels"),
    [
        (now(masks=(*MASKS, ColumnMask(EMAIL, "pii.email", NullMask()))), LABELS),
        (now(masks=(ColumnMask(SSN, "pii.ssn", KeepLastMask(4)),)), LABELS),
        (now(), {}),
        (now(), LABELS | {str(EMAIL): ("pii.email",)}),
        (now(row_filters=(FILTER,)), LABELS),
    ],
    ids=["another mask", "another way to mask", "no label", "another label", "fewer rows"],
)
async def test_rows_that_would_look_otherwise_now_are_not_read(
    job: Any, decision: Decision, labels: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(RefusedError, match="has changed since they were read"):
        refuse_changed(await read_by(job), decision, labels)


@pytest.mark.parametrize(
    "masks", [MASKS, (), (*MASKS, ColumnMask(ColumnRef(CUSTOMERS, ("phone",)), "p", NullMask()))]
)
async def test_rows_in_which_as_much_is_masked_are_read(
    job: Any, masks: tuple[ColumnMask, ...]
) -> None:
    refuse_changed(await read_by(job), now(masks=masks), LABELS)


class BigQuery(OneAccount):
    def __init__(self, status: JobStatus | None) -> None:
        super().__init__()
        self.status = status

    async def wait(self, *_: object) -> JobStatus:
        if self.status is None:
            raise NotFoundError("no")
        return self.status


async def test_a_result_lies_where_bigquery_says(job: Any) -> None:
    at = TableId("acme-shop", "_x", "anon9")
    fake: Any = BigQuery(JobStatus(done=True, result=at))
    assert await places(fake, ACCOUNT, await read_by(job)) == (Place(result_table(job), at),)


@pytest.mark.parametrize("status", [None, JobStatus(done=True)])
async def test_a_result_that_bigquery_has_dropped_says_so(
    job: Any, status: JobStatus | None
) -> None:
    fake: Any = BigQuery(status)
    with pytest.raises(RefusedError, match="no longer keeps the rows"):
        await places(fake, ACCOUNT, await read_by(job))


async def test_a_result_of_another_account_is_not_read(job: Any) -> None:
    at = TableId("acme-shop", "_x", "anon9")
    fake: Any = BigQuery(JobStatus(done=True, result=at))
    with pytest.raises(RefusedError, match="no longer keeps the rows"):
        await places(fake, Account("coding", ACCOUNT.name), await read_by(job))
