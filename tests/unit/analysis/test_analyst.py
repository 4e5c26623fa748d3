# ruff: noqa: S608 - a query made of a test's own words
from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from keystile.analysis.analysed import Analysed
from keystile.analysis.outlined import Outline, OutlineRequest
from keystile.analysis.tasks import OUTLINE
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.facts import Use
from keystile.model.schema import Parameter, SqlType

Analyse = Callable[..., Analysed]

READ, WRITE, SCHEMA, ACCESS = "read", "write", "schema_change", "access_change"
EXPORT, EXTERNAL, MODEL, ROUTINE = "export", "external", "model", "routine"
SESSION, SCRIPT = "session", "script"


def uses(analysed: Analysed) -> dict[str, set[Use]]:
    return {
        f"{use.column.table.table}.{'.'.join(use.column.path)}": set(use.uses)
        for use in analysed.facts.columns
    }


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT ssn FROM customers", {"customers.ssn": {Use.OUTPUT}}),
        ("SELECT UPPER(ssn) FROM customers", {"customers.ssn": {Use.OUTPUT, Use.ARGUMENT}}),
        (
            "SELECT 1 FROM customers WHERE ssn LIKE 'x%'",
            {"customers.ssn": {Use.FILTER, Use.ARGUMENT}},
        ),
        ("SELECT COUNT(*) FROM customers GROUP BY ssn", {"customers.ssn": {Use.GROUP}}),
        ("SELECT address.city FROM customers", {"customers.address.city": {Use.OUTPUT}}),
        (
            "SELECT a.zip FROM (SELECT address AS a FROM customers)",
            {"customers.address.zip": {Use.OUTPUT}},
        ),
        (
            "SELECT address FROM customers",
            {"customers.address.city": {Use.OUTPUT}, "customers.address.zip": {Use.OUTPUT}},
        ),
        (
            "SELECT k.kind FROM customers, UNNEST(contacts) AS k",
            {"customers.contacts.kind": {Use.OUTPUT}},
        ),
        ("SELECT contacts[OFFSET(0)].to FROM customers", {"customers.contacts.to": {Use.OUTPUT}}),
        (
            "SELECT name FROM customers ORDER BY ssn",
            {"customers.name": {Use.OUTPUT}, "customers.ssn": {Use.ORDER}},
        ),
        (
            "SELECT RANK() OVER (ORDER BY ssn) FROM customers",
            {"customers.ssn": {Use.OUTPUT, Use.WINDOW}},
        ),
        ("SELECT COUNT(*) FROM customers", {}),
        ("WITH customers AS (SELECT 1 AS ssn) SELECT ssn FROM customers", {}),
        (
            "SELECT o.amount FROM orders AS o JOIN customers AS c ON c.id = o.customer_id",
            {
                "orders.amount": {Use.OUTPUT},
                "orders.customer_id": {Use.JOIN, Use.ARGUMENT},
                "customers.id": {Use.JOIN, Use.ARGUMENT},
            },
        ),
        (
            "INSERT INTO orders (id) SELECT id FROM customers WHERE ssn = '1'",
            {"customers.id": {Use.OUTPUT}, "customers.ssn": {Use.FILTER, Use.ARGUMENT}},
        ),
        ("CREATE TABLE x AS SELECT ssn FROM customers", {"customers.ssn": {Use.OUTPUT}}),
        ("DELETE FROM customers WHERE name = 'x'", {"customers.name": {Use.FILTER, Use.ARGUMENT}}),
        (
            "UPDATE orders AS o SET amount = 1 FROM customers AS c WHERE c.id = o.id",
            {
                "orders.id": {Use.FILTER, Use.ARGUMENT},
                "customers.id": {Use.FILTER, Use.ARGUMENT},
            },
        ),
    ],
)
def test_each_use_of_each_leaf(analyse: Analyse, sql: str, expected: dict[str, set[Use]]) -> None:
    analysed = analyse(sql)

    assert not analysed.facts.opaque
    assert uses(analysed) == expected


def test_what_a_match_tells_of_itself_may_be_measured(analyse: Analyse) -> None:
    analysed = analyse(
        "SELECT * FROM orders MATCH_RECOGNIZE (ORDER BY id MEASURES MAX(CLASSIFIER()) AS m,"
        " MAX(MATCH_ROW_NUMBER()) AS r PATTERN (A) DEFINE A AS amount > 3)"
    )

    assert not analysed.facts.opaque
    assert uses(analysed) == {
        "orders.id": {Use.OUTPUT, Use.ARGUMENT, Use.WINDOW},
        "orders.amount": {Use.OUTPUT, Use.ARGUMENT, Use.FILTER},
    }


def test_output_derives_from_its_sources(analyse: Analyse) -> None:
    output = analyse(
        "SELECT UPPER(ssn) AS a, 1, (SELECT MAX(o.amount) FROM orders AS o WHERE o.id = c.id) AS m,"
        " EXISTS (SELECT 1 FROM orders AS o WHERE o.id = c.id) AS e FROM customers AS c"
    ).facts.output

    assert [(one.name, str(one.type)) for one in output] == [
        ("a", "STRING"),
        ("f0_", "INT64"),
        ("m", "NUMERIC"),
        ("e", "BOOL"),
    ]
    sources = [{".".join(ref.path) for ref in one.sources} for one in output]
    assert sources == [{"ssn"}, set(), {"amount"}, {"id"}]


def test_schema_is_bigquerys(analyse: Analyse) -> None:
    schema = analyse("SELECT contacts, address, [1] AS n FROM customers").schema

    assert [(field.name, field.type, field.mode.value) for field in schema] == [
        ("contacts", "STRUCT", "REPEATED"),
        ("address", "STRUCT", "NULLABLE"),
        ("n", "INT64", "REPEATED"),
    ]
    assert [field.name for field in schema[0].fields] == ["kind", "to"]


@pytest.mark.parametrize(
    ("sql", "statement", "actions", "writes"),
    [
        ("SELECT 1", "SELECT", {READ}, []),
        ("INSERT INTO orders (id) VALUES (1)", "INSERT", {WRITE}, ["orders"]),
        ("INSERT INTO orders (id) SELECT id FROM customers", "INSERT", {READ, WRITE}, ["orders"]),
        ("UPDATE orders SET id = 1 WHERE TRUE", "UPDATE", {READ, WRITE}, ["orders"]),
        ("DELETE FROM orders WHERE TRUE", "DELETE", {READ, WRITE}, ["orders"]),
        (
            "MERGE orders USING customers ON FALSE WHEN MATCHED THEN DELETE",
            "MERGE",
            {READ, WRITE},
            ["orders"],
        ),
        ("TRUNCATE TABLE orders", "TRUNCATE_TABLE", {WRITE}, ["orders"]),
        ("drop  /**/ table orders", "DROP_TABLE", {SCHEMA}, ["orders"]),
        ("DROP VIEW nothing", "DROP_VIEW", {SCHEMA}, ["nothing"]),
        ("DROP SCHEMA shop", "DROP_SCHEMA", {SCHEMA}, [""]),
        ("ALTER TABLE orders ADD COLUMN a INT64", "ALTER_TABLE", {SCHEMA}, ["orders"]),
        (
            "ALTER TABLE orders ADD COLUMN a DATE DEFAULT DATE_ADD(CURRENT_DATE(), INTERVAL 1 DAY)",
            "ALTER_TABLE",
            {SCHEMA},
            ["orders"],
        ),
        ("ALTER TABLE orders ALTER COLUMN id SET DEFAULT 1", "ALTER_TABLE", {SCHEMA}, ["orders"]),
        ("ALTER TABLE orders DROP PRIMARY KEY", "ALTER_TABLE", {SCHEMA}, ["orders"]),
        (
            "ALTER TABLE orders ADD CONSTRAINT c PRIMARY KEY (id) NOT ENFORCED, DROP CONSTRAINT b",
            "ALTER_TABLE",
            {SCHEMA},
            ["orders"],
        ),
        (
            "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES customers(id) NOT ENFORCED",
            "ALTER_TABLE",
            {READ, SCHEMA},
            ["orders"],
        ),
        ("EXPORT DATA OPTIONS (uri = 'x') AS SELECT 1", "EXPORT_DATA", {READ, EXPORT}, []),
        (
            "CREATE MODEL m OPTIONS (model_type = 'pca') AS SELECT 1 AS a",
            "CREATE_MODEL",
            {MODEL, SCHEMA, READ},
            ["m"],
        ),
        ("CREATE TABLE x CLONE orders", "CREATE_TABLE", {READ, SCHEMA, WRITE}, ["x"]),
        ("CREATE TABLE x COPY orders", "CREATE_TABLE", {READ, SCHEMA, WRITE}, ["x"]),
        ("CREATE TABLE x LIKE orders", "CREATE_TABLE", {READ, SCHEMA}, ["x"]),
        (
            "CREATE SNAPSHOT TABLE x CLONE orders",
            "CREATE_SNAPSHOT_TABLE",
            {READ, SCHEMA, WRITE},
            ["x"],
        ),
        (
            "CREATE MATERIALIZED VIEW x AS SELECT id FROM orders",
            "CREATE_MATERIALIZED_VIEW",
            {READ, SCHEMA},
            ["x"],
        ),
        ("ASSERT EXISTS (SELECT 1 FROM orders)", "ASSERT", {READ}, []),
        ("BEGIN TRANSACTION", "SCRIPT", {SESSION, SCRIPT}, []),
        ("SELECT 1; DROP TABLE x", "SCRIPT", {READ, SCRIPT, SCHEMA}, ["x"]),
        (
            "BEGIN EXPORT DATA OPTIONS (uri = 'x') AS SELECT 1; END",
            "SCRIPT",
            {READ, SCRIPT, EXPORT},
            [],
        ),
        ("EXECUTE IMMEDIATE 'DR' || 'OP TABLE x'", "SCRIPT", {SCRIPT, SCHEMA}, ["x"]),
        (
            "CREATE SEARCH INDEX i ON orders(ALL COLUMNS)",
            "CREATE_SEARCH_INDEX",
            {SCHEMA},
            ["orders"],
        ),
        (
            "CREATE VECTOR INDEX i ON orders(amount) OPTIONS (index_type = 'IVF')",
            "CREATE_VECTOR_INDEX",
            {SCHEMA},
            ["orders"],
        ),
        ("CREATE OR REPLACE TABLE x (a INT64)", "CREATE_TABLE", {SCHEMA}, ["x"]),
        (
            "CREATE TABLE x AS SELECT 1 AS a",
            "CREATE_TABLE_AS_SELECT",
            {READ, SCHEMA, WRITE},
            ["x"],
        ),
        ("CREATE VIEW x AS SELECT 1 AS a", "CREATE_VIEW", {SCHEMA}, ["x"]),
        ("CREATE SCHEMA x", "CREATE_SCHEMA", {SCHEMA}, [""]),
        (
            "CREATE SCHEMA x OPTIONS (is_case_insensitive = TRUE)",
            "CREATE_SCHEMA",
            {SCHEMA},
            [""],
        ),
    ],
)
def test_statements_that_policy_decides_on(
    analyse: Analyse, sql: str, statement: str, actions: set[str], writes: list[str]
) -> None:
    facts = analyse(sql).facts

    assert facts.statement == statement
    assert set(facts.actions) == actions
    assert [table.table for table in facts.writes] == writes
    assert not facts.opaque


@pytest.mark.parametrize(
    ("sql", "statement", "actions"),
    [
        ("EXECUTE IMMEDIATE FORMAT('DROP TABLE %s', @t)", "SCRIPT", {READ, WRITE, SCRIPT}),
        ("EXPORT DATA OPTIONS (uri = @u) AS SELECT 1", "EXPORT_DATA", {READ, EXPORT}),
        (
            "EXPORT DATA OPTIONS (uri = 'x', format = 'CLOUD_PUBSUB') AS SELECT 1",
            "EXPORT_DATA",
            {READ, EXPORT},
        ),
        ("LOAD DATA INTO x FROM FILES (format = 'CSV')", "LOAD_DATA", {EXTERNAL, SCHEMA, WRITE}),
        ("GRANT `roles/viewer` ON TABLE x TO 'user:a@b.c'", "GRANT", {ACCESS}),
        ("REVOKE `roles/viewer` ON TABLE x FROM 'user:a@b.c'", "REVOKE", {ACCESS}),
        ("DROP ALL ROW ACCESS POLICIES ON x", "DROP_ROW_ACCESS_POLICY", {ACCESS}),
        ("CALL p()", "CALL", {READ, WRITE, ROUTINE}),
        (
            "CREATE PROCEDURE p() BEGIN DELETE FROM x WHERE TRUE; END",
            "CREATE_PROCEDURE",
            {ROUTINE, SCHEMA, READ, WRITE, SCRIPT},
        ),
        ("CREATE MODEL m OPTIONS (a = 1) AS SELECT 1", "CREATE_MODEL", {MODEL, SCHEMA, READ}),
        ("DROP MODEL m", "DROP_MODEL", {MODEL, SCHEMA}),
        ("EXPORT MODEL m", "EXPORT_MODEL", {MODEL, EXPORT}),
        ("CREATE EXTERNAL TABLE x OPTIONS (a = 1)", "CREATE_EXTERNAL_TABLE", {EXTERNAL, SCHEMA}),
        (
            "CREATE TABLE x CLONE orders FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
            "CREATE_TABLE",
            {READ, SCHEMA, WRITE},
        ),
        ("CREATE TABLE x (a INT64) OPTIONS (kms_key_name = 'k')", "CREATE_TABLE", {SCHEMA}),
        ("ALTER TABLE orders SET OPTIONS (tags = [('a', 'b')])", "ALTER_TABLE", {SCHEMA}),
        (
            "ALTER TABLE orders SET OPTIONS (description = (SELECT MAX(name) FROM customers))",
            "ALTER_TABLE",
            {READ, SCHEMA},
        ),
        (
            "CREATE SNAPSHOT TABLE x CLONE orders OPTIONS (description = (SELECT '1'))",
            "CREATE_SNAPSHOT_TABLE",
            {READ, SCHEMA, WRITE},
        ),
        ("SET @@dataset_id = 'x'", "SCRIPT", {SESSION, SCRIPT}),
        ("EXPLAIN DROP TABLE x", "EXPLAIN", {READ, SCHEMA}),
        ("FROM orders |> INSERT INTO customers", "SELECT", {READ, WRITE}),
    ],
)
def test_statements_that_are_recognised_and_opaque(
    analyse: Analyse, sql: str, statement: str, actions: set[str]
) -> None:
    facts = analyse(sql).facts

    assert facts.statement == statement
    assert set(facts.actions) == actions
    assert facts.opaque
    assert facts.opaque[0].line == 1


def test_places_are_told(analyse: Analyse) -> None:
    opaque = analyse("SELECT 'ünïcode',\n  SESSION_USER(), x FROM `shop.pe*ple`").facts.opaque

    assert [(one.what, one.line, one.column) for one in opaque] == [
        ("function `SESSION_USER`", 2, 3),
        ("`*` before the end of `shop.pe*ple`", 2, 26),
    ]


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT * FROM sheet", "external"),
        ("DELETE FROM gone WHERE TRUE", "not found"),
    ],
)
def test_tables_that_are_not_understood(analyse: Analyse, sql: str, what: str) -> None:
    assert what in analyse(sql).facts.opaque[0].what


def test_missing_table_of_a_select_is_not_found(analyse: Analyse) -> None:
    with pytest.raises(NotFoundError):
        analyse("SELECT * FROM gone")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", 'Syntax error: Unexpected identifier "SELEC" at [1:1]'),
        ("SELECT foo FROM customers", "Unrecognized name: foo at [1:8]"),
        ("SELECT 1; SELEC 2", 'Syntax error: Unexpected identifier "SELEC" at [1:11]'),
        ("SELECT @p", "Query parameter 'p' not found at [1:8]"),
    ],
)
def test_errors_are_in_bigquerys_words(analyse: Analyse, sql: str, message: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        analyse(sql)

    assert caught.value.message == message


def test_parameters_are_typed(analyse: Analyse) -> None:
    number = SqlType("INT64")

    named = analyse("SELECT @n + 1", (Parameter("n", number, {}),))
    positional = analyse("SELECT ? + 1", (Parameter("", number, {}),))

    assert named.schema[0].type == positional.schema[0].type == "INT64"


def test_too_long_a_text_is_refused(analyse: Analyse) -> None:
    with pytest.raises(RefusedError, match="bytes long"):
        analyse("SELECT '" + "x" * 100_000 + "'")


def test_people_write_long_concatenations(analyse: Analyse) -> None:
    terms = " || ".join(["name"] * 150)

    assert uses(analyse(f"SELECT {terms} FROM customers")).keys() == {"customers.name"}


def test_tasks_cross_the_process_border(runner: InlineRunner) -> None:
    outline = runner.run_now(OUTLINE, OutlineRequest("SELECT 1 FROM t", "p", "d"))

    packed = msgspec.msgpack.encode(outline)
    assert msgspec.msgpack.decode(packed, type=Outline) == outline


def test_a_target_whose_values_are_used_is_read_too(analyse: Analyse) -> None:
    """Without this the right to write would do to choose rows by a value and count them."""
    reads = {
        sql: [table.table for table in analyse(sql).facts.reads]
        for sql in (
            "UPDATE orders SET amount = 1 WHERE TRUE",
            "UPDATE orders SET amount = 1 WHERE id = 3",
            "DELETE FROM orders WHERE id = 3",
            "INSERT INTO orders (id) VALUES (1)",
            "INSERT INTO orders (id) SELECT id FROM orders",
        )
    }

    assert list(reads.values()) == [[], ["orders"], ["orders"], [], ["orders"]]


def test_what_dml_writes_is_known_with_its_sources(analyse: Analyse) -> None:
    def written(sql: str) -> dict[str, set[str]]:
        return {
            ".".join(one.column.path): {".".join(ref.path) for ref in one.sources}
            for one in analyse(sql).facts.written
        }

    assert written("INSERT INTO orders (id, amount) VALUES (1, DEFAULT)") == {
        "id": set(),
        "amount": set(),
    }
    assert written("INSERT INTO customers (NAME) SELECT UPPER(ssn) FROM customers") == {
        "name": {"ssn"}
    }
    assert written("UPDATE customers SET address.CITY = ssn, id = 1 WHERE TRUE") == {
        "address.city": {"ssn"},
        "id": set(),
    }
    merge = (
        "MERGE orders AS o USING customers AS c ON o.id = c.id WHEN MATCHED THEN UPDATE SET"
        " amount = c.id WHEN NOT MATCHED THEN INSERT (id, customer_id) VALUES (c.id, 7)"
    )
    assert written(merge) == {"amount": {"id"}, "customer_id": set(), "id": {"id"}}
    assert written("CREATE OR REPLACE TABLE orders AS SELECT ssn AS amount FROM customers") == {
        "amount": {"ssn"}
    }
    assert written("CREATE TABLE x AS SELECT ssn FROM customers") == {}


def test_where_an_export_goes_is_known(analyse: Analyse) -> None:
    facts = analyse(
        "EXPORT DATA WITH CONNECTION `p.us.c` OPTIONS (URI = 'gs://b/*', format = 'csv')"
        " AS SELECT 1"
    ).facts

    assert facts.uris == ("gs://b/*",)
    assert facts.connections == ("p.us.c",)
    assert not facts.opaque


def test_where_a_load_comes_from_is_known_though_it_is_refused(analyse: Analyse) -> None:
    facts = analyse(
        "LOAD DATA INTO orders FROM FILES (format = 'CSV', uris = ['gs://a', 'gs://b'])"
        " WITH CONNECTION c"
    ).facts

    assert facts.uris == ("gs://a", "gs://b")
    assert [table.table for table in facts.writes] == ["orders"]
    assert facts.opaque


def test_what_is_made_or_dropped_needs_no_schema(analyse: Analyse) -> None:
    for sql in (
        "CREATE TABLE x AS SELECT 1 AS a",
        "CREATE VIEW x AS SELECT 1 AS a",
        "DROP TABLE IF EXISTS x",
        "CREATE SCHEMA x",
        "CREATE TABLE x CLONE orders",
    ):
        facts = analyse(sql).facts
        assert facts.unseen == facts.writes, sql
    for sql in ("INSERT INTO orders (id) VALUES (1)", "ALTER TABLE orders DROP COLUMN id"):
        assert not analyse(sql).facts.unseen


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES customers(id) NOT ENFORCED",
        "CREATE TABLE x (a INT64 REFERENCES customers(id) NOT ENFORCED)",
        "CREATE TABLE x (a INT64, FOREIGN KEY (a) REFERENCES customers(id) NOT ENFORCED)",
    ],
)
def test_the_table_of_a_foreign_key_is_read(analyse: Analyse, sql: str) -> None:
    facts = analyse(sql).facts
    assert [table.table for table in facts.reads] == ["customers"]
    assert READ in facts.actions
    assert facts.opaque == ()
