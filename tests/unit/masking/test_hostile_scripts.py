# ruff: noqa: E501, S608 - scripts read best on one line, and are no injections here
"""Attacks by scripts, run for real: each tells two worlds apart, and must not once masked."""

from __future__ import annotations

import re

import pytest
from prove.scripts import ScriptCourt
from prove.trial import Court

from keystile.googlesql.inline import InlineRunner


@pytest.fixture(scope="session")
def scripts(court: Court) -> ScriptCourt:
    return ScriptCourt(court, InlineRunner())


ATTACKS = {
    # Values that are carried
    "a variable": "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM customers); SELECT s",
    "SET": "DECLARE s STRING; SET s = (SELECT MIN(email) FROM customers); SELECT REVERSE(s)",
    "SET of several": "DECLARE a, b STRING; SET (a, b) = (SELECT AS STRUCT ssn, email FROM customers WHERE id = 1); SELECT a || b",
    "an array": "DECLARE a ARRAY<STRING> DEFAULT ARRAY(SELECT ssn FROM customers WHERE id < 3 ORDER BY id); SELECT * FROM UNNEST(a)",
    "a whole row": "DECLARE r DEFAULT (SELECT AS STRUCT * FROM customers WHERE id = 1); SELECT r.ssn, r.address.street",
    "a row as JSON": "DECLARE j STRING; SET j = (SELECT TO_JSON_STRING(c) FROM customers AS c WHERE id = 1); SELECT j",
    "FOR": "FOR r IN (SELECT id, ssn FROM customers ORDER BY id LIMIT 2) DO SELECT r.ssn; END FOR",
    "FOR of rows": "FOR r IN (SELECT * FROM customers WHERE id = 1) DO SELECT r; END FOR",
    "a parameter of dynamic SQL": "EXECUTE IMMEDIATE 'SELECT @s' USING (SELECT MAX(ssn) FROM customers) AS s",
    "INTO": "DECLARE s STRING; EXECUTE IMMEDIATE 'SELECT MAX(ssn) FROM customers' INTO s; SELECT s",
    "dynamic SQL": "EXECUTE IMMEDIATE 'SELECT ssn ' || CONCAT('FROM ', \"customers\") || ' ORDER BY id'",
    "a temporary table": "CREATE TEMP TABLE t AS SELECT * FROM customers; SELECT ssn, address FROM t ORDER BY id",
    "a temporary table of its own name": "CREATE TEMP TABLE customers AS SELECT * FROM customers; SELECT ssn FROM customers ORDER BY id",
    "a temporary table filled later": "CREATE TEMP TABLE t (s STRING); INSERT INTO t SELECT ssn FROM customers; SELECT MAX(s) FROM t",
    "a temporary table changed": "CREATE TEMP TABLE t AS SELECT id, '' AS s FROM customers; UPDATE t SET s = c.ssn FROM customers AS c WHERE c.id = t.id; SELECT s FROM t ORDER BY id",
    "a temporary table merged into": "CREATE TEMP TABLE t (id INT64, s STRING); MERGE t USING customers AS c ON FALSE WHEN NOT MATCHED THEN INSERT (id, s) VALUES (c.id, c.email); SELECT s FROM t ORDER BY id",
    "a temporary table from another": "CREATE TEMP TABLE a AS SELECT ssn AS x FROM customers; CREATE TEMP TABLE b AS SELECT x AS y FROM a; DROP TABLE a; SELECT MAX(y) FROM b",
    "a temporary table made anew": "CREATE TEMP TABLE t AS SELECT 1 AS one; CREATE OR REPLACE TEMP TABLE t AS SELECT ssn FROM customers; SELECT MAX(ssn) FROM t",
    "a temporary table by _SESSION": "CREATE TEMP TABLE t AS SELECT ssn FROM customers; SELECT MAX(ssn) FROM _SESSION.t",
    "the table beside a temporary one": "CREATE TEMP TABLE customers AS SELECT 1 AS id; SELECT ssn FROM shop.customers ORDER BY id",
    "the table after a temporary one": "CREATE TEMP TABLE customers AS SELECT 1 AS id; DROP TABLE customers; SELECT ssn FROM customers ORDER BY id",
    "the table before a temporary one": "SELECT ssn FROM customers ORDER BY id; CREATE TEMP TABLE customers AS SELECT 1 AS id; SELECT * FROM customers",
    "made by dynamic SQL": "EXECUTE IMMEDIATE 'CREATE TEMP TABLE t AS SELECT ssn FROM customers'; SELECT MAX(ssn) FROM t",
    "dropped by dynamic SQL": "CREATE TEMP TABLE customers AS SELECT 1 AS id; EXECUTE IMMEDIATE 'DROP TABLE customers'; SELECT MAX(ssn) FROM customers",
    "a table that stays": "CREATE TABLE shop.kept AS SELECT ssn, id FROM customers",
    "a table that stays, filled": "CREATE TABLE shop.kept (s STRING); INSERT INTO shop.kept SELECT note FROM orders; SELECT s FROM shop.kept",
    "a temporary function": "CREATE TEMP FUNCTION f(x STRING) AS (REVERSE(x)); DECLARE s STRING DEFAULT (SELECT MAX(f(ssn)) FROM customers); SELECT s",
    "a temporary function that reads": "CREATE TEMP FUNCTION f() AS ((SELECT MAX(ssn) FROM customers)); CREATE TEMP TABLE customers AS SELECT 'x' AS ssn; DROP TABLE customers; SELECT f()",
    # What runs, and how often
    "IF": "IF (SELECT MAX(ssn) FROM customers) > '8' THEN SELECT 'high'; ELSE SELECT 'low'; END IF",
    "ELSEIF": "IF FALSE THEN SELECT 1; ELSEIF (SELECT SUM(age) FROM customers) > 340 THEN SELECT 2; END IF",
    "CASE": "CASE (SELECT MOD(SUM(age), 2) FROM customers) WHEN 0 THEN SELECT 'even'; ELSE SELECT 'odd'; END CASE",
    "CASE WHEN": "CASE WHEN (SELECT SUM(age) FROM customers) > 340 THEN SELECT 1; ELSE SELECT 2; END CASE",
    "WHILE": "DECLARE i INT64 DEFAULT 0; WHILE i < (SELECT MOD(SUM(age), 5) FROM customers) DO SET i = i + 1; SELECT i; END WHILE; SELECT i",
    "REPEAT": "DECLARE i INT64 DEFAULT 0; REPEAT SET i = i + 1; UNTIL i >= (SELECT MOD(SUM(age), 5) FROM customers) END REPEAT; SELECT i",
    "LOOP": "DECLARE i INT64 DEFAULT 0; LOOP SET i = i + 1; IF i > (SELECT MOD(SUM(age), 5) FROM customers) THEN LEAVE; END IF; END LOOP; SELECT i",
    "FOR with a filter": "DECLARE n INT64 DEFAULT 0; FOR r IN (SELECT id FROM customers WHERE age > 50) DO SET n = n + 1; END FOR; SELECT n",
    "FOR in an order": "FOR r IN (SELECT id FROM customers ORDER BY ssn) DO SELECT r.id; END FOR",
    "a condition through a variable": "DECLARE high BOOL DEFAULT (SELECT MAX(age) > 82 FROM customers); IF high THEN SELECT 1; END IF; SELECT 2",
    "RETURN": "IF (SELECT SUM(age) FROM customers) > 340 THEN RETURN; END IF; SELECT 1",
    "CONTINUE": "FOR r IN (SELECT id, ssn FROM customers ORDER BY id) DO IF r.ssn > '5' THEN CONTINUE; END IF; SELECT r.id; END FOR",
    "which table is made": "IF (SELECT SUM(age) FROM customers) > 340 THEN CREATE TEMP TABLE t AS SELECT 1 AS a; ELSE CREATE TEMP TABLE t AS SELECT 2 AS a; END IF; SELECT a FROM t",
    "a transaction": "BEGIN TRANSACTION; CREATE TEMP TABLE t AS SELECT MAX(ssn) AS s FROM customers; COMMIT TRANSACTION; SELECT s FROM t",
    "rolled back or not": "CREATE TEMP TABLE t AS SELECT 1 AS a; BEGIN TRANSACTION; DELETE FROM t WHERE TRUE; IF (SELECT SUM(age) FROM customers) > 340 THEN ROLLBACK TRANSACTION; ELSE COMMIT TRANSACTION; END IF; SELECT a FROM t",
    # Errors
    "an error's text": "BEGIN SELECT CAST(ssn AS INT64) FROM customers WHERE id = 1; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
    "ERROR": "BEGIN SELECT ERROR(ssn) FROM customers; EXCEPTION WHEN ERROR THEN SELECT REVERSE(@@error.message) AS m; END",
    "an error's text, carried": "DECLARE m STRING; BEGIN SELECT ERROR(email) FROM customers; EXCEPTION WHEN ERROR THEN SET m = @@error.message; END; SELECT m",
    "whether there is an error": "BEGIN SELECT IF(age > 50, ERROR('x'), 1) FROM customers WHERE id = 1; EXCEPTION WHEN ERROR THEN SELECT 'over'; END; BEGIN SELECT IF(age > 50, ERROR('x'), 1) FROM customers WHERE id = 2; EXCEPTION WHEN ERROR THEN SELECT 'over'; END; BEGIN SELECT IF(age > 50, ERROR('x'), 1) FROM customers WHERE id = 5; EXCEPTION WHEN ERROR THEN SELECT 'over'; END",
    "an error that nothing handles": "SELECT 1; SELECT ERROR(ssn) FROM customers",
    "RAISE": "RAISE USING MESSAGE = (SELECT MAX(ssn) FROM customers)",
    "RAISE of a variable": "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM customers); BEGIN RAISE USING MESSAGE = s; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
    "RAISE anew": "BEGIN SELECT ERROR(ssn) FROM customers; EXCEPTION WHEN ERROR THEN RAISE; END",
    "ASSERT": "ASSERT (SELECT SUM(age) FROM customers) > 340 AS 'young'; SELECT 1",
    "an error in an expression": "DECLARE x INT64; SET x = (SELECT CAST(ssn AS INT64) FROM customers WHERE id = 1)",
    "an error in dynamic SQL": "BEGIN EXECUTE IMMEDIATE 'SELECT ERROR(ssn) FROM customers'; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
    "an error of too many rows": "DECLARE s STRING; EXECUTE IMMEDIATE 'SELECT ssn FROM customers WHERE age > 70' INTO s; SELECT 1",
    # Row counts
    "@@row_count": "CREATE TEMP TABLE t (id INT64); INSERT INTO t SELECT id FROM customers WHERE age > 50; SELECT @@row_count",
    "@@row_count of a DELETE": "CREATE TEMP TABLE t AS SELECT id FROM customers; DELETE FROM t WHERE id IN (SELECT id FROM customers WHERE ssn > '5'); SELECT @@row_count AS n",
    "@@row_count, carried": "DECLARE n INT64; CREATE TEMP TABLE t (id INT64); INSERT INTO t SELECT id FROM customers WHERE ssn > '5'; SET n = @@row_count; IF n > 2 THEN SELECT 'many'; ELSE SELECT n; END IF",
    # Words around them
    "in comments and strings": "SELECT ';' /* ; SELECT 1 */; -- ;\nSELECT ssn, '''; DROP''' FROM customers ORDER BY id;",
    "in nested blocks": "BEGIN BEGIN DECLARE x STRING; a: BEGIN SET x = (SELECT MAX(ssn) FROM customers); LEAVE a; END; SELECT x; END; END",
    "a variable of a column's name": "DECLARE ssn STRING DEFAULT 'mine'; SELECT ssn FROM customers ORDER BY id",
    "a variable of the table's name": "DECLARE customers STRUCT<ssn STRING> DEFAULT STRUCT('mine'); SELECT customers.ssn FROM customers ORDER BY id",
    "a variable of a field's name": "DECLARE address STRING DEFAULT 'mine'; SELECT address.street FROM customers ORDER BY id",
}


@pytest.mark.parametrize("case", ATTACKS)
async def test_a_masked_script_tells_nothing(scripts: ScriptCourt, case: str) -> None:
    sql = ATTACKS[case]
    assert await scripts.reveals_unmasked(sql), "this is no attack, so the test shows nothing"

    trial = await scripts.try_script(sql)

    assert not trial.refusal
    assert trial.same, trial
    assert "not supported by the sandbox" not in str(trial.told)


_OWN = "CREATE TEMP TABLE customers AS SELECT 1 AS id;"
REFUSED = {
    # A name that may be the temporary table's or the protected table's
    "made in one branch": (
        f"IF RAND() < 0.5 THEN {_OWN} END IF; SELECT * FROM customers",
        "some ways",
    ),
    "made in a loop": (
        f"WHILE RAND() < 0.5 DO {_OWN} END WHILE; SELECT * FROM customers",
        "some ways",
    ),
    "dropped in a loop": (
        f"{_OWN} LOOP SELECT * FROM customers; DROP TABLE customers; END LOOP",
        "some ways",
    ),
    "dropped in one branch": (
        f"{_OWN} IF RAND() < 0.5 THEN DROP TABLE customers; END IF; SELECT * FROM customers",
        "some ways",
    ),
    "dropped in dynamic SQL": (
        f"{_OWN} IF RAND() < 0.5 THEN EXECUTE IMMEDIATE 'DROP TABLE customers'; END IF; SELECT * FROM customers",
        "some ways",
    ),
    "dropped on the way out of a loop": (
        f"{_OWN} LOOP IF RAND() < 0.5 THEN DROP TABLE customers; BREAK; END IF; IF RAND() < 0.5 THEN BREAK; END IF; END LOOP; SELECT * FROM customers",
        "some ways",
    ),
    "dropped on the way out of a block": (
        f"{_OWN} b: BEGIN IF RAND() < 0.5 THEN DROP TABLE customers; LEAVE b; END IF; END; SELECT * FROM customers",
        "some ways",
    ),
    "dropped before CONTINUE": (
        f"{_OWN} FOR r IN (SELECT 1 AS x) DO SELECT * FROM customers; IF r.x = 1 THEN DROP TABLE customers; CONTINUE; END IF; END FOR",
        "some ways",
    ),
    "not made because of an error": (
        "BEGIN CREATE TEMP TABLE customers AS SELECT ERROR('x') AS id; EXCEPTION WHEN ERROR THEN SELECT * FROM customers; END",
        "some ways",
    ),
    "dropped before an error": (
        f"{_OWN} BEGIN DROP TABLE customers; SELECT 1 / 0; EXCEPTION WHEN ERROR THEN SELECT 1; END; SELECT * FROM customers",
        "some ways",
    ),
    "rolled back": (
        f"BEGIN TRANSACTION; {_OWN} ROLLBACK TRANSACTION; SELECT * FROM customers",
        "some ways",
    ),
    "rolled back by an error": (
        f"BEGIN TRANSACTION; {_OWN} BEGIN SELECT 1; EXCEPTION WHEN ERROR THEN SELECT * FROM customers; END",
        "some ways",
    ),
    "rolled back by an error that was handled": (
        f"BEGIN TRANSACTION; {_OWN} BEGIN SELECT 1; EXCEPTION WHEN ERROR THEN SELECT 2; END; SELECT * FROM customers",
        "some ways",
    ),
    "rolled back in a loop's next round": (
        f"{_OWN} DROP TABLE customers; LOOP {_OWN} IF RAND() < 0.5 THEN ROLLBACK TRANSACTION; SELECT * FROM customers; END IF; DROP TABLE customers; BEGIN TRANSACTION; END LOOP",
        "some ways",
    ),
    "rolled back by dynamic SQL": (
        f"BEGIN TRANSACTION; {_OWN} EXECUTE IMMEDIATE 'ROLLBACK TRANSACTION'; SELECT * FROM customers",
        "transaction in EXECUTE IMMEDIATE",
    ),
    "rolled back to what dynamic SQL began": (
        f"EXECUTE IMMEDIATE 'BEGIN'; {_OWN} ROLLBACK TRANSACTION; SELECT * FROM customers",
        "transaction in EXECUTE IMMEDIATE",
    ),
    "renamed": (
        f"{_OWN} ALTER TABLE customers RENAME TO u; SELECT * FROM customers",
        "changed in this script",
    ),
    "dropped by another case": (
        f"{_OWN} DROP TABLE Customers; SELECT * FROM customers",
        "upper and lower case",
    ),
    "read by another case": (f"{_OWN} SELECT * FROM CUSTOMERS", "upper and lower case"),
    "dropped with its dataset": (
        f"{_OWN} DROP SCHEMA _SESSION; SELECT * FROM customers",
        "_SESSION",
    ),
    "other columns on one way": (
        "IF RAND() < 0.5 THEN CREATE TEMP TABLE t AS SELECT 1 AS ssn; ELSE CREATE TEMP TABLE t AS SELECT 'x' AS ssn; END IF; SELECT * FROM t",
        "other columns",
    ),
    "other columns in the next round": (
        "CREATE TEMP TABLE t AS SELECT 1 AS a; LOOP SELECT * FROM t; CREATE OR REPLACE TEMP TABLE t AS SELECT 'x' AS b; END LOOP",
        "other columns",
    ),
    "in a function that is called after it": (
        "CREATE TEMP TABLE customers AS SELECT 'x' AS ssn; CREATE TEMP FUNCTION f() AS ((SELECT MAX(ssn) FROM customers)); DROP TABLE customers; SELECT f()",
        "in the text of a function or a view",
    ),
    "in a function, by _SESSION": (
        "CREATE TEMP TABLE t AS SELECT 'x' AS ssn; CREATE TEMP FUNCTION f() AS ((SELECT MAX(ssn) FROM _SESSION.t)); SELECT f()",
        "in the text of a function or a view",
    ),
    "in a view that stays": (
        "CREATE TEMP TABLE customers AS SELECT 'x' AS ssn; CREATE VIEW shop.v AS SELECT ssn FROM customers",
        "in the text of a function or a view",
    ),
    "in a function that dynamic SQL makes": (
        "CREATE TEMP TABLE t AS SELECT 'x' AS s; EXECUTE IMMEDIATE 'CREATE TABLE FUNCTION shop.f() AS SELECT s FROM t'",
        "in the text of a function or a view",
    ),
    # Rows as they are
    "a copy": ("CREATE TEMP TABLE t COPY customers; SELECT * FROM t", "changed in this script"),
    "a clone": ("CREATE TEMP TABLE t CLONE customers; SELECT * FROM t", "changed in this script"),
    # Texts made at run time
    "a text of a variable": (
        "DECLARE s STRING DEFAULT 'SELECT 1'; EXECUTE IMMEDIATE s",
        "EXECUTE IMMEDIATE",
    ),
    "a text of a parameter": ("EXECUTE IMMEDIATE @p", "EXECUTE IMMEDIATE"),
    "a text of a query": (
        "EXECUTE IMMEDIATE (SELECT 'SELECT ssn FROM customers')",
        "EXECUTE IMMEDIATE",
    ),
    "a text of a function": (
        "EXECUTE IMMEDIATE FORMAT('SELECT %s FROM customers', 'ssn')",
        "EXECUTE IMMEDIATE",
    ),
    "a text of a text": (
        "EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE \"SELECT ssn FROM customers\"'",
        "EXECUTE IMMEDIATE",
    ),
    "several statements in dynamic SQL": (
        "EXECUTE IMMEDIATE 'SELECT 1; SELECT ssn FROM customers'",
        "Expected end of input",
    ),
    # What tells of the gateway, or changes what names mean
    "the rewritten text": (
        "BEGIN SELECT 1; EXCEPTION WHEN ERROR THEN SELECT @@error.statement_text; END",
        "@@error",
    ),
    "the stack": (
        "BEGIN SELECT 1; EXCEPTION WHEN ERROR THEN SELECT @@error.formatted_stack_trace; END",
        "@@error",
    ),
    "the project": ("SELECT @@project_id; SELECT 1", "@@project_id"),
    "another default dataset": (
        "SET @@dataset_id = 'other'; SELECT * FROM customers",
        "@@dataset_id",
    ),
    "a procedure": ("DECLARE x INT64; CALL shop.p(x)", "CALL"),
    "in a handler": ("BEGIN SELECT 1; EXCEPTION WHEN ERROR THEN CALL shop.p(); END", "CALL"),
    "where nothing comes": (
        "SELECT 1; RETURN; GRANT `roles/x` ON TABLE customers TO 'user:a@example.com'",
        "GRANT",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_a_script_might_mean_otherwise_is_refused(
    scripts: ScriptCourt, case: str
) -> None:
    sql, words = REFUSED[case]

    trial = await scripts.try_script(sql)

    assert re.search(words, trial.refusal), trial


async def test_an_honest_script_is_let_through_and_means_the_same(scripts: ScriptCourt) -> None:
    for sql in (
        "DECLARE ids ARRAY<INT64> DEFAULT ARRAY(SELECT id FROM customers ORDER BY id); SELECT * FROM UNNEST(ids)",
        "CREATE TEMP TABLE IF NOT EXISTS t AS SELECT id FROM customers; CREATE TEMP TABLE IF NOT EXISTS t AS SELECT id FROM orders; SELECT COUNT(*) FROM t",
        "CREATE TEMP TABLE t AS SELECT 1 AS a; LOOP DROP TABLE t; CREATE TEMP TABLE t AS SELECT 2 AS a; BREAK; END LOOP; SELECT a FROM t",
        "IF FALSE THEN CREATE TEMP TABLE t AS SELECT 1 AS a; ELSE CREATE TEMP TABLE t AS SELECT 2 AS a; END IF; SELECT a FROM t",
        "BEGIN TRANSACTION; CREATE TEMP TABLE t AS SELECT 2 AS a; COMMIT TRANSACTION; SELECT a FROM t",
        "DECLARE n INT64; BEGIN SELECT 1 / 0; EXCEPTION WHEN ERROR THEN SET n = 7; END; SELECT n",
        "DECLARE total FLOAT64 DEFAULT 0; FOR o IN (SELECT amount FROM orders ORDER BY id) DO SET total = total + o.amount; END FOR; SELECT total",
        "EXECUTE IMMEDIATE 'SELECT name FROM customers WHERE id = @id' USING 2 AS id",
        "CREATE TABLE shop.made AS SELECT id, name FROM customers; SELECT COUNT(*) FROM shop.made; DROP TABLE shop.made",
    ):
        trial = await scripts.try_script(sql)
        assert not trial.refusal, sql
        plain = await scripts.run(sql)
        assert trial.told[0].last == plain[0].last != [], sql
        assert not trial.told[0].error


async def test_a_script_of_hundreds_of_statements_is_masked_throughout(
    scripts: ScriptCourt,
) -> None:
    sql = "DECLARE s STRING;" + "SET s = (SELECT MAX(ssn) FROM customers); SELECT s;" * 200

    trial = await scripts.analysed(sql)

    assert trial.text.count("XXX-XX-XXXX") == 200


async def test_a_script_without_end_is_refused(scripts: ScriptCourt) -> None:
    trial = await scripts.analysed("SELECT 1;" * 1001)

    assert "more than 1,000 statements" in trial.refusal
