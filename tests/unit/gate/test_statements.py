"""Which statement a job of a script was, over the real analysis and masking."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prove.trial import Court, masks_for

from keystile.analysis.places import engine_place
from keystile.analysis.statement import Statement
from keystile.gate.statements import Recogniser, ScriptStatement, statements_of
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking.rewrite import Rewriter
from keystile.model.facts import Action
from keystile.model.schema import ColumnRef, Field, TableId
from keystile.upstream.values import JobRef, ScriptJob
from keystile.wire.scripts import StackFrame, frame_at


@pytest.fixture(scope="session")
def court() -> Court:
    return Court(InlineRunner(), Engine())


class Ran:
    """A script that has run."""

    def __init__(self, sql: str, runs: str, statements: Iterable[ScriptStatement]) -> None:
        self.sql, self.runs = sql, runs
        self.statements = tuple(statements)

    def job(self, one: ScriptStatement, *, shift: int = 0, **more: Any) -> ScriptJob:
        """Give what BigQuery tells of a statement."""
        line, column = engine_place(self.runs, one.at)
        frames = [frame_at((line + shift, column), one.runs)]
        if one.dynamic:
            inner, end = frame_at((1, 1), one.runs), (line + shift, column + 999)
            frames = [inner, StackFrame((line + shift, max(1, column - 18)), end, "EXECUTE …")]
        values: dict[str, Any] = {
            "job": JobRef("acme-shop", "script_job_1"),
            "done": True,
            "sql": one.runs,
            "statement": True,
            "statement_type": one.statement,
            "frames": tuple(frames),
        }
        return ScriptJob(**(values | more))

    def find(self, job: ScriptJob) -> Any:
        return Recogniser(self.sql, self.runs, self.statements).statement(job)


async def ran(court: Court, sql: str) -> Ran:
    analysed = await court.analyst.analyse(Statement(sql, "acme-shop", "shop"), court.source)
    rewriter: Rewriter = court.rewriter
    rewritten = await rewriter.rewrite(analysed, masks_for(analysed))
    assert not analysed.facts.opaque
    masked = tuple(ref for ref in rewritten.masked)
    return Ran(sql, rewritten.sql, statements_of(analysed, rewritten.parts, masked))


EVERYTHING = """-- é\tü
DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM customers);
CREATE TEMP TABLE t AS SELECT id, ssn FROM customers;
\tSELECT 'é' AS e, ssn FROM customers; SELECT ssn
  FROM t WHERE ssn = s;
FOR r IN (SELECT id FROM customers) DO SELECT r.id; END FOR;
IF EXISTS (SELECT 1 FROM customers) THEN INSERT INTO t SELECT id, ssn FROM customers; END IF;
EXECUTE IMMEDIATE 'SELECT note FROM orders';
EXECUTE IMMEDIATE 'SELECT MAX(note) FROM orders' INTO s;
SELECT 1 AS one;"""


async def test_statements_are_those_of_the_agents_text(court: Court) -> None:
    script = await ran(court, EVERYTHING)
    assert [one.sql for one in script.statements] == [
        "CREATE TEMP TABLE t AS SELECT id, ssn FROM customers",
        "SELECT 'é' AS e, ssn FROM customers",
        "SELECT ssn\n  FROM t WHERE ssn = s",
        "SELECT r.id",
        "INSERT INTO t SELECT id, ssn FROM customers",
        "SELECT note FROM orders",
        "SELECT 1 AS one",
    ]
    data, runs = EVERYTHING.encode(), script.runs.encode()
    for one in script.statements:
        if not one.dynamic:
            assert data[one.start : one.end].decode() == one.sql
            assert runs[one.at :].decode().startswith(one.runs)
    assert [len(one.schema) for one in script.statements] == [0, 2, 1, 1, 0, 1, 1]


async def test_each_job_is_recognised_and_told_in_the_agents_words(court: Court) -> None:
    script = await ran(court, EVERYTHING)
    assert script.runs != EVERYTHING
    for one in script.statements:
        found = script.find(script.job(one))
        assert found.statement == one
        if one.dynamic:
            assert found.frames == ()
            continue
        (frame,) = found.frames
        assert frame.text == one.sql
        assert frame.start == engine_place(EVERYTHING, one.start)
    tabbed = script.find(script.job(script.statements[1])).frames[0]
    assert (tabbed.start, tabbed.end) == ((4, 9), (4, 44))


async def test_what_may_hold_masked_values_is_known_of_each(court: Court) -> None:
    script = await ran(court, EVERYTHING)
    by_text = {one.sql: one for one in script.statements}
    ssn = ColumnRef(TableId("acme-shop", "shop", "customers"), ("ssn",))
    assert ssn in by_text["SELECT 'é' AS e, ssn FROM customers"].masked
    assert ssn in by_text["SELECT ssn\n  FROM t WHERE ssn = s"].masked
    assert ssn not in by_text["SELECT note FROM orders"].masked
    assert by_text["SELECT 1 AS one"].masked == ()
    assert by_text["SELECT 1 AS one"].reads == ()
    facts = by_text["INSERT INTO t SELECT id, ssn FROM customers"].facts
    assert (facts.statement, facts.writes) == ("INSERT", ())
    assert Action.WRITE in facts.actions


async def test_a_text_that_is_a_query_has_no_statements(court: Court) -> None:
    for sql in (
        "SELECT ssn FROM customers",
        "CREATE TEMP FUNCTION f(x INT64) AS (x + 1); SELECT f(1)",
    ):
        assert (await ran(court, sql)).statements == ()


async def test_what_is_no_statement_of_the_script_is_not_recognised(court: Court) -> None:
    script = await ran(court, EVERYTHING)
    one = script.statements[1]
    for job in (
        script.job(one, statement=False),
        script.job(one, statement_type="INSERT"),
        script.job(one, sql="SELECT 2", frames=()),
        script.job(one, sql=one.sql, frames=()),  # as the agent wrote it: that never ran
        script.job(one, sql="(SELECT MAX(ssn) FROM customers)", frames=()),
        script.job(one, frames=(StackFrame((1, 1), (1, 2), one.runs, "p.d.r"),)),
        script.job(one, sql="", frames=()),
    ):
        assert script.find(job) is None


async def test_a_place_that_does_not_fit_is_not_told(court: Court) -> None:
    script = await ran(court, EVERYTHING)
    one = script.statements[1]
    for job in (script.job(one, shift=90), script.job(one, frames=())):
        found = script.find(job)
        assert (found.statement, found.frames) == (one, ())


async def test_the_same_text_twice_is_told_apart_by_its_place(court: Court) -> None:
    script = await ran(court, "SELECT 1 AS x;\nSELECT 1 AS x")
    first, second = script.statements
    assert script.find(script.job(second)).frames[0].start == (2, 1)
    assert script.find(script.job(first)).frames[0].start == (1, 1)
    # Without a place it is either: what they are is the same.
    assert script.find(script.job(second, frames=())).frames == ()


async def test_of_texts_that_mean_different_things_none_is_guessed(court: Court) -> None:
    sql = "BEGIN DECLARE x INT64; SELECT x; END;\nBEGIN DECLARE x STRING; SELECT x; END"
    script = await ran(court, sql)
    second = script.statements[1]
    assert second.schema == (Field("x", "STRING"),)
    assert script.find(script.job(second)).statement == second
    assert script.find(script.job(second, frames=())) is None


async def test_a_semicolon_and_spaces_around_do_not_matter(court: Court) -> None:
    script = await ran(court, EVERYTHING)
    one = script.statements[1]
    job = script.job(one, sql=f"\n {one.runs} ;\n", frames=())
    assert script.find(job).statement == one


def test_a_long_script_that_has_run_much_takes_no_long_time() -> None:
    texts = [f"SELECT {n % 2} AS x" for n in range(1000)]
    sql, at, statements = ";\n".join(texts), 0, []
    for text in texts:
        end = at + len(text)
        statements.append(ScriptStatement(text, text, at, end, at, False, "SELECT", ()))  # noqa: FBT003 - not dynamic
        at = end + 2
    recogniser = Recogniser(sql, sql, tuple(statements))
    script = Ran(sql, sql, ())
    jobs = [script.job(one) for one in statements]
    begun = time.perf_counter()
    found = [recogniser.statement(job) for job in jobs]
    assert time.perf_counter() - begun < 5
    assert [one and one.statement for one in found] == statements
    assert recogniser.statement(script.job(statements[7], frames=())) is not None


@given(st.data())
def test_no_job_is_ever_told_in_words_that_the_agent_has_not_written(data: st.DataObject) -> None:
    texts = st.sampled_from(["SELECT a", "SELECT b", "SELECT (SELECT masked)", "", ";"])
    kinds = st.sampled_from(["SELECT", "INSERT"])
    places = st.tuples(st.integers(0, 4), st.integers(0, 30))
    statements = data.draw(
        st.lists(
            st.builds(
                ScriptStatement,
                sql=st.sampled_from(["SELECT a", "SELECT b"]),
                runs=texts,
                start=st.integers(0, 9),
                end=st.integers(10, 18),
                at=st.integers(0, 50),
                dynamic=st.booleans(),
                statement=kinds,
                actions=st.just(()),
            ),
            max_size=4,
        )
    )
    frames = st.builds(StackFrame, start=places, end=places, text=texts)
    job = ScriptJob(
        JobRef("acme-shop", "j"),
        done=True,
        sql=data.draw(texts),
        statement=True,
        frames=tuple(data.draw(st.lists(frames, max_size=2))),
        statement_type=data.draw(kinds),
    )
    sql, runs = "SELECT a; SELECT b", "SELECT (SELECT masked); SELECT b"
    found = Recogniser(sql, runs, tuple(statements)).statement(job)
    if found is not None:
        assert found.statement in statements
        assert {frame.text for frame in found.frames} <= {found.statement.sql}
