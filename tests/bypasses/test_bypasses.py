# ruff: noqa: E501, ISC004, S608 - queries made of a test's own words, which read best on one line
"""Every known way round the gateway that is SQL. `docs/security/bypasses.md` lists them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prove.evaluator import Given
from prove.schemas import PARTLY
from prove.trial import Court, Outcome

from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.model.schema import SqlType

HERE = Path(__file__)
DOCS = HERE.parents[2] / "docs" / "security" / "bypasses.md"

GUESS = Given("guess", SqlType("STRING"), "1%")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM customers ORDER BY id",
        "SELECT s FROM (SELECT ssn AS s, id FROM customers) ORDER BY id",
        "WITH c AS (SELECT * FROM customers) SELECT ssn FROM c ORDER BY id",
        "SELECT ssn FROM customers UNION ALL SELECT email FROM customers",
        "SELECT k.value FROM customers, UNNEST(contacts) AS k",
        "SELECT * FROM (SELECT id, ssn, email FROM customers) UNPIVOT (x FOR y IN (ssn, email))",
        "SELECT * FROM (SELECT name, age FROM customers) PIVOT (SUM(age) FOR name IN ('Ada'))",
        "FROM customers |> WHERE age > 40 |> SELECT ssn",
        "SELECT ssn FROM customers EXCEPT DISTINCT SELECT 'x'",
    ],
)
async def test_line_01_every_shape_of_a_query_reads_masks(bench: Any, sql: str) -> None:
    await bench.masked(sql)


@pytest.mark.parametrize(
    "value",
    [
        "SUBSTR(ssn, 1, 1)",
        "CONCAT(ssn, '')",
        "REVERSE(ssn)",
        "TO_JSON_STRING(c)",
        "FORMAT('%T', c.address)",
        "STRUCT(ssn, age)",
        "TO_HEX(CAST(ssn AS BYTES))",
        "TO_HEX(SHA256(ssn))",
        "RANK() OVER (ORDER BY ssn)",
        "LAG(email) OVER (ORDER BY id)",
    ],
)
async def test_line_02_expressions_over_a_masked_column_see_the_mask(
    bench: Any, value: str
) -> None:
    await bench.masked(f"SELECT id, {value} FROM customers AS c ORDER BY id")


@pytest.mark.parametrize(
    "value",
    ["ARRAY_AGG(ssn ORDER BY id)", "MIN(email)", "MAX(ssn)", "AVG(age)"],
)
async def test_line_02_aggregates_over_a_masked_column_see_the_mask(bench: Any, value: str) -> None:
    await bench.masked(f"SELECT {value} FROM customers")


async def test_line_02_the_order_of_rows_tells_nothing_of_masked_values(bench: Any) -> None:
    await bench.masked("SELECT id FROM customers ORDER BY ssn, id")
    await bench.masked("SELECT STRING_AGG(name ORDER BY id) FROM customers GROUP BY age > 50")


@pytest.mark.parametrize(
    "rest",
    [
        "WHERE ssn LIKE '%1%'",
        "WHERE ssn BETWEEN '3' AND '6'",
        "WHERE age > 40",
        "WHERE CASE WHEN ssn < '5' THEN TRUE ELSE FALSE END",
        "JOIN orders AS o ON o.id * 8 > c.age",
        "WHERE EXISTS (SELECT 1 FROM customers AS d WHERE d.age > c.age)",
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY age > 40 ORDER BY c.id) = 1",
    ],
)
async def test_line_03_predicates_on_a_masked_column_choose_nothing(bench: Any, rest: str) -> None:
    await bench.masked(f"SELECT c.id FROM customers AS c {rest}")


async def test_line_04_row_counts_and_chosen_errors_tell_nothing(bench: Any) -> None:
    await bench.masked("SELECT COUNT(*) FROM customers WHERE age > 50")
    chosen = "ERROR(CAST(COUNTIF(age > 50) AS STRING))"
    told = await bench.masked(f"SELECT {chosen} FROM customers")
    assert told.answers[0].error.startswith("0")


@pytest.mark.parametrize(
    "value",
    [
        "CAST(ssn AS FLOAT64)",
        "PARSE_DATE('%F', email)",
        "PARSE_NUMERIC(ssn)",
        "ERROR(ssn)",
        "CAST(email AS INT64)",
    ],
)
async def test_line_05_errors_quote_masks_only(bench: Any, value: str) -> None:
    told = await bench.masked(f"SELECT {value} FROM customers WHERE id = 1")
    assert told.answers[0].error


async def test_line_07_a_parameter_asks_for_nothing_that_is_masked(bench: Any) -> None:
    guess = Given("guess", SqlType("INT64"), 50)
    await bench.masked("SELECT COUNT(*) FROM customers WHERE age > @guess", [guess])


@pytest.mark.parametrize("sql", ["SELECT 1 FROM @guess", "EXECUTE IMMEDIATE @guess"])
async def test_line_07_a_parameter_names_no_table(bench: Any, sql: str) -> None:
    told = await bench.ask(sql, [GUESS], who="writer")
    assert told.refusal


@pytest.mark.parametrize(
    "sql",
    [
        "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM customers); SELECT REVERSE(s)",
        "CREATE TEMP TABLE t AS SELECT * FROM customers; SELECT ssn, email FROM t ORDER BY id",
        "CREATE TEMP TABLE customers AS SELECT ssn AS a FROM customers; SELECT MAX(a) FROM customers",
        "CREATE TEMP TABLE customers AS SELECT 1 AS a; SELECT MAX(ssn) FROM shop.customers",
        "CREATE TEMP TABLE customers AS SELECT 1 AS a; DROP TABLE customers; SELECT MAX(ssn) FROM customers",
        "FOR c IN (SELECT ssn FROM customers ORDER BY id LIMIT 2) DO SELECT c.ssn; END FOR",
        "EXECUTE IMMEDIATE CONCAT('SELECT MAX(ssn) ', 'FROM customers')",
        "DECLARE s STRING; EXECUTE IMMEDIATE 'SELECT MAX(ssn) FROM customers' INTO s; SELECT s",
        "EXECUTE IMMEDIATE 'SELECT @s' USING (SELECT MAX(email) FROM customers) AS s",
        "IF (SELECT MAX(ssn) FROM customers) > '8' THEN SELECT 'high'; ELSE SELECT 'low'; END IF",
        "DECLARE i INT64 DEFAULT 0; WHILE i < (SELECT MOD(SUM(age), 5) FROM customers) DO"
        " SET i = i + 1; END WHILE; SELECT i",
    ],
)
async def test_line_08_what_a_script_carries_and_decides_by_is_masked(bench: Any, sql: str) -> None:
    await bench.masked_script(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN SELECT ERROR(ssn) FROM customers; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
        "BEGIN SELECT CAST(email AS INT64) FROM customers; EXCEPTION WHEN ERROR THEN RAISE; END",
        "RAISE USING MESSAGE = (SELECT MAX(ssn) FROM customers)",
        "ASSERT (SELECT SUM(age) FROM customers) > 340 AS 'not so old'; SELECT 1",
        "CREATE TEMP TABLE t (id INT64); INSERT INTO t SELECT id FROM customers WHERE age > 50;"
        " SELECT @@row_count",
    ],
)
async def test_line_08_errors_and_row_counts_of_a_script_tell_nothing(bench: Any, sql: str) -> None:
    await bench.masked_script(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DECLARE t STRING DEFAULT 'customers'; EXECUTE IMMEDIATE 'SELECT * FROM ' || t",
        "EXECUTE IMMEDIATE FORMAT('SELECT %s FROM customers', 'ssn')",
        "EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE \"SELECT ssn FROM customers\"'",
        "BEGIN SELECT ERROR(ssn) FROM customers; EXCEPTION WHEN ERROR THEN CALL shop.p(); END",
        "BEGIN SELECT 1 / 0; EXCEPTION WHEN ERROR THEN SELECT @@error.statement_text; END",
        "SELECT 1; RETURN; GRANT `roles/bigquery.dataViewer` ON TABLE customers TO 'user:a@example.com'",
        "SET @@dataset_id = 'payroll'; SELECT * FROM salaries",
    ],
)
async def test_line_08_a_script_hides_no_statement(bench: Any, sql: str) -> None:
    await bench.refused(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "IF RAND() < 0.5 THEN CREATE TEMP TABLE customers AS SELECT 1 AS a; END IF; SELECT * FROM customers",
        "BEGIN TRANSACTION; CREATE TEMP TABLE customers AS SELECT 1 AS a; ROLLBACK TRANSACTION;"
        " SELECT * FROM customers",
        "BEGIN TRANSACTION; CREATE TEMP TABLE customers AS SELECT 1 AS a;"
        " EXECUTE IMMEDIATE 'ROLLBACK TRANSACTION'; SELECT * FROM customers",
        "BEGIN CREATE TEMP TABLE customers AS SELECT ERROR('x') AS a;"
        " EXCEPTION WHEN ERROR THEN SELECT * FROM customers; END",
        "CREATE TEMP TABLE customers AS SELECT 1 AS a; DROP TABLE Customers; SELECT * FROM customers",
        "CREATE TEMP TABLE t COPY customers; SELECT * FROM t",
        "CREATE TEMP TABLE customers AS SELECT 'x' AS ssn;"
        " CREATE TEMP FUNCTION f() AS ((SELECT MAX(ssn) FROM customers));"
        " DROP TABLE customers; SELECT f()",
    ],
)
async def test_line_08_no_name_is_taken_for_a_temporary_table_that_may_be_another(
    bench: Any, sql: str
) -> None:
    await bench.refused(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT shop.same(ssn) FROM customers ORDER BY id",
        "SELECT id FROM customers WHERE shop.same(ssn) > '5' ORDER BY id",
        "SELECT `acme-shop`.shop.same(ssn) FROM customers ORDER BY id",
        "SELECT SAFE.shop.same(email) FROM customers ORDER BY id",
    ],
)
async def test_line_09_what_a_routine_is_handed_is_masked(bench: Any, sql: str) -> None:
    await bench.masked(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT shop.top()",
        "SELECT shop.through()",
        "SELECT * FROM shop.numbers()",
        "SELECT id FROM customers WHERE id = 1 AND shop.top() > '8'",
    ],
)
async def test_line_09_a_routine_that_reads_protected_columns_is_refused(
    bench: Any, sql: str
) -> None:
    assert bench.reveals(sql)
    for text in (sql, f"CREATE TABLE shop.mine AS SELECT 1 AS a; {sql}"):
        refusal = await bench.refused(text)
        assert "reads a column that is masked for you" in refusal
        assert "ssn" not in refusal


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMP FUNCTION f(x STRING) AS (x); SELECT f(ssn) FROM customers",
        "CREATE TEMP FUNCTION f() AS ((SELECT MAX(ssn) FROM customers)); SELECT f()",
        "CREATE FUNCTION shop.f() AS ((SELECT MAX(ssn) FROM customers))",
        "CREATE TABLE FUNCTION shop.t() AS SELECT ssn FROM customers",
    ],
)
async def test_line_09_functions_are_made_of_masked_reads(bench: Any, sql: str) -> None:
    await bench.reads_masked(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE FUNCTION shop.f(x STRING) RETURNS STRING LANGUAGE js AS 'return x'",
        (
            "CREATE TEMP FUNCTION f(x STRING) RETURNS STRING LANGUAGE js AS 'return x';"
            " SELECT f(ssn) FROM customers"
        ),
        "SELECT shop.script(ssn) FROM customers",
        "DROP FUNCTION shop.same",
    ],
)
async def test_line_09_texts_that_nobody_reads_need_a_rule(bench: Any, sql: str) -> None:
    for who in ("reader", "trusted"):
        assert "`routine`" in await bench.refused(sql, who=who)
    await bench.reads_masked(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CALL shop.procedure()",
        "SELECT shop.unknown(ssn) FROM customers",
        "SELECT shop.rich()",
        "SELECT * FROM shop.tvf((SELECT ssn FROM customers))",
        "CREATE PROCEDURE shop.p() BEGIN SELECT ssn FROM customers; END",
        "CREATE FUNCTION shop.f(x STRING) RETURNS STRING LANGUAGE python AS 'return x'",
        "CREATE OR REPLACE FUNCTION shop.same(x STRING) AS (x); SELECT shop.same('a')",
    ],
)
async def test_line_09_routines_that_are_not_known_are_refused(bench: Any, sql: str) -> None:
    assert "salaries" not in await bench.refused(sql)


async def test_line_10_a_view_is_masked_by_what_lies_beneath(bench: Any) -> None:
    for view in ("people", "cached"):
        await bench.reads_masked(f"SELECT * FROM {view}", who="reader")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM rich",
        "SELECT * FROM APPENDS(TABLE customers)",
        "SELECT * FROM CHANGES(TABLE customers, NULL, NULL)",
        "SELECT * FROM VECTOR_SEARCH(TABLE customers, 'secret', TABLE customers)",
        "SELECT SEARCH(c, '1') FROM customers AS c",
    ],
)
async def test_line_10_what_reads_beneath_a_table_is_refused(bench: Any, sql: str) -> None:
    await bench.refused(sql)


@pytest.mark.parametrize(
    "table",
    [
        "`acme-shop.shop.customers`",
        "`acme-shop.shop`.customers",
        "`acme-shop`.shop.customers",
        "acme-shop.shop.customers",
        "`shop.customers`",
        "shop.customers",
        "customers",
        "`Orders`",
    ],
)
async def test_line_11_every_spelling_of_a_table_is_masked(bench: Any, table: str) -> None:
    await bench.reads_masked(f"SELECT ssn FROM {table}", who="reader")


async def test_line_11_a_wildcard_is_masked_as_any_of_its_tables(bench: Any) -> None:
    told = await bench.ask("SELECT who, ssn FROM `shop.events_*`")
    assert "XXX-XX-XXXX" in told.text, told
    told = await bench.reads_masked(
        "SELECT * FROM `shop.events_*` WHERE _TABLE_SUFFIX = '2024'", who="reader"
    )
    assert "XXX-XX-XXXX" in told.text


async def test_line_11_a_pseudo_column_unmasks_nothing(bench: Any) -> None:
    for sql in (
        "SELECT ssn, _PARTITIONTIME AS t FROM visits",
        "SELECT v.* FROM visits AS v WHERE v._PARTITIONDATE > '2024-01-01'",
        "SELECT _TABLE_SUFFIX AS s, MAX(ssn) FROM `shop.events_*` GROUP BY _TABLE_SUFFIX",
    ):
        told = await bench.reads_masked(sql, who="reader")
        assert "XXX-XX-XXXX" in told.text
    sql = "SELECT TO_JSON_STRING(v) FROM visits AS v WHERE v._PARTITIONTIME IS NULL"
    assert "in a subquery" in await bench.refused(sql)


@pytest.mark.parametrize(
    "table",
    [
        "`shop.*`",
        "`payroll.s*`",
        "`customers$20240101`",
        "`customers@-3600`",
        "shop.__TABLES__",
        "shop.__TABLES_SUMMARY__",
        "CUSTOMERS",
        "`example.com:acme.shop.customers`",
        "_0a1b2c.anon",
        "payroll.salaries",
    ],
)
async def test_line_11_names_of_something_else_are_refused(bench: Any, table: str) -> None:
    refusal = await bench.refused(f"SELECT * FROM {table}", who="reader")
    assert "amount" not in refusal


@pytest.mark.parametrize(
    "view",
    [
        "`region-us`.INFORMATION_SCHEMA.JOBS",
        "`region-us`.INFORMATION_SCHEMA.JOBS_TIMELINE_BY_USER",
        "`acme-shop.region-us.INFORMATION_SCHEMA.SESSIONS_BY_PROJECT`",
        "INFORMATION_SCHEMA.OBJECT_PRIVILEGES",
        "`region-us`.INFORMATION_SCHEMA.TABLE_STORAGE",
        "`region-us`.INFORMATION_SCHEMA.TABLES",
        "payroll.INFORMATION_SCHEMA.TABLES",
    ],
)
async def test_line_12_metadata_of_others_is_refused(bench: Any, view: str) -> None:
    await bench.refused(f"SELECT * FROM {view}", who="reader")


async def test_line_12_metadata_tells_of_visible_tables_and_holds_no_texts(bench: Any) -> None:
    told = await bench.ask("SELECT table_name, ddl FROM shop.INFORMATION_SCHEMA.TABLES")
    assert "IN UNNEST(ARRAY<STRING>[" in told.text, told
    assert "`ddl`" in told.text
    assert "keystile_row.`ddl`" not in told.text
    told = await bench.ask("SELECT schema_name FROM INFORMATION_SCHEMA.SCHEMATA")
    assert "IN UNNEST(ARRAY<STRING>['shop'])" in told.text, told


async def test_line_13_legacy_sql_is_refused(bench: Any) -> None:
    await bench.refused("#legacySQL\nSELECT ssn FROM [shop.customers]")
    assert "legacySQL" in await bench.refused("#legacySQL\nSELECT ssn FROM shop.customers")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE SNAPSHOT TABLE shop.s CLONE shop.customers",
        "CREATE TABLE shop.s CLONE shop.customers",
        "CREATE TABLE shop.s COPY shop.customers",
        "UNDROP SCHEMA shop",
    ],
)
async def test_line_14_copies_of_a_protected_table_are_refused(bench: Any, sql: str) -> None:
    await bench.refused(sql)


_THEN = "FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00+00'"


async def test_line_14_an_older_state_is_masked(bench: Any) -> None:
    sql = f"SELECT ssn FROM customers {_THEN}"
    told = await bench.ask(sql)
    assert "XXX-XX-XXXX" in told.text


async def test_line_14_an_older_state_shows_no_column_that_the_table_lost_since(bench: Any) -> None:
    """What label it had, nobody knows any more."""
    for table in ("customers", "log"):
        told = await bench.ask(f"SELECT TO_JSON_STRING(t) FROM {table} AS t {_THEN}")
        reading = next(t for t in told.decided.analysed.tables if t.id.table == table)
        assert told.text.count(" AS `") >= len(reading.fields)
        assert f"AS keystile_row {_THEN}" in told.text


async def test_line_14_no_value_says_which_older_state(bench: Any) -> None:
    sql = "SELECT 1 FROM log FOR SYSTEM_TIME AS OF (SELECT TIMESTAMP(ssn) FROM customers)"
    assert "constant" in await bench.refused(sql)


async def test_line_14_a_sample_is_masked(bench: Any) -> None:
    await bench.masked("SELECT * FROM customers TABLESAMPLE SYSTEM (100 PERCENT) ORDER BY id")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE shop.mine AS SELECT ssn FROM customers",
        "INSERT INTO log (text) SELECT ssn FROM customers",
        "CREATE TABLE shop.mine AS SELECT number FROM people",
    ],
)
async def test_line_15_what_is_written_to_another_table_is_masked(bench: Any, sql: str) -> None:
    await bench.reads_masked(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "EXPORT DATA OPTIONS (uri='gs://x/*', format='CSV') AS SELECT ssn FROM customers",
        "EXPORT MODEL shop.m OPTIONS (uri='gs://x')",
        "LOAD DATA INTO log FROM FILES (format='CSV', uris=['gs://x/a.csv'])",
        "CREATE EXTERNAL TABLE shop.e OPTIONS (format='CSV', uris=['gs://x/a.csv'])",
        "SELECT * FROM EXTERNAL_QUERY('us.other', 'SELECT 1')",
    ],
)
async def test_line_16_nothing_goes_out_or_comes_in_by_address(bench: Any, sql: str) -> None:
    await bench.refused(sql)


@pytest.mark.parametrize("call", ["shop.sent(ssn)", "shop.outer(ssn)", "shop.python(ssn)"])
async def test_line_16_a_function_sends_nothing_without_a_rule_and_then_masks(
    bench: Any, call: str
) -> None:
    sql = f"SELECT {call} FROM customers"
    for who in ("reader", "writer", "trusted"):
        assert "`external`" in await bench.refused(sql, who=who)
    await bench.reads_masked(sql, who="sender")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE MODEL shop.m OPTIONS (model_type='linear_reg') AS SELECT age FROM customers",
        "SELECT * FROM ML.PREDICT(MODEL shop.m, TABLE customers)",
        "SELECT * FROM AI.FORECAST(TABLE customers, data_col => 'age', timestamp_col => 'id')",
        "SELECT AI.GENERATE(ssn) FROM customers",
        "SELECT * FROM ML.FEATURE_INFO(MODEL shop.m)",
    ],
)
async def test_line_17_models_see_nothing_of_a_protected_table(bench: Any, sql: str) -> None:
    await bench.refused(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "GRANT `roles/bigquery.dataViewer` ON TABLE shop.customers TO 'user:x@example.com'",
        "REVOKE `roles/bigquery.dataViewer` ON TABLE shop.customers FROM 'user:x@example.com'",
        "CREATE ROW ACCESS POLICY p ON shop.customers FILTER USING (ssn = '1')",
        "DROP ALL ROW ACCESS POLICIES ON shop.customers",
        "ALTER PROJECT `acme-shop` SET OPTIONS (`region-us.default_time_zone` = 'UTC')",
        "SET @@dataset_id = 'payroll'",
    ],
)
async def test_line_18_rights_and_settings_are_not_changed(bench: Any, sql: str) -> None:
    await bench.refused(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE badges ALTER COLUMN code SET OPTIONS (description = '')",
        "ALTER TABLE badges ALTER COLUMN CODE SET OPTIONS (description = LOWER('x'))",
        "ALTER TABLE badges DROP COLUMN code",
        "ALTER TABLE badges DROP COLUMN door, ADD COLUMN door STRUCT<key STRING>",
        "ALTER TABLE badges ALTER COLUMN door SET DATA TYPE STRUCT<key STRING, x STRING>",
        "CREATE OR REPLACE TABLE badges (code STRING)",
        "CREATE OR REPLACE TABLE badges LIKE log",
        "CREATE OR REPLACE TABLE badges COPY log",
        "DROP TABLE badges; CREATE TABLE badges (code STRING)",
        "DROP SCHEMA shop CASCADE",
    ],
)
async def test_line_18_no_statement_takes_a_label_from_a_column(bench: Any, sql: str) -> None:
    found = await bench.refused(sql)
    assert "has policy tags, which" in found or "by its description, which" in found


@pytest.mark.parametrize(
    "value",
    ["SESSION_USER()", "CURRENT_USER()", "KEYS.NEW_KEYSET('AEAD_AES_GCM_256')", "@@project_id"],
)
async def test_line_19_the_gateways_identity_and_keys_stay_hidden(bench: Any, value: str) -> None:
    told = await bench.ask(f"SELECT {value}")
    assert told.refusal


async def test_line_22_two_rights_never_share_a_cached_result(bench: Any) -> None:
    sql = "SELECT ssn FROM customers"
    masked, plain = await bench.ask(sql), await bench.ask(sql, who="trusted")
    assert plain.text == sql
    assert masked.text != plain.text


async def test_line_22_row_filters_make_another_text(bench: Any) -> None:
    sql = "SELECT COUNT(*) FROM customers WHERE name > 'A'"
    texts = {(await bench.ask(sql, who=who)).text for who in ("some-rows", "reader", "trusted")}
    assert len(texts) == 3


async def test_line_04_rows_that_are_filtered_out_are_not_counted(bench: Any) -> None:
    for sql in (
        "SELECT COUNT(*) FROM customers",
        "SELECT IF(name = 'Ada', ERROR('there'), 1) FROM customers",
        "SELECT COUNT(*) FROM people",
    ):
        told = await bench.ask(sql, who="some-rows")
        assert "own-rows" in {reason.rule for reason in told.decided.decision.reasons}
        reading = told.text.partition("AS keystile_row")[2]
        assert reading.startswith(" WHERE (name = 'some-rows'))"), told.text


async def test_line_36_changed_rows_do_not_count_filtered_ones(bench: Any) -> None:
    for sql in (
        "DELETE FROM customers WHERE id > 1",
        "UPDATE customers SET name = 'x' WHERE TRUE",
        "TRUNCATE TABLE customers",
    ):
        assert "might change others" in await bench.refused(sql, who="some-rows")


async def test_line_24_others_jobs_are_not_listed_by_sql(bench: Any) -> None:
    for view in ("JOBS", "JOBS_BY_USER", "JOBS_BY_PROJECT", "JOBS_BY_ORGANIZATION"):
        refusal = await bench.refused(f"SELECT * FROM `region-us`.INFORMATION_SCHEMA.{view}")
        assert "what others do" in refusal


async def test_line_35_what_a_decision_covers_changes_with_what_it_was_made_from(
    bench: Any,
) -> None:
    first = await bench.ask("SELECT id FROM people")
    second = await bench.ask("SELECT id FROM people")
    assert first.decided.analysed.tables == second.decided.analysed.tables
    assert {str(table.id) for table in first.decided.analysed.tables} >= {
        "acme-shop.shop.customers"
    }


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE customers SET name = 'x' WHERE ssn LIKE '1%'",
        "DELETE FROM customers WHERE age > 50",
        "MERGE customers AS c USING log AS l ON c.ssn = l.text WHEN MATCHED THEN DELETE",
    ],
)
async def test_line_36_row_counts_of_writes_do_not_probe_masked_values(
    bench: Any, sql: str
) -> None:
    await bench.refused(sql)


async def test_line_37_a_text_without_end_is_refused(bench: Any) -> None:
    assert "bytes" in await bench.refused(f"SELECT '{'x' * 300_000}'", who="reader")


async def test_line_38_a_comment_says_nothing_of_what_is_read(bench: Any) -> None:
    plain = await bench.ask("SELECT ssn FROM customers")
    told = await bench.ask("/* reads only id */ SELECT ssn -- id\nFROM customers")
    assert told.decided.analysed.facts == plain.decided.analysed.facts


@pytest.mark.parametrize(
    "sql",
    [
        "drop table customers",
        "DROP  TABLE customers",
        "DROP/**/TABLE customers",
        "-- SELECT\nDROP TABLE customers",
        "DROP VIEW people",
        "CREATE OR REPLACE TABLE customers (id INT64)",
        "DELETE FROM customers WHERE true",
        "EXECUTE IMMEDIATE 'DR' || 'OP TABLE customers'",
        "LOAD DATA OVERWRITE customers FROM FILES (format='CSV', uris=['gs://x/a.csv'])",
        "TRUNCATE TABLE customers",
    ],
)
async def test_rival_01_a_write_is_one_however_it_is_spelled(bench: Any, sql: str) -> None:
    await bench.refused(sql, who="reader")


async def test_rival_01_a_word_in_a_literal_is_no_statement(bench: Any) -> None:
    told = await bench.ask("SELECT 'DROP TABLE x'")
    assert told.text == "SELECT 'DROP TABLE x'"


async def test_rival_03_names_that_differ_by_case_are_two_tables(bench: Any) -> None:
    told = await bench.ask("SELECT ssn FROM `Orders`")
    assert told.decided.analysed.facts.reads[0].table == "Orders"
    await bench.refused("SELECT * FROM orders JOIN `Orders` USING (id)", who="reader")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT (SELECT MAX(ssn) FROM customers) FROM orders",
        "SELECT * FROM (SELECT * FROM customers) ORDER BY id",
        "SELECT ssn FROM customers AS c JOIN customers AS d USING (ssn)",
        "SELECT ssn, id FROM customers UNION ALL BY NAME SELECT id, email AS ssn FROM customers",
        "SELECT n FROM customers, UNNEST(nicknames) AS n",
    ],
)
async def test_rival_04_no_derived_table_loses_its_masks(bench: Any, sql: str) -> None:
    await bench.masked(sql)


async def test_rival_04_an_explain_prefix_is_refused(bench: Any) -> None:
    await bench.refused("EXPLAIN SELECT ssn FROM customers")


@pytest.fixture(scope="module")
def partly() -> Court:
    """Two worlds under masks that show a part, which is the same in both."""
    return Court(InlineRunner(), Engine(), PARTLY)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SUBSTR(card, 1, 2), SUBSTR(card, 2, 2), SUBSTR(card, 3, 2) FROM partly ORDER BY id",
        "SELECT STRING_AGG(SUBSTR(card, i, 1), '' ORDER BY id, i) FROM partly, UNNEST(GENERATE_ARRAY(1, 6)) AS i",
        "SELECT REVERSE(card), LPAD(card, 20, '-') FROM partly ORDER BY id",
        "SELECT id FROM partly WHERE SUBSTR(card, 1, 1) < '5' ORDER BY id",
        "SELECT SPLIT(mail, '@')[OFFSET(0)], SUBSTR(mail, 2, 3) FROM partly ORDER BY id",
        "SELECT id, RANK() OVER (ORDER BY CONCAT(card, mail)) FROM partly ORDER BY id",
    ],
)
async def test_rival_05_a_mask_that_shows_a_part_shows_no_more_through_expressions(
    partly: Court, sql: str
) -> None:
    assert partly.reveals_unmasked(sql)
    assert (await partly.try_query(sql)).outcome is Outcome.SAME


async def test_rival_07_a_mask_is_not_written_over_a_value(bench: Any) -> None:
    await bench.refused("UPDATE customers SET ssn = CONCAT(ssn, '') WHERE id = 1")
    await bench.refused("INSERT INTO customers (id, ssn) SELECT id, ssn FROM customers")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM rich",
        "SELECT * FROM EXTERNAL_QUERY('us.other', 'SELECT * FROM t')",
        "SELECT * FROM `region-us`.INFORMATION_SCHEMA.COLUMNS",
    ],
)
async def test_rival_08_a_list_of_datasets_is_not_got_round(bench: Any, sql: str) -> None:
    await bench.refused(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "SELECT",
        "\x00",
        "SELECT '\ud800'",
        "SELECT (" + "(" * 3000,
        "/*",
        "`",
        "SELECT 1;;",
    ],
)
async def test_rival_10_malformed_text_is_an_answer_not_a_fault(bench: Any, sql: str) -> None:
    told = await bench.ask(sql)
    assert "Traceback" not in told.refusal


def test_every_way_in_the_documents_has_a_test_and_every_test_a_way() -> None:
    rows = re.findall(r"^\| (\d\d|R\d\d) \|.*\|$", DOCS.read_text(), re.MULTILINE)
    named = set(re.findall(r"`(test_\w+)`", DOCS.read_text()))
    texts = "".join(file.read_text() for file in sorted(HERE.parent.glob("test_*.py")))
    tests = set(re.findall(r"def (test_(?:line|rival)_\w+)", texts))
    assert named == tests
    of_tests = {re.sub(r"test_(?:line_|rival_)", "", t)[:2] for t in tests if "line" in t[:9]}
    rivals = {f"R{re.sub('test_rival_', '', t)[:2]}" for t in tests if t.startswith("test_rival")}
    assert set(rows) == of_tests | rivals
    assert len(rows) == len(set(rows))
