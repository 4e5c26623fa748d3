"""The real analysis, policy and masking; the tables are those of the test."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.accounts import OneAccount

from keystile.analysis.analyst import Analyst
from keystile.gate.planning import Planner
from keystile.gate.shares import Shares
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import (
    Argument,
    Field,
    Inherited,
    Mode,
    Routine,
    RoutineId,
    RoutineKind,
    SqlType,
    Table,
    TableId,
    TableKind,
)
from keystile.policy.compile import compile_policy
from keystile.telemetry.metrics import Metrics
from keystile.upstream.values import ListedTable
from keystile.wire.into import into_of
from keystile.wire.requests import QueryRequest
from keystile.wire.transfers import transfer_of

POLICY = compile_policy(
    {
        "p.yaml": """
labels:
  - {label: pii.ssn, columns: [people.ssn]}
  - {label: pii.mail, columns: [people.contacts.mail, "letters_*.mail"]}
  - {label: secret, columns: [seen.hidden]}
rules:
  - name: all
    allow: [read, write, schema_change, script, session, routine]
  - name: trusted
    agents: {groups: [trusted]}
    allow: [read, schema_change]
    unmask: [pii, secret]
  - name: half
    agents: {groups: [half]}
    allow: [read]
    unmask: [pii.mail]
  - name: ask
    agents: {groups: [asking]}
    when: query.touches("pii.ssn")
    require_approval: {from: [people], unmask: [pii.ssn]}
"""
    }
)


def table(name: str, *fields: Field, **more: Any) -> Table:
    return Table(TableId("p", "d", name), more.pop("kind", TableKind.TABLE), fields, "1", **more)


CONTACTS = Field(
    "contacts", "STRUCT", Mode.REPEATED, (Field("kind", "STRING"), Field("mail", "STRING"))
)
PEOPLE = table("people", Field("id", "INT64"), Field("ssn", "STRING"), CONTACTS)
TABLES = (
    PEOPLE,
    table("out", Field("id", "INT64"), Field("a", "STRING"), Field("b", "STRING")),
    table("letters_1", Field("mail", "STRING")),
    table(
        "copied",
        Field("c", "STRUCT", fields=(Field("D", "STRING"), Field("e", "STRING"))),
        inherited=(Inherited(("c", "d"), "pii.ssn"),),
    ),
    table(
        "seen",
        Field("number", "STRING"),
        Field("hidden", "INT64"),
        kind=TableKind.VIEW,
        view_query="SELECT ssn AS number, id AS hidden FROM d.people",
    ),
    table("made", Field("x", "STRING"), inherited=(Inherited(("x",), "pii.ssn", derived=True),)),
    table("emptied", Field("a", "STRING"), former=(Inherited(("a",), "pii.ssn"),)),
)
NUMBERS = Routine(
    RoutineId("p", "d", "top"),
    RoutineKind.SCALAR,
    "SQL",
    (Argument("x", SqlType("STRING")),),
    "(SELECT MAX(ssn) FROM d.people WHERE ssn > x)",
    returns=SqlType("STRING"),
)


class FakeBigQuery(OneAccount):
    """Knows the tables above."""

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        for one in TABLES:
            if one.id == id:
                return one
        raise NotFoundError(f"Not found: Table {id}")

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        home = (project, dataset)
        return tuple(ListedTable(one.id, one.kind, 0) for one in TABLES if home == ("p", "d"))

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the word of the port
        if id != NUMBERS.id:
            raise NotFoundError(f"Not found: Routine {id}")
        return NUMBERS


@pytest.fixture(scope="session")
def planner() -> Planner:
    runner, bigquery = InlineRunner(), FakeBigQuery()
    rewriter: Any = Rewriter(runner, always(bytes(range(32))))
    stands_for: Any = bigquery
    return Planner(
        Analyst(runner, 262_144), lambda: POLICY, rewriter, stands_for, Shares(2, 2), Metrics()
    )


def agent(*groups: str) -> Principal:
    return Principal("https://issuer.example", "s", "agent", "run-1", groups=groups)


async def given(planner: Planner, request: QueryRequest, who: str = "trusted") -> set[str]:
    decided = await planner.decide(agent(who), request)
    return {
        f"{one.column}: {one.label}{'!' * one.derived}".removeprefix("p.d.")
        for one in decided.inherits
    }


@pytest.mark.parametrize(
    ("sql", "labels"),
    [
        ("SELECT ssn FROM d.people", set()),
        ("CREATE TABLE d.t AS SELECT id FROM d.people", set()),
        ("CREATE TABLE d.t AS SELECT id, ssn AS x FROM d.people", {"t.x: pii.ssn"}),
        ("CREATE TABLE d.t (y STRING) AS SELECT ssn FROM d.people", {"t.y: pii.ssn"}),
        ("CREATE OR REPLACE TABLE d.out AS SELECT ssn AS a FROM d.people", {"out.a: pii.ssn"}),
        (
            "CREATE TABLE d.t AS SELECT * FROM d.people",
            {"t.ssn: pii.ssn", "t.contacts.mail: pii.mail"},
        ),
        (
            "CREATE TABLE d.t AS SELECT TO_JSON_STRING(p) AS j FROM d.people AS p",
            {"t.j: pii.ssn!", "t.j: pii.mail!"},
        ),
        (
            "CREATE TABLE d.t AS SELECT c.mail AS m, c.kind AS k FROM d.people, UNNEST(contacts) c",
            {"t.m: pii.mail"},
        ),
        ("CREATE TABLE d.t AS SELECT COUNT(DISTINCT ssn) AS n FROM d.people", {"t.n: pii.ssn!"}),
        ("CREATE TABLE d.t AS SELECT IF(ssn = 'x', 1, 2) AS n FROM d.people", {"t.n: pii.ssn!"}),
        ("INSERT INTO d.out (id, b) SELECT id, ssn FROM d.people", {"out.b: pii.ssn"}),
        ("INSERT INTO d.out (b) VALUES ((SELECT MAX(ssn) FROM d.people))", {"out.b: pii.ssn!"}),
        (
            "UPDATE d.out AS o SET a = p.ssn FROM d.people AS p WHERE p.id = o.id",
            {"out.a: pii.ssn!"},
        ),
        (
            """
            MERGE d.out AS o USING d.people AS p ON p.id = o.id
            WHEN MATCHED THEN UPDATE SET a = p.ssn
            WHEN NOT MATCHED THEN INSERT (id, b) VALUES (p.id, p.ssn)
            """,
            {"out.a: pii.ssn!", "out.b: pii.ssn!"},
        ),
        ("CREATE TABLE d.t AS SELECT x AS y FROM d.made", {"t.y: pii.ssn!"}),
        ("CREATE TABLE d.t COPY d.made", {"t.x: pii.ssn!"}),
        ("CREATE TABLE d.t CLONE d.people", {"t.ssn: pii.ssn", "t.contacts.mail: pii.mail"}),
        ("CREATE TABLE d.t COPY d.people", {"t.ssn: pii.ssn", "t.contacts.mail: pii.mail"}),
        (
            "CREATE SNAPSHOT TABLE d.t CLONE d.people",
            {"t.ssn: pii.ssn", "t.contacts.mail: pii.mail"},
        ),
        ("CREATE TABLE d.t LIKE d.people", set()),
        ("ALTER TABLE d.people RENAME COLUMN ssn TO number", {"people.number: pii.ssn"}),
        ("CREATE TABLE d.t AS SELECT number FROM d.seen", {"t.number: pii.ssn"}),
        # By the label of the view alone: beneath it the column has none.
        ("CREATE TABLE d.t AS SELECT hidden AS x FROM d.seen", {"t.x: secret"}),
        ("INSERT INTO d.out (id) SELECT hidden FROM d.seen", {"out.id: secret"}),
        ("CREATE VIEW d.v AS SELECT ssn FROM d.people", set()),
        ("CREATE TABLE d.t AS SELECT mail FROM `d.letters_*`", {"t.mail: pii.mail"}),
        ("CREATE TABLE d.t AS SELECT d.top('x') AS y", {"t.y: pii.ssn!"}),
        ("CREATE TABLE d.t AS SELECT c.d AS x, c.e AS y FROM d.copied", {"t.x: pii.ssn"}),
        ("CREATE TABLE d.t AS SELECT c FROM d.copied", {"t.c.D: pii.ssn"}),
        ("CREATE TABLE d.t COPY d.copied", {"t.c.D: pii.ssn"}),
        (
            """
            DECLARE s STRING; SET s = (SELECT MAX(ssn) FROM d.people);
            INSERT INTO d.out (a) VALUES (s)
            """,
            {"out.a: pii.ssn!"},
        ),
        (
            "CREATE TEMP TABLE x AS SELECT ssn FROM d.people; CREATE TABLE d.t AS SELECT * FROM x",
            {"t.ssn: pii.ssn!"},
        ),
        (
            """
            CREATE TABLE d.t AS SELECT ssn AS x FROM d.people;
            CREATE TABLE d.u AS SELECT x AS y FROM d.t; INSERT INTO d.out (a) SELECT y FROM d.u
            """,
            {"t.x: pii.ssn", "u.y: pii.ssn!", "out.a: pii.ssn!"},
        ),
    ],
)
async def test_a_label_goes_with_the_value(planner: Planner, sql: str, labels: set[str]) -> None:
    assert await given(planner, QueryRequest(sql, "p")) == labels


SQL = "CREATE TABLE d.t AS SELECT * FROM d.people"


@pytest.mark.parametrize(
    ("who", "labels"),
    [
        ("nobody", set()),
        ("half", {"t.contacts.mail: pii.mail"}),
        ("asking", {"t.ssn: pii.ssn"}),
        ("trusted", {"t.contacts.mail: pii.mail", "t.ssn: pii.ssn"}),
    ],
)
async def test_of_what_is_written_masked_nothing_follows(
    planner: Planner, who: str, labels: set[str]
) -> None:
    assert await given(planner, QueryRequest(SQL, "p"), who) == labels


async def test_a_copy_job_takes_the_labels_along(planner: Planner) -> None:
    names = {"projectId": "p", "datasetId": "d"}
    asked = {
        "sourceTable": {**names, "tableId": "people"},
        "destinationTable": {**names, "tableId": "t"},
    }
    transfer = transfer_of("p", "copy", asked)
    request = QueryRequest(transfer.text, "p", transfer=transfer)
    assert await given(planner, request) == {"t.ssn: pii.ssn", "t.contacts.mail: pii.mail"}


@pytest.mark.parametrize("to", ["out", "t"])
async def test_a_result_takes_the_labels_along(planner: Planner, to: str) -> None:
    asked = {"projectId": "p", "datasetId": "d", "tableId": to}
    into = into_of("p", {"destinationTable": asked, "writeDisposition": "WRITE_APPEND"})
    request = QueryRequest("SELECT ssn AS a FROM d.people", "p", into=into)
    assert await given(planner, request) == {f"{to}.a: pii.ssn"}


@pytest.mark.parametrize("sql", ["SELECT a FROM {}", "BEGIN SELECT a FROM {}; END"])
async def test_an_older_state_showed_values_that_were_replaced_since(
    planner: Planner, sql: str
) -> None:
    then = "d.emptied FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-01'"
    decided = await planner.decide(agent(), QueryRequest(sql.format(then), "p"))
    with pytest.raises(RefusedError, match="held labelled values before its rows were replaced"):
        await planner.rewrite(decided)
    decided = await planner.decide(agent(), QueryRequest(sql.format("d.emptied"), "p"))
    assert "keystile" not in (await planner.rewrite(decided)).sql
