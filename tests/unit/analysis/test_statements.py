from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.facts import sources, uses

from keystile.analysis.analysed import Analysed

Analyse = Callable[..., Analysed]

CASES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    (
        "SELECT AS STRUCT name, ssn AS s FROM customers",
        {"name": "output", "ssn": "output"},
        {"name": "name", "s": "ssn"},
    ),
    (
        "SELECT AS VALUE address FROM customers",
        {"address.city": "output", "address.zip": "output"},
        {"city": "address.city", "zip": "address.zip"},
    ),
    ("SELECT AS VALUE ssn FROM customers", {"ssn": "output"}, {"f0_": "ssn"}),
    (
        "SELECT UPPER(ssn), name, 1 FROM customers",
        {"name": "output", "ssn": "output argument"},
        {"f0_": "ssn", "name": "name", "f1_": ""},
    ),
    (
        "SELECT * EXCEPT (contacts, address, created) REPLACE (UPPER(ssn) AS ssn) FROM customers",
        {"id": "output", "name": "output", "ssn": "output argument"},
        {"id": "id", "name": "name", "ssn": "ssn"},
    ),
    (
        "INSERT INTO orders (id) SELECT id FROM customers WHERE ssn = '1'",
        {"id": "output", "ssn": "filter argument"},
        {},
    ),
    (
        "INSERT INTO orders (id) VALUES ((SELECT MAX(id) FROM customers))",
        {"id": "output argument"},
        {},
    ),
    (
        "UPDATE orders SET amount = id WHERE customer_id = 1",
        {"orders.customer_id": "filter argument", "orders.id": "output argument"},
        {},
    ),
    (
        "UPDATE orders AS o SET amount = 1 FROM customers AS c WHERE c.id = o.id",
        {"id": "filter argument", "orders.id": "filter argument"},
        {},
    ),
    (
        "UPDATE customers SET address.city = name WHERE ssn = '1'",
        {"name": "output argument", "ssn": "filter argument"},
        {},
    ),
    (
        "DELETE FROM orders WHERE id IN (SELECT id FROM customers)",
        {"id": "filter argument", "orders.id": "filter argument"},
        {},
    ),
    (
        (
            "MERGE orders AS o USING customers AS c ON o.id = c.id WHEN MATCHED AND c.ssn = '1'"
            " THEN UPDATE SET amount = c.id WHEN NOT MATCHED THEN INSERT (id) VALUES (c.id)"
        ),
        {"id": "output join argument", "ssn": "filter argument", "orders.id": "join argument"},
        {},
    ),
    ("TRUNCATE TABLE orders", {}, {}),
    ("INSERT INTO orders (id, amount) VALUES (1, DEFAULT)", {}, {}),
    ("CREATE TABLE made (a STRING DEFAULT 'x') CLUSTER BY a", {}, {}),
    (
        "ASSERT (SELECT COUNT(*) FROM customers WHERE ssn = '1') = 0 AS 'none'",
        {"ssn": "filter argument"},
        {},
    ),
    ("CREATE TABLE copy AS SELECT ssn FROM customers", {"ssn": "output"}, {"ssn": "ssn"}),
    (
        (
            "CREATE TABLE copy (a STRING DEFAULT 'x', b INT64) PARTITION BY RANGE_BUCKET(b,"
            " GENERATE_ARRAY(0, 9)) AS SELECT name AS a, id AS b FROM customers"
        ),
        {"id": "output", "name": "output"},
        {"a": "name", "b": "id"},
    ),
    (
        "CREATE VIEW seen AS SELECT UPPER(ssn) AS s FROM customers",
        {"ssn": "output argument"},
        {"s": "ssn"},
    ),
    (
        "CREATE MATERIALIZED VIEW seen AS SELECT name, COUNT(*) AS n FROM customers GROUP BY name",
        {"name": "output group"},
        {"name": "name", "n": ""},
    ),
    (
        (
            "EXPORT DATA OPTIONS (uri = 'gs://b/*.csv', format = 'CSV') AS SELECT name FROM"
            " customers ORDER BY ssn"
        ),
        {"name": "output", "ssn": "order"},
        {"name": "name"},
    ),
    (
        (
            "CREATE MODEL guess OPTIONS (model_type = 'LINEAR_REG', input_label_cols = ['id']) AS"
            " SELECT id, ssn FROM customers"
        ),
        {"id": "output", "ssn": "output"},
        {"id": "id", "ssn": "ssn"},
    ),
]


@pytest.mark.parametrize(("sql", "used", "derived"), CASES)
def test_every_statement_tells_what_it_uses(
    analyse: Analyse, sql: str, used: dict[str, str], derived: dict[str, str]
) -> None:
    analysed = analyse(sql)

    assert not analysed.facts.opaque
    assert uses(analysed) == used
    assert sources(analysed) == derived


def test_columns_without_a_name_are_named_as_bigquery_does(analyse: Analyse) -> None:
    schema = analyse("SELECT UPPER(ssn), name, 1, name FROM customers").schema

    assert [field.name for field in schema] == ["f0_", "name", "f1_", "name_1"]
