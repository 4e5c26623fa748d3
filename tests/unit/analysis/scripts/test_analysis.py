# ruff: noqa: E501, ISC004 - scripts read best on one line
"""Scripts as facts: what they do, read and show, whatever way it goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keystile.analysis.analysed import Analysed
from keystile.model.errors import InvalidQueryError, KeystileError, NotFoundError, RefusedError
from keystile.model.facts import Action, Use
from keystile.model.schema import ColumnRef, Parameter, SqlType, TableId

Analyse = Callable[..., Analysed]
SSN = ColumnRef(TableId("acme-shop", "shop", "customers"), ("ssn",))


def uses(analysed: Analysed, column: ColumnRef = SSN) -> set[Use]:
    return {use for one in analysed.facts.columns if one.column == column for use in one.uses}


@pytest.mark.parametrize(
    "sql",
    [
        "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM customers); SELECT s",
        "DECLARE s STRING; SET s = (SELECT MAX(ssn) FROM customers); SELECT s",
        "CREATE TEMP TABLE t AS SELECT ssn AS a FROM customers; SELECT a FROM t",
        "CREATE TEMP TABLE t (a STRING); INSERT INTO t SELECT ssn FROM customers; SELECT a FROM t",
        "FOR r IN (SELECT ssn AS a FROM customers) DO SELECT r.a; END FOR",
        "DECLARE s STRING; EXECUTE IMMEDIATE 'SELECT MAX(ssn) FROM customers' INTO s; SELECT s",
        "EXECUTE IMMEDIATE 'SELECT @s' USING (SELECT MAX(ssn) FROM customers) AS s",
        "BEGIN SELECT ERROR(ssn) FROM customers; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
        "LOOP SELECT a FROM UNNEST([1]) AS a; IF EXISTS (SELECT 1 FROM customers WHERE ssn = '1')"
        " THEN BREAK; END IF; END LOOP",
    ],
)
def test_what_a_result_derives_from_is_known_through_all_that_carries_it(
    analyse: Analyse, sql: str
) -> None:
    analysed = analyse(sql)
    assert analysed.facts.statement == "SCRIPT"
    assert not analysed.facts.opaque
    assert SSN in analysed.facts.output[-1].sources
    assert uses(analysed)


def test_a_condition_is_a_filter_also_by_a_variable(analyse: Analyse) -> None:
    for sql in (
        "IF (SELECT MAX(ssn) FROM customers) = '1' THEN SELECT 1; END IF",
        "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM customers); IF s = '1' THEN SELECT 1; END IF",
        "EXECUTE IMMEDIATE 'SELECT 1 FROM UNNEST([1]) AS a WHERE @s = \"1\"'"
        " USING (SELECT MAX(ssn) FROM customers) AS s",
    ):
        assert Use.FILTER in uses(analyse(sql)), sql


def test_temporary_tables_are_the_scripts_own_business(analyse: Analyse) -> None:
    facts = analyse(
        "CREATE TEMP TABLE t AS SELECT id FROM customers; DELETE FROM t WHERE TRUE; DROP TABLE t"
    ).facts
    assert facts.reads == (TableId("acme-shop", "shop", "customers"),)
    assert facts.writes == ()
    assert set(facts.actions) == {Action.READ, Action.SCRIPT}


def test_what_a_script_does_beyond_is_the_sum_of_its_statements(analyse: Analyse) -> None:
    facts = analyse("SELECT 1; BEGIN TRANSACTION; DELETE FROM orders WHERE TRUE; COMMIT").facts
    assert set(facts.actions) == {Action.READ, Action.WRITE, Action.SCRIPT, Action.SESSION}
    assert facts.writes == (TableId("acme-shop", "shop", "orders"),)


def test_every_query_may_give_the_result(analyse: Analyse) -> None:
    analysed = analyse(
        "SELECT 1 AS a; IF TRUE THEN SELECT 'x' AS b; END IF; CREATE TEMP TABLE t AS SELECT 2 AS c"
    )
    assert [[(field.name, field.type) for field in schema] for schema in analysed.results] == [
        [("a", "INT64")],
        [("b", "STRING")],
    ]


def test_a_variable_is_what_no_column_is(analyse: Analyse) -> None:
    assert SSN in analyse("DECLARE ssn STRING; SELECT ssn FROM customers").facts.output[0].sources
    assert uses(analyse("DECLARE ssn STRING; SELECT @@row_count, ssn")) == set()


def test_names_mean_what_they_mean_at_their_place(analyse: Analyse) -> None:
    before = "SELECT ssn FROM customers; CREATE TEMP TABLE customers AS SELECT 'x' AS ssn"
    after = "CREATE TEMP TABLE customers AS SELECT 'x' AS ssn; SELECT ssn FROM customers"
    beside = "CREATE TEMP TABLE customers AS SELECT 'x' AS ssn; SELECT ssn FROM shop.customers"
    assert uses(analyse(before)) == uses(analyse(beside)) == {Use.OUTPUT}
    assert uses(analyse(after)) == set()


@pytest.mark.parametrize(
    ("sql", "error", "words"),
    [
        ("SET x = 1", InvalidQueryError, r"Undeclared variable: x at \[1:5\]"),
        ("SELECT 1;\n SELECT nope FROM customers", InvalidQueryError, r"nope.* \[2:9\]"),
        ("SELECT 1;\nSELECT * FROM nothing", NotFoundError, "2:15"),
        ("BEGIN DECLARE x INT64; END; SELECT x", InvalidQueryError, r"x at \[1:36\]"),
        ("DECLARE x INT64; EXECUTE IMMEDIATE 'SELECT x'", InvalidQueryError, "name: x"),
        ("EXECUTE IMMEDIATE 'SELEC 1'", InvalidQueryError, r"sql string at \[1:19\]"),
        ("EXECUTE IMMEDIATE 'SELECT @p'", InvalidQueryError, "p"),
        ("CREATE TEMP TABLE t AS SELECT 1 AS a; DROP TABLE t; SELECT * FROM t", NotFoundError, "t"),
        ("SELECT * FROM _SESSION.t; SELECT 1", NotFoundError, "make it before"),
        ("SELECT 1;" * 1001, RefusedError, "more than 1,000"),
    ],
)
def test_an_error_says_where_in_the_script(
    analyse: Analyse, sql: str, error: type[KeystileError], words: str
) -> None:
    with pytest.raises(error, match=words):
        analyse(sql)


@pytest.mark.parametrize(
    ("sql", "what", "place"),
    [
        ("SELECT 1;\n  CALL shop.p()", "CALL", (2, 3)),
        ("DECLARE s STRING;\nEXECUTE IMMEDIATE s", "EXECUTE IMMEDIATE", (2, 19)),
        ("SELECT 1; SET @@time_zone = 'UTC'", "@@time_zone", (1, 11)),
        ("SELECT 1; RETURN;\nGRANT `roles/x` ON TABLE customers TO 'a'", "GRANT", (2, 1)),
        ("EXECUTE IMMEDIATE 'ROLLBACK'", "transaction", (1, 1)),
    ],
)
def test_what_is_not_understood_is_named_with_its_place(
    analyse: Analyse, sql: str, what: str, place: tuple[int, int]
) -> None:
    (found,) = analyse(sql).facts.opaque
    assert what in found.what
    assert (found.line, found.column) == place


def test_statements_are_split_as_bigquery_splits_them(analyse: Analyse) -> None:
    analysed = analyse("SELECT ';' /* ; */; -- ;\nSELECT '''x;''' AS b, r';' # ;\n;")
    assert len(analysed.parts) == 2
    assert analysed.parts[0].part.sql == "SELECT ';'"


def test_each_text_has_its_own_positional_parameters(analyse: Analyse) -> None:
    given = tuple(Parameter("", SqlType(kind), {}) for kind in ("INT64", "STRING", "BOOL"))
    analysed = analyse("DECLARE a INT64 DEFAULT ?; SELECT ?; IF ? THEN SELECT 1; END IF", given)
    types = [
        [str(parameter.type) for parameter in part.analysed.statement.parameters]
        for part in analysed.parts
    ]
    assert [each for each in types if each] == [["INT64"], ["STRING"], ["BOOL"]]


def test_constant_texts_are_joined_and_nothing_else_is(analyse: Analyse) -> None:
    for text in ("'SELECT ' || 'ssn FROM customers'", "CONCAT('SELECT ssn', ' FROM customers')"):
        assert uses(analyse(f"EXECUTE IMMEDIATE {text}")) == {Use.OUTPUT}
    for text in (
        "UPPER('select 1')",
        "IF(TRUE, 'SELECT 1', '')",
        "'SELECT ' || @@row_count",
        "NULL",
    ):
        assert analyse(f"EXECUTE IMMEDIATE {text}").facts.opaque
