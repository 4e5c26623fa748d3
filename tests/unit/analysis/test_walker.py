from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.facts import sources, uses

from keystile.analysis.analysed import Analysed

Analyse = Callable[..., Analysed]

CASES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    # subqueries
    (
        (
            "SELECT (SELECT MAX(o.amount) FROM orders AS o WHERE o.customer_id = c.id) AS m FROM"
            " customers AS c"
        ),
        {
            "id": "filter argument",
            "orders.amount": "output argument",
            "orders.customer_id": "filter argument",
        },
        {"m": "orders.amount"},
    ),
    (
        (
            "SELECT EXISTS (SELECT 1 FROM orders AS o WHERE o.customer_id = c.id) AS e FROM"
            " customers AS c"
        ),
        {"id": "output filter argument", "orders.customer_id": "output filter argument"},
        {"e": "id orders.customer_id"},
    ),
    (
        "SELECT id IN (SELECT customer_id FROM orders WHERE amount > 1) AS i FROM customers",
        {
            "id": "output argument",
            "orders.amount": "output filter argument",
            "orders.customer_id": "output argument",
        },
        {"i": "id orders.amount orders.customer_id"},
    ),
    (
        (
            "SELECT ARRAY(SELECT k.to FROM UNNEST(c.contacts) AS k WHERE k.kind = 'mail') AS a"
            " FROM customers AS c"
        ),
        {"contacts.kind": "filter argument", "contacts.to": "output"},
        {"a": "contacts.to"},
    ),
    # fields of a STRUCT and elements of an array
    ("SELECT address.city FROM customers", {"address.city": "output"}, {"city": "address.city"}),
    (
        "SELECT s.b FROM (SELECT STRUCT(id AS a, ssn AS b) AS s FROM customers)",
        {"id": "argument", "ssn": "output"},
        {"b": "ssn"},
    ),
    (
        "SELECT contacts[SAFE_OFFSET(id)].to FROM customers",
        {"contacts.kind": "output", "contacts.to": "output", "id": "output argument"},
        {"to": "contacts.kind contacts.to id"},
    ),
    (
        "SELECT ARRAY_LENGTH(contacts) AS n FROM customers",
        {"contacts.kind": "output argument", "contacts.to": "output argument"},
        {"n": "contacts.kind contacts.to"},
    ),
    (
        "SELECT [ssn, name][SAFE_OFFSET(0)] AS e FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"e": "name ssn"},
    ),
    (
        "SELECT address = STRUCT('a', 'b') AS same FROM customers",
        {"address.city": "output argument", "address.zip": "output argument"},
        {"same": "address.city address.zip"},
    ),
    # whole rows
    (
        "SELECT c FROM (SELECT name, ssn FROM customers) AS c",
        {"name": "output", "ssn": "output"},
        {"c": "name ssn"},
    ),
    (
        "SELECT TO_JSON(c) AS j FROM (SELECT name, ssn FROM customers) AS c",
        {"name": "output argument", "ssn": "output argument"},
        {"j": "name ssn"},
    ),
    (
        "SELECT TO_JSON(c).ssn AS j FROM (SELECT name, ssn FROM customers) AS c",
        {"name": "output argument", "ssn": "output argument"},
        {"j": "name ssn"},
    ),
    (
        "SELECT JSON_QUERY(TO_JSON(c), '$.name') AS j FROM (SELECT name, ssn FROM customers) AS c",
        {"name": "output argument", "ssn": "output argument"},
        {"j": "name ssn"},
    ),
    (
        "SELECT FORMAT('%t', address) AS f FROM customers",
        {"address.city": "output argument", "address.zip": "output argument"},
        {"f": "address.city address.zip"},
    ),
    # lambdas
    (
        "SELECT ARRAY_TRANSFORM(contacts, k -> k.to) AS a FROM customers",
        {"contacts.kind": "output argument", "contacts.to": "output argument"},
        {"a": "contacts.kind contacts.to"},
    ),
    (
        "SELECT ARRAY_FILTER([name], n -> n != ssn) AS a FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"a": "name ssn"},
    ),
    # WITH expressions
    (
        "SELECT WITH(a AS UPPER(ssn), b AS name, CONCAT(a, b)) AS w FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"w": "name ssn"},
    ),
    # chained calls and named arguments
    (
        "SELECT (name).UPPER().CONCAT(ssn) AS c FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"c": "name ssn"},
    ),
    (
        "SELECT MAKE_INTERVAL(year => id) AS i FROM customers",
        {"id": "output argument"},
        {"i": "id"},
    ),
    # conditions and casts
    (
        "SELECT CASE WHEN ssn = '1' THEN name ELSE 'x' END AS c FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"c": "name ssn"},
    ),
    (
        "SELECT IF(ssn > '1', name, 'x') AS i, COALESCE(name, ssn) AS j FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"i": "name ssn", "j": "name ssn"},
    ),
    (
        "SELECT CAST(ssn AS INT64) AS i, SAFE_CAST(name AS INT64) AS j FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"i": "ssn", "j": "name"},
    ),
    (
        "SELECT name LIKE ANY ('a%', ssn) AS l FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"l": "name ssn"},
    ),
    (
        "SELECT name BETWEEN 'a' AND ssn AS b FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"b": "name ssn"},
    ),
    # times, ranges and intervals
    (
        "SELECT RANGE_CONTAINS(RANGE(created, NULL), CURRENT_TIMESTAMP()) AS r FROM customers",
        {"created": "output argument"},
        {"r": "created"},
    ),
    (
        "SELECT TIMESTAMP_SUB(created, INTERVAL id DAY) AS t FROM customers",
        {"created": "output argument", "id": "output argument"},
        {"t": "created id"},
    ),
    (
        "SELECT EXTRACT(YEAR FROM created) AS y FROM customers",
        {"created": "output argument"},
        {"y": "created"},
    ),
    # what an aggregate has beside its arguments
    (
        "SELECT ARRAY_AGG(name ORDER BY ssn LIMIT 1) AS a FROM customers",
        {"name": "output argument", "ssn": "output order"},
        {"a": "name ssn"},
    ),
    (
        "SELECT ANY_VALUE(name HAVING MAX ssn) AS a FROM customers",
        {"name": "output argument", "ssn": "output argument"},
        {"a": "name ssn"},
    ),
    ("SELECT COUNT(DISTINCT ssn) AS n FROM customers", {"ssn": "output argument"}, {"n": "ssn"}),
    (
        "SELECT SUM(amount WHERE customer_id > 1) AS s FROM orders",
        {"orders.amount": "output argument", "orders.customer_id": "output filter argument"},
        {"s": "orders.amount orders.customer_id"},
    ),
    (
        "SELECT SUM(MAX(amount) GROUP BY customer_id) AS s FROM orders",
        {"orders.amount": "output argument", "orders.customer_id": "output group"},
        {"s": "orders.amount orders.customer_id"},
    ),
    (
        "SELECT PERCENTILE_CONT(id, 0.5) OVER (PARTITION BY ssn) AS p FROM customers",
        {"id": "output argument", "ssn": "output window"},
        {"p": "id ssn"},
    ),
]


@pytest.mark.parametrize(("sql", "used", "derived"), CASES)
def test_every_expression_tells_what_it_uses(
    analyse: Analyse, sql: str, used: dict[str, str], derived: dict[str, str]
) -> None:
    analysed = analyse(sql)

    assert not analysed.facts.opaque
    assert uses(analysed) == used
    assert sources(analysed) == derived


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT SAFE.APPLY(ssn, x -> x) FROM customers", "function `APPLY`"),
        ("SELECT v FROM UNNEST([STRUCT(STRUCT(5 AS y) AS x)].x.y) AS v", "`flatten` in this query"),
    ],
)
def test_an_expression_that_is_not_known_is_refused(analyse: Analyse, sql: str, what: str) -> None:
    assert what in {one.what for one in analyse(sql).facts.opaque}
