# ruff: noqa: E501, S608 - statements read best on one line, and are no injections here
"""Statements that write: what they read they read masked, and no mask goes over a value."""

from __future__ import annotations

import pytest
from prove.evaluator import runnable
from prove.shop import CUSTOMERS, DATASET, HASH, MASKS, ORDERS, PROJECT, TABLES, Shop
from prove.trial import Court
from prove.worlds import SchemaSource

from keystile.analysis.statement import Statement
from keystile.masking.rewrite import Rewritten
from keystile.model.decision import ColumnMask
from keystile.model.errors import RefusedError
from keystile.model.masks import NullMask
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind

OF_CUSTOMERS = tuple(mask for mask in MASKS if mask.column.table == CUSTOMERS.id)


async def rewrite(
    court: Court,
    sql: str,
    masks: tuple[ColumnMask, ...] = OF_CUSTOMERS,
    source: SchemaSource | None = None,
) -> Rewritten:
    statement = Statement(sql, PROJECT, DATASET, ())
    analysed = await court.analyst.analyse(statement, source or Shop())
    assert not analysed.facts.opaque, analysed.facts.opaque
    return await court.rewriter.rewrite(analysed, masks)


SECRETS = "SELECT id, ssn AS note FROM customers WHERE age > 40 ORDER BY id"


@pytest.mark.parametrize(
    "beginning",
    [
        "INSERT INTO orders (id, note) ",
        "CREATE TABLE copied AS ",
        "CREATE OR REPLACE TABLE copied CLUSTER BY id AS ",
        "CREATE VIEW seen AS ",
        "CREATE OR REPLACE VIEW seen (a, b) AS ",
        "CREATE MATERIALIZED VIEW seen AS ",
        "EXPORT DATA OPTIONS (uri = 'gs://b/*.csv', format = 'CSV') AS ",
        "EXPORT DATA WITH CONNECTION `p.us.c` OPTIONS (uri = 's3://b/*') AS ",
        "CREATE MODEL m OPTIONS (model_type = 'pca') AS ",
    ],
)
async def test_what_a_statement_takes_away_is_masked(court: Court, beginning: str) -> None:
    assert court.reveals_unmasked(SECRETS)

    rewritten = await rewrite(court, beginning + SECRETS)

    assert rewritten.sql.startswith(beginning)
    query = runnable(rewritten.sql.removeprefix(beginning), TABLES)
    answers = [world.run(query) for world in court.worlds]
    assert not answers[0].error
    assert answers[0] == answers[1]
    assert rewritten.masked


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE orders AS o SET note = c.ssn FROM customers AS c WHERE c.id = o.customer_id",
        "UPDATE orders SET note = 'x' WHERE customer_id IN (SELECT id FROM customers WHERE age > 40)",
        "UPDATE orders SET note = (SELECT MAX(ssn) FROM customers) WHERE TRUE",
        "DELETE FROM orders WHERE EXISTS (SELECT 1 FROM customers AS c WHERE c.id = customer_id AND c.age > 40)",
        "MERGE orders AS o USING customers AS c ON c.ssn = o.note WHEN MATCHED THEN DELETE",
        "MERGE orders USING (SELECT id, ssn FROM customers) AS c ON FALSE WHEN NOT MATCHED THEN INSERT (id, note) VALUES (c.id, c.ssn)",
        "MERGE orders AS o USING customers AS c ON c.id = o.id WHEN MATCHED AND c.age > 40 THEN UPDATE SET note = c.email",
        "INSERT INTO orders (id, note) VALUES (1, (SELECT MAX(ssn) FROM customers))",
        "INSERT INTO customers (id, name) SELECT id, ssn FROM customers",
        "UPDATE customers SET name = (SELECT MAX(o.ssn) FROM customers AS o) WHERE id = 1",
        "ASSERT (SELECT COUNT(*) FROM customers WHERE age > 40) = 0 AS 'some are older'",
    ],
)
async def test_every_source_of_dml_is_masked(court: Court, sql: str) -> None:
    rewritten = await rewrite(court, sql)

    assert rewritten.sql.count("AS keystile_row)") == 1
    assert "'XXX-XX-XXXX'" in rewritten.sql


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE customers SET name = 'x' WHERE id = 3",
        "UPDATE customers SET ssn = '123', address.street = 'here' WHERE address.city = 'Lund'",
        "DELETE FROM customers WHERE name LIKE 'A%'",
        "MERGE customers AS c USING orders AS o ON c.id = o.customer_id WHEN MATCHED THEN UPDATE SET ssn = o.note",
        "INSERT INTO customers (id, ssn) VALUES (9, '123')",
        "INSERT INTO customers (id, ssn) SELECT id, note FROM orders",
        "TRUNCATE TABLE customers",
        "DROP TABLE customers",
        "ALTER TABLE customers ADD COLUMN since DATE",
        "CREATE TABLE copied LIKE customers",
        "CREATE SEARCH INDEX i ON customers(ALL COLUMNS)",
        "CREATE SNAPSHOT TABLE copied CLONE orders",
        "CREATE TABLE copied COPY orders",
    ],
)
async def test_writing_without_reading_a_masked_column_is_left_alone(
    court: Court, sql: str
) -> None:
    assert (await rewrite(court, sql)).sql == sql


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("UPDATE customers SET name = ssn WHERE TRUE", "ssn"),
        ("UPDATE customers AS c SET name = TO_JSON_STRING(c) WHERE TRUE", "address"),
        ("UPDATE customers AS c SET name = c.address.street WHERE TRUE", "address.street"),
        ("UPDATE customers SET name = 'x' WHERE SSN LIKE '9%'", "ssn"),
        ("UPDATE customers SET name = 'x' FROM orders WHERE orders.note = email", "email"),
        ("UPDATE customers SET name = (SELECT ssn) WHERE TRUE", "ssn"),
        (
            "UPDATE customers SET name = (SELECT ANY_VALUE(k.value) FROM UNNEST(contacts) AS k) WHERE TRUE",
            "contacts",
        ),
        ("DELETE FROM customers WHERE age > 40", "age"),
        ("DELETE customers WHERE address.geo.lat > 4", "address.geo.lat"),
        (
            "DELETE FROM customers AS c WHERE EXISTS (SELECT 1 FROM orders AS o WHERE o.note = c.ssn)",
            "ssn",
        ),
        ("DELETE FROM customers WHERE 'x' IN UNNEST(nicknames)", "nicknames"),
        (
            "MERGE customers AS c USING orders AS o ON c.ssn = o.note WHEN MATCHED THEN DELETE",
            "ssn",
        ),
        (
            "MERGE customers AS c USING orders AS o ON FALSE WHEN NOT MATCHED BY SOURCE AND c.age > 40 THEN DELETE",
            "age",
        ),
        (
            "MERGE customers AS c USING orders AS o ON c.id = o.id WHEN MATCHED THEN UPDATE SET name = c.email",
            "email",
        ),
    ],
)
async def test_a_target_tells_nothing_of_its_masked_columns(
    court: Court, sql: str, column: str
) -> None:
    """How many rows were changed would answer whether a value is so."""
    with pytest.raises(RefusedError, match="of the table that it changes") as refused:
        await rewrite(court, sql)
    assert f"`{column}" in str(refused.value)
    assert "subquery" in refused.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO orders (note) SELECT ssn FROM customers",
        "INSERT INTO orders (id, note) VALUES (1, (SELECT MAX(age) || '' FROM customers))",
        "INSERT INTO customers SELECT * FROM customers",
        "UPDATE customers SET ssn = (SELECT MAX(o.ssn) FROM customers AS o) WHERE TRUE",
        "UPDATE customers SET address = (SELECT ANY_VALUE(o.address) FROM customers AS o) WHERE TRUE",
        "UPDATE customers SET ssn = o.note FROM orders AS o WHERE o.customer_id = customers.id",
        "MERGE orders AS o USING customers AS c ON c.id = o.id WHEN MATCHED THEN UPDATE SET note = c.name || c.email",
        "MERGE orders AS o USING customers AS c ON FALSE WHEN NOT MATCHED THEN INSERT (note) VALUES (c.ssn)",
        "CREATE OR REPLACE TABLE customers AS SELECT * FROM customers",
        "CREATE OR REPLACE TABLE orders AS SELECT ssn AS note FROM customers",
    ],
)
async def test_a_mask_is_not_written_over_values(court: Court, sql: str) -> None:
    with pytest.raises(RefusedError, match="would be written over the values"):
        await rewrite(court, sql, MASKS)


async def test_a_mask_that_is_always_null_is_not_written_over_values_either(court: Court) -> None:
    """In the masked text nothing of the column is left that would tell where NULL comes from."""
    masks = tuple(
        ColumnMask(ColumnRef(table, path), "secret", NullMask())
        for table, path in ((CUSTOMERS.id, ("ssn",)), (ORDERS.id, ("note",)))
    )

    with pytest.raises(RefusedError, match="would be written over the values"):
        await rewrite(court, "INSERT INTO orders (note) SELECT ssn FROM customers", masks)


async def test_values_without_masks_are_written_under_a_protected_name(court: Court) -> None:
    """It ended in an internal fault: the table to be made was looked for among those there are."""
    sql = "CREATE OR REPLACE TABLE orders AS SELECT id, name AS note FROM customers"

    rewritten = await rewrite(court, sql, MASKS)

    assert "'XXX-XX-XXXX'" in rewritten.sql


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE copied CLONE customers",
        "CREATE TABLE copied COPY customers",
        "CREATE SNAPSHOT TABLE copied CLONE customers",
    ],
)
async def test_rows_are_not_copied_unmasked(court: Court, sql: str) -> None:
    with pytest.raises(RefusedError, match="as it is, with columns masked for you") as refused:
        await rewrite(court, sql)
    assert "CREATE TABLE AS SELECT" in refused.value.hint


async def test_columns_keep_the_names_that_their_labels_go_by(court: Court) -> None:
    for column in ("ssn", "name"):
        with pytest.raises(RefusedError, match="none may be renamed"):
            await rewrite(court, f"ALTER TABLE customers RENAME COLUMN {column} TO harmless")
    assert await rewrite(court, "ALTER TABLE orders RENAME COLUMN note TO harmless")


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, ssn FROM customers",
        "SELECT * FROM customers",
        "SELECT id FROM customers WHERE ssn > 'a'",
        "SELECT o.id FROM orders AS o JOIN customers AS c ON c.ssn = o.note",
        "SELECT COUNT(DISTINCT ssn) AS n FROM customers",
        "WITH c AS (SELECT * FROM customers) SELECT TO_JSON_STRING(c) AS c FROM c",
    ],
)
async def test_no_view_holds_the_key_of_a_hash(court: Court, kind: str, query: str) -> None:
    with pytest.raises(RefusedError, match="masked with a key, which no view may hold"):
        await rewrite(court, f"CREATE {kind} v AS {query}", (HASH,))


async def test_no_function_holds_the_key_of_a_hash(court: Court) -> None:
    making = "CREATE FUNCTION f() AS ((SELECT MAX({}) FROM customers))"

    with pytest.raises(RefusedError, match="masked with a key, which no function may hold"):
        await rewrite(court, making.format("ssn"), (HASH,))
    assert "@" not in (await rewrite(court, making.format("id"), (HASH,))).sql


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, name FROM customers ORDER BY id",
        "SELECT COUNT(*) AS n FROM customers",
        "SELECT * EXCEPT (ssn) FROM customers ORDER BY id",
        "WITH c AS (SELECT * FROM customers) SELECT id, name FROM c ORDER BY id",
    ],
)
async def test_a_view_is_not_refused_for_a_hashed_column_that_it_does_not_use(
    court: Court, query: str
) -> None:
    """No token stands in its rows, so none is made: neither the column nor the key is in its text."""
    rewritten = await rewrite(court, f"CREATE VIEW v AS {query}", (HASH,))

    assert not rewritten.hidden_parameters
    assert "@" not in rewritten.sql
    assert "CAST(NULL AS STRING) AS `ssn`" in rewritten.sql
    masked = runnable(rewritten.sql.removeprefix("CREATE VIEW v AS "), TABLES)
    world = court.worlds[0]
    assert world.run(masked) == world.run(runnable(query, TABLES))
    assert not world.run(masked).error


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
async def test_a_view_is_not_refused_for_keeping_the_names_of_protected_columns(
    court: Court, kind: str
) -> None:
    making = f"CREATE OR REPLACE {kind} orders AS "

    rewritten = await rewrite(court, f"{making}SELECT id, ssn AS note FROM customers", MASKS)

    query = runnable(rewritten.sql.removeprefix(making), TABLES)
    answers = [world.run(query) for world in court.worlds]
    assert not answers[0].error
    assert answers[0] == answers[1]

    script = f"SELECT 1; {making}SELECT id, ssn AS note FROM customers"
    assert (await rewrite(court, script, MASKS)).masked


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO customers (id, ssn) SELECT id, ssn FROM seen",
        "INSERT INTO orders (id, note) SELECT id, other FROM seen",
        "CREATE OR REPLACE TABLE customers AS SELECT id, ssn FROM seen",
        "MERGE customers AS c USING seen ON c.id = seen.id WHEN MATCHED THEN UPDATE SET ssn = seen.ssn",
    ],
)
async def test_a_mask_is_not_written_over_values_through_a_view_either(
    court: Court, sql: str
) -> None:
    making = "CREATE OR REPLACE VIEW seen AS "
    query = "SELECT id, ssn, CONCAT(ssn, '') AS other FROM customers"
    rewritten = await rewrite(court, making + query, MASKS)
    seen = Table(
        TableId(PROJECT, DATASET, "seen"),
        TableKind.VIEW,
        (Field("id", "INT64"), Field("ssn", "STRING"), Field("other", "STRING")),
        "1",
        view_query=rewritten.sql.removeprefix(making),
    )
    source = SchemaSource((*TABLES, seen))

    with pytest.raises(RefusedError, match="would be written over the values"):
        await rewrite(court, sql, MASKS, source)


async def test_a_table_that_is_only_written_brings_no_hidden_parameters(court: Court) -> None:
    rewritten = await rewrite(court, "INSERT INTO customers (id) VALUES (1)", (HASH,))

    assert not rewritten.hidden_parameters
    assert not rewritten.masked
