"""The real analysis and masking; only BigQuery is played."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.gate.into import analysed_into, refuse_hidden, writing
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask, Decision, Effect, RowFilter
from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.facts import Action
from keystile.model.masks import DefaultMask
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind
from keystile.upstream.values import JobStatus
from keystile.wire.into import Into, into_of


def named(table: str, dataset: str = "shop") -> TableId:
    return TableId("acme-shop", dataset, table)


CUSTOMERS = Table(
    named("customers"), TableKind.TABLE, (Field("id", "INT64"), Field("SSN", "STRING")), "1"
)
LOG = Table(named("log"), TableKind.TABLE, (Field("Text", "STRING"), Field("n", "INT64")), "1")
VIEW = Table(named("seen"), TableKind.VIEW, (Field("id", "INT64"),), "1", "SELECT 1 AS id")
READ, WRITE, SCHEMA = Action.READ, Action.WRITE, Action.SCHEMA_CHANGE


class Objects:
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        known = {table.id: table for table in (CUSTOMERS, LOG, VIEW)}
        if id not in known:
            raise NotFoundError(f"Not found: Table {id}")
        return known[id]

    async def routine(self, id: Any) -> Any:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Routine {id}")


OBJECTS: Any = Objects()


@pytest.fixture(scope="module")
def runner() -> InlineRunner:
    return InlineRunner()


def into(table: str = "new", **more: Any) -> Into:
    reference = {"datasetId": "shop", "tableId": table}
    found = into_of("acme-shop", {"destinationTable": reference, **more})
    assert found is not None
    return found


async def analysed(runner: InlineRunner, sql: str, into: Into) -> Analysed:
    statement = Statement(sql, "acme-shop", "shop", ())
    found = await Analyst(runner, 100_000).analyse(statement, OBJECTS)
    return await analysed_into(found, into, OBJECTS)


@pytest.mark.parametrize(
    ("target", "actions"),
    [
        (into(), {READ, WRITE, SCHEMA}),
        (into(createDisposition="CREATE_NEVER"), {READ, WRITE}),
        (into("log"), {READ, WRITE}),
        (into("log", writeDisposition="WRITE_APPEND"), {READ, WRITE}),
        (into("log", writeDisposition="WRITE_TRUNCATE_DATA"), {READ, WRITE}),
        (into("log", writeDisposition="WRITE_TRUNCATE"), {READ, WRITE, SCHEMA}),
        (
            into(
                "log",
                writeDisposition="WRITE_APPEND",
                schemaUpdateOptions=["ALLOW_FIELD_RELAXATION"],
            ),
            {READ, WRITE, SCHEMA},
        ),
    ],
)
async def test_it_writes_and_says_where_it_may_make_or_reshape_a_table(
    runner: InlineRunner, target: Into, actions: set[Action]
) -> None:
    facts = (await analysed(runner, "SELECT id FROM customers", target)).facts
    assert set(facts.actions) == actions
    assert facts.writes == (target.table,)
    assert facts.unseen == (() if target.table == LOG.id else facts.writes)
    assert facts.reads == (CUSTOMERS.id,)
    assert facts.statement == "SELECT"


async def test_every_column_that_is_filled_is_told_as_the_table_spells_it(
    runner: InlineRunner,
) -> None:
    sql = "CREATE TEMP FUNCTION f(x STRING) AS (x); SELECT f(ssn) AS text, 1 AS more FROM customers"
    found = await analysed(runner, sql, into("log", writeDisposition="WRITE_APPEND"))
    assert [(str(w.column), [str(s) for s in w.sources]) for w in found.facts.written] == [
        ("acme-shop.shop.log.Text", ["acme-shop.shop.customers.SSN"]),
        ("acme-shop.shop.log.more", []),
    ]


async def test_the_table_is_decided_on_as_it_is_or_as_it_will_be(runner: InlineRunner) -> None:
    sql = "SELECT ssn AS a, ssn AS a FROM customers"
    assert (await analysed(runner, sql, into("log"))).tables == (CUSTOMERS, LOG)
    # One that must be new has no values that a mask could take the place of.
    assert (await analysed(runner, sql, into())).tables == (CUSTOMERS,)
    found = await analysed(runner, sql, into(writeDisposition="WRITE_APPEND"))
    assert found.tables[1].id == named("new")
    assert [field.name for field in found.tables[1].fields] == ["a", "a_1"]


async def test_a_table_that_is_read_as_well_is_one_table(runner: InlineRunner) -> None:
    target = into("customers", writeDisposition="WRITE_TRUNCATE")
    found = await analysed(runner, "SELECT * FROM customers", target)
    assert found.tables == (CUSTOMERS,)
    assert found.facts.reads == found.facts.writes == (CUSTOMERS.id,)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO log (n) VALUES (1)",
        "CREATE TABLE x AS SELECT 1 AS n",
        "SELECT 1; SELECT 2",
        "CREATE TEMP TABLE x AS SELECT 1 AS n",
        "DROP TABLE log",
    ],
)
async def test_another_statement_names_its_table_itself(runner: InlineRunner, sql: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"`destinationTable` is for a SELECT"):
        await analysed(runner, sql, into())


async def test_nothing_but_a_table_is_written_to(runner: InlineRunner) -> None:
    with pytest.raises(InvalidRequestError, match="of type VIEW"):
        await analysed(runner, "SELECT 1 AS n", into("seen"))
    hidden = msgspec.structs.replace(into(), table=named("t", "_hidden"))
    with pytest.raises(NotFoundError):
        await analysed(runner, "SELECT 1 AS n", hidden)


async def test_what_is_not_understood_is_still_policys_to_refuse(runner: InlineRunner) -> None:
    sql = "SELECT SESSION_USER() AS me"
    assert (await analysed(runner, sql, into())).facts.opaque


MASKS = tuple(
    ColumnMask(ColumnRef(table, (name,)), "pii", DefaultMask())
    for table, name in ((CUSTOMERS.id, "SSN"), (LOG.id, "Text"), (named("new"), "text"))
)


@pytest.mark.parametrize(
    ("target", "refused"),
    [
        (into("log"), True),
        (into("log", writeDisposition="WRITE_APPEND"), True),
        (into("log", writeDisposition="WRITE_TRUNCATE"), True),
        (into(writeDisposition="WRITE_TRUNCATE"), True),
        (into(writeDisposition="WRITE_APPEND"), True),
        (into(), False),
    ],
)
async def test_a_mask_was_written_over_values(
    runner: InlineRunner, target: Into, *, refused: bool
) -> None:
    found = await analysed(runner, "SELECT ssn AS text FROM customers", target)
    rewriter = Rewriter(runner, always(bytes(range(32))))
    if refused:
        with pytest.raises(RefusedError, match="its mask would be written over the values"):
            await rewriter.rewrite(found, MASKS)
    else:
        assert (await rewriter.rewrite(found, MASKS)).masked


async def test_what_is_masked_goes_masked_into_an_open_column(runner: InlineRunner) -> None:
    target = into("log", writeDisposition="WRITE_APPEND")
    found = await analysed(runner, "SELECT ssn AS note FROM customers", target)
    rewritten = await Rewriter(runner, always(bytes(range(32)))).rewrite(found, MASKS)
    assert [str(column) for column in rewritten.masked] == ["acme-shop.shop.customers.SSN"]


async def test_a_filter_on_the_table_that_is_written_was_put_into_the_query(
    runner: InlineRunner,
) -> None:
    target = into("log", writeDisposition="WRITE_APPEND")
    found = await analysed(runner, "SELECT 1 AS n", target)
    filters = (RowFilter(LOG.id, "own-rows", "n = 1"),)
    rewritten = await Rewriter(runner, always(bytes(range(32)))).rewrite(found, (), filters)
    assert rewritten.sql == "SELECT 1 AS n"


def test_rows_that_the_agent_does_not_see_were_replaced() -> None:
    filters = (RowFilter(LOG.id, "own-rows", "n = 1"),)
    decision = Decision(Effect.ALLOW, (), "p1", row_filters=filters)
    for word in ("WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"):
        with pytest.raises(RefusedError, match="would replace them"):
            refuse_hidden(into("log", writeDisposition=word), decision)
    for word in ("WRITE_APPEND", "WRITE_EMPTY"):
        refuse_hidden(into("log", writeDisposition=word), decision)


RESULT = TableId("acme-shop", "_hidden", "anon`1")


def test_what_is_written_is_the_result_and_nothing_else(bench: Any) -> None:
    job = bench.a_job(request=bench.request(maximum_bytes_billed=7))
    asked = into("log", writeDisposition="WRITE_APPEND", clustering={"fields": ["n"]})
    query = writing(job, asked, JobStatus(done=True, result=RESULT), 7)
    assert query.sql == r"SELECT * FROM `acme-shop`.`_hidden`.`anon\`1`"
    # Policy was not asked about making a table, and the one that was there may be gone.
    assert query.into == {**asked.configuration, "createDisposition": "CREATE_NEVER"}
    assert (query.location, query.maximum_bytes_billed) == ("US", 7)
    assert query.labels == {"keystile-agent": "demo-agent"}
    facts = msgspec.structs.replace(job.plan.facts, actions=(READ, WRITE, SCHEMA))
    plan = msgspec.structs.replace(job.plan, facts=facts)
    may = writing(
        msgspec.structs.replace(job, plan=plan), asked, JobStatus(done=True, result=RESULT)
    )
    assert may.into == asked.configuration


def test_without_a_result_nothing_is_written(bench: Any) -> None:
    with pytest.raises(RefusedError, match="does not say where it keeps the result"):
        writing(bench.a_job(), into(), JobStatus(done=True))
