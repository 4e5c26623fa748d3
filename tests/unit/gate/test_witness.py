from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate.witness import agree, agree_at_the_end, without_temporary
from keystile.model.errors import RefusedError
from keystile.model.facts import Action, QueryFacts, ViewReads
from keystile.model.schema import Field, Mode, RoutineId, TableId
from keystile.upstream.values import DryRun

TABLE, OTHER = TableId("p", "d", "t"), TableId("p", "d", "secret")
THIRD = TableId("p", "d", "third")
SCHEMA = (Field("id", "INT64"), Field("tags", "STRING", Mode.REPEATED))
FACTS = QueryFacts("SELECT", (Action.READ,), reads=(TABLE,))


def said(**changes: Any) -> DryRun:
    values: dict[str, Any] = {
        "statement_type": "SELECT",
        "referenced_tables": (TABLE,),
        "schema": SCHEMA,
        "bytes_processed": 1,
    }
    return DryRun(**(values | changes))


def test_two_who_say_the_same_agree() -> None:
    agree(FACTS, SCHEMA, said())


def test_descriptions_and_nullability_do_not_matter() -> None:
    described = (Field("id", "INT64", Mode.REQUIRED, description="key"), SCHEMA[1])
    agree(FACTS, SCHEMA, said(schema=described))


DISAGREEMENTS = {
    "another statement": ({"statement_type": "SCRIPT"}, "`SCRIPT` there and `SELECT` here"),
    "one table more": ({"referenced_tables": (TABLE, OTHER)}, "differ in `p.d.secret`"),
    "one table less": ({"referenced_tables": ()}, "differ in `p.d.t`"),
    "another table": ({"referenced_tables": (OTHER,)}, "`p.d.secret`, `p.d.t`"),
    "one column more": ({"schema": (*SCHEMA, Field("ssn", "STRING"))}, "columns differ"),
    "another order": ({"schema": SCHEMA[::-1]}, "columns differ"),
    "another name": ({"schema": (Field("ssn", "INT64"), SCHEMA[1])}, "columns differ"),
    "another type": ({"schema": (Field("id", "STRING"), SCHEMA[1])}, "columns differ"),
    "no array": ({"schema": (SCHEMA[0], Field("tags", "STRING"))}, "columns differ"),
}


OF_ROUTINE = msgspec.structs.replace(
    FACTS, reads=(TABLE, OTHER), routines=(RoutineId("p", "d", "f"),), through_routines=(OTHER,)
)


@pytest.mark.parametrize("named", [(TABLE,), (TABLE, OTHER)])
def test_what_the_text_of_a_routine_reads_may_be_named(named: tuple[TableId, ...]) -> None:
    agree(OF_ROUTINE, SCHEMA, said(referenced_tables=named))


@pytest.mark.parametrize("named", [(OTHER,), (TABLE, THIRD), (TABLE, OTHER, THIRD)])
def test_what_nobody_knows_of_a_routine_is_refused_and_not_named(
    named: tuple[TableId, ...],
) -> None:
    with pytest.raises(RefusedError, match="tables differ") as error:
        agree(OF_ROUTINE, SCHEMA, said(referenced_tables=named))
    assert "third" not in str(error.value)


EVENTS, DAY, NIGHT = (TableId("p", "d", name) for name in ("events_*", "events_1", "events_2"))
OF_WILDCARD = QueryFacts("SELECT", (Action.READ,), reads=(DAY, NIGHT, TABLE), wildcards=(EVENTS,))


@pytest.mark.parametrize("named", [(EVENTS,), (DAY, NIGHT), (NIGHT,)])
def test_a_wildcard_may_be_named_itself_or_by_tables_of_it(named: tuple[TableId, ...]) -> None:
    agree(OF_WILDCARD, SCHEMA, said(referenced_tables=(*named, TABLE)))


@pytest.mark.parametrize(
    ("named", "odd"),
    [
        ((TABLE,), "p.d.events_*"),
        ((EVENTS,), "p.d.t"),
        ((EVENTS, OTHER, TABLE), "p.d.secret"),
        ((DAY, TableId("p", "d", "events_3"), TABLE), "p.d.events_3"),
    ],
)
def test_no_more_and_no_less_than_a_wildcard_is_read(named: tuple[TableId, ...], odd: str) -> None:
    with pytest.raises(RefusedError) as error:
        agree(OF_WILDCARD, SCHEMA, said(referenced_tables=named))
    assert f"the tables differ in `{odd}`" in error.value.message


OUTER, INNER = TableId("p", "v", "outer"), TableId("p", "v", "inner")
OF_VIEWS = QueryFacts(
    "SELECT",
    (Action.READ,),
    reads=(INNER, OUTER, DAY, NIGHT, TABLE),
    wildcards=(EVENTS,),
    views=(ViewReads(INNER, (EVENTS,)), ViewReads(OUTER, (INNER, TABLE))),
)


@pytest.mark.parametrize(
    "named",
    [
        (OUTER, INNER, EVENTS, TABLE),  # views and all that they read
        (EVENTS, TABLE),  # tables only
        (NIGHT, TABLE),
        (OUTER,),  # as where the gateway may see the view and not what it reads
        (OUTER, TABLE),
        (INNER, TABLE),
    ],
)
def test_a_view_may_be_named_itself_or_by_what_it_reads(named: tuple[TableId, ...]) -> None:
    agree(OF_VIEWS, SCHEMA, said(referenced_tables=named))


@pytest.mark.parametrize(
    ("named", "odd"),
    [
        ((TABLE,), "differ in `p.d.events_*`"),
        ((INNER,), "differ in `p.d.t`, `p.v.outer`;"),
        ((), "differ in `p.d.events_*`"),
    ],
)
def test_every_view_or_what_it_reads_is_named(named: tuple[TableId, ...], odd: str) -> None:
    with pytest.raises(RefusedError) as error:
        agree(OF_VIEWS, SCHEMA, said(referenced_tables=named))
    assert odd in str(error.value)


def test_a_table_that_a_view_reads_by_now_is_refused_and_not_named() -> None:
    with pytest.raises(RefusedError) as error:
        agree(OF_VIEWS, SCHEMA, said(referenced_tables=(OUTER, OTHER)))
    assert "the tables differ;" in str(error.value)


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_a_disagreement_is_refused(case: str) -> None:
    changes, words = DISAGREEMENTS[case]
    with pytest.raises(RefusedError, match="do not read this query alike") as error:
        agree(FACTS, SCHEMA, said(**changes))
    assert words in str(error.value)


INSERT = QueryFacts("INSERT", (Action.WRITE,), reads=(OTHER,), writes=(TABLE,))


@pytest.mark.parametrize("tables", [(OTHER,), (OTHER, TABLE)])
def test_a_statement_that_is_no_query_has_no_columns_to_compare(tables: tuple[TableId]) -> None:
    agree(INSERT, (), said(statement_type="INSERT", schema=(), referenced_tables=tables))
    with pytest.raises(RefusedError):
        agree(INSERT, (), said(statement_type="MERGE", schema=(), referenced_tables=tables))


@pytest.mark.parametrize(
    ("facts", "tables"),
    [
        (INSERT, (TABLE,)),
        (INSERT, (OTHER, THIRD)),
        (QueryFacts("CREATE_VIEW", (), reads=(OTHER,), writes=(TABLE,)), (OTHER, THIRD)),
        (QueryFacts("TRUNCATE_TABLE", (), writes=(TABLE,)), (TABLE, OTHER)),
        (QueryFacts("EXPORT_DATA", ()), (OTHER,)),
    ],
)
def test_a_statement_that_reads_another_table_there_is_refused(
    facts: QueryFacts, tables: tuple[TableId]
) -> None:
    """A source that only BigQuery sees would be read without its masks."""
    with pytest.raises(RefusedError, match="the tables differ"):
        agree(
            facts,
            (),
            said(statement_type=facts.statement, schema=(), referenced_tables=tables),
        )


def test_a_target_that_is_read_need_not_be_named_there() -> None:
    facts = QueryFacts("UPDATE", (Action.WRITE,), reads=(TABLE,), writes=(TABLE,))
    for tables in ((), (TABLE,)):
        agree(facts, (), said(statement_type="UPDATE", schema=(), referenced_tables=tables))


def test_a_column_that_came_while_the_query_ran_withholds_the_result() -> None:
    facts = QueryFacts("SELECT", (Action.READ,))
    planned = (Field("id", "INT64"),)
    agree_at_the_end(facts, planned, planned)
    with pytest.raises(RefusedError, match="other columns while it ran"):
        agree_at_the_end(facts, planned, (*planned, Field("ssn", "STRING")))


def test_a_sessions_own_tables_are_left_out_and_no_others() -> None:
    kept, other = TableId("p", "_hidden", "Kept"), TableId("p", "_hidden", "other")
    seen = TableId("p", "d", "kept")
    witness = said(referenced_tables=(TABLE, kept, other, seen))
    left = without_temporary(witness, ("kept",))
    assert left.referenced_tables == (TABLE, other, seen)
