from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.facts import sources, uses

from keystile.analysis.analysed import Analysed

Analyse = Callable[..., Analysed]

CASES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    # pipe operators
    (
        "FROM customers",
        {
            "address.city": "output",
            "address.zip": "output",
            "contacts.kind": "output",
            "contacts.to": "output",
            "created": "output",
            "id": "output",
            "name": "output",
            "ssn": "output",
        },
        {
            "id": "id",
            "name": "name",
            "ssn": "ssn",
            "address": "address.city address.zip",
            "contacts": "contacts.kind contacts.to",
            "created": "created",
        },
    ),
    (
        "FROM customers |> WHERE ssn = '1' |> SELECT name",
        {"name": "output", "ssn": "filter argument"},
        {"name": "name"},
    ),
    (
        "FROM customers |> EXTEND UPPER(ssn) AS up |> DROP ssn |> SELECT up",
        {"ssn": "output argument"},
        {"up": "ssn"},
    ),
    ("FROM customers |> SET name = ssn |> SELECT name", {"ssn": "output"}, {"name": "ssn"}),
    ("FROM customers |> RENAME ssn AS s |> SELECT s", {"ssn": "output"}, {"s": "ssn"}),
    (
        "FROM customers |> AGGREGATE MAX(name) AS n GROUP BY ssn |> SELECT n",
        {"name": "output argument", "ssn": "group"},
        {"n": "name"},
    ),
    (
        "FROM customers |> AS c |> JOIN orders ON c.id = customer_id |> SELECT amount",
        {"id": "join argument", "orders.amount": "output", "orders.customer_id": "join argument"},
        {"amount": "orders.amount"},
    ),
    (
        "FROM customers |> SELECT name, ssn |> ORDER BY ssn |> LIMIT 1 |> SELECT name",
        {"name": "output", "ssn": "order"},
        {"name": "name"},
    ),
    ("FROM customers |> SELECT ssn |> DISTINCT", {"ssn": "output group"}, {"ssn": "ssn"}),
    (
        "FROM customers |> SELECT name |> UNION ALL (SELECT ssn FROM customers)",
        {"name": "output", "ssn": "output"},
        {"name": "name ssn"},
    ),
    (
        "FROM customers |> SELECT name |> ASSERT name != '' |> SELECT 1 AS one",
        {"name": "filter argument"},
        {"one": ""},
    ),
    (
        "FROM orders |> PIVOT(SUM(amount) FOR customer_id IN (1 AS one, 2 AS two))",
        {
            "orders.amount": "output argument",
            "orders.customer_id": "output group",
            "orders.id": "output group",
        },
        {
            "id": "orders.id",
            "one": "orders.amount orders.customer_id",
            "two": "orders.amount orders.customer_id",
        },
    ),
    (
        "FROM customers |> SELECT name, ssn |> UNPIVOT(v FOR c IN (name, ssn)) |> SELECT v",
        {"name": "output argument", "ssn": "output argument"},
        {"v": "name ssn"},
    ),
    # no table, and joins
    ("SELECT 1 AS one", {}, {"one": ""}),
    (
        "SELECT c.name FROM customers AS c JOIN orders AS o ON o.customer_id = c.id",
        {"id": "join argument", "name": "output", "orders.customer_id": "join argument"},
        {"name": "name"},
    ),
    (
        "SELECT name FROM customers JOIN orders USING (id)",
        {"id": "join argument", "name": "output", "orders.id": "join argument"},
        {"name": "name"},
    ),
    (
        "SELECT c.name FROM customers AS c, orders AS o WHERE o.id = c.id",
        {"id": "filter argument", "name": "output", "orders.id": "filter argument"},
        {"name": "name"},
    ),
    # arrays of a row
    (
        "SELECT k.kind, place FROM customers AS c, c.contacts AS k WITH OFFSET AS place",
        {"contacts.kind": "output"},
        {"kind": "contacts.kind", "place": ""},
    ),
    (
        "SELECT k.to FROM customers AS c LEFT JOIN UNNEST(c.contacts) AS k ON k.kind = c.name",
        {"contacts.kind": "join argument", "contacts.to": "output", "name": "join argument"},
        {"to": "contacts.to"},
    ),
    (
        "SELECT x FROM UNNEST((SELECT ARRAY_AGG(ssn) FROM customers)) AS x",
        {"ssn": "output argument"},
        {"x": "ssn"},
    ),
    # groups
    (
        "SELECT MAX(name) AS n FROM customers GROUP BY id HAVING MAX(ssn) > '1'",
        {"id": "group", "name": "output argument", "ssn": "filter argument"},
        {"n": "name"},
    ),
    (
        "SELECT name, COUNT(*) AS n FROM customers GROUP BY ROLLUP(name, ssn)",
        {"name": "output group", "ssn": "group"},
        {"name": "name", "n": ""},
    ),
    (
        "SELECT COUNT(*) AS n FROM customers GROUP BY CUBE(name, ssn)",
        {"name": "group", "ssn": "group"},
        {"n": ""},
    ),
    (
        (
            "SELECT COUNT(*) AS n, GROUPING(ssn) AS g FROM customers GROUP BY GROUPING SETS(name,"
            " (ssn), ())"
        ),
        {"name": "group", "ssn": "group"},
        {"n": "", "g": ""},
    ),
    (
        "SELECT ssn, COUNT(*) AS n FROM customers GROUP BY ALL",
        {"ssn": "output group"},
        {"ssn": "ssn", "n": ""},
    ),
    ("SELECT DISTINCT ssn FROM customers", {"ssn": "output group"}, {"ssn": "ssn"}),
    (
        (
            "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1, delta = 0.1,"
            " privacy_unit_column = ssn) COUNT(*) AS n FROM customers"
        ),
        {"ssn": "argument"},
        {"n": ""},
    ),
    (
        (
            "SELECT WITH AGGREGATION_THRESHOLD OPTIONS(threshold = 5, privacy_unit_column = ssn)"
            " name, COUNT(*) AS n FROM customers GROUP BY name"
        ),
        {"name": "output group", "ssn": "argument"},
        {"name": "name", "n": ""},
    ),
    # windows
    (
        (
            "SELECT name FROM customers QUALIFY ROW_NUMBER() OVER (PARTITION BY address.city"
            " ORDER BY ssn) = 1"
        ),
        {
            "address.city": "filter window argument",
            "name": "output",
            "ssn": "filter window argument",
        },
        {"name": "name"},
    ),
    (
        "SELECT SUM(id) OVER w AS s FROM customers WINDOW w AS (PARTITION BY ssn ORDER BY created)",
        {"created": "output window", "id": "output argument", "ssn": "output window"},
        {"s": "created id ssn"},
    ),
    (
        "SELECT LAG(name) OVER (ORDER BY ssn) AS l FROM customers",
        {"name": "output argument", "ssn": "output window"},
        {"l": "name ssn"},
    ),
    (
        (
            "SELECT NTH_VALUE(name, 2) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT"
            " ROW) AS v FROM customers"
        ),
        {"id": "output window", "name": "output argument"},
        {"v": "id name"},
    ),
    # turning rows into columns and back
    (
        (
            "SELECT * FROM (SELECT name, ssn, id FROM customers) PIVOT(MAX(name) FOR ssn IN ('1'"
            " AS one, '2' AS two))"
        ),
        {"id": "output group", "name": "output argument", "ssn": "output group"},
        {"id": "id", "one": "name ssn", "two": "name ssn"},
    ),
    (
        "SELECT v, c FROM (SELECT name, ssn FROM customers) UNPIVOT(v FOR c IN (name, ssn))",
        {"name": "output argument", "ssn": "output argument"},
        {"v": "name ssn", "c": ""},
    ),
    # set operations
    (
        "SELECT name FROM customers UNION ALL SELECT ssn FROM customers",
        {"name": "output", "ssn": "output"},
        {"name": "name ssn"},
    ),
    (
        "SELECT name FROM customers UNION DISTINCT SELECT ssn FROM customers",
        {"name": "output group", "ssn": "output group"},
        {"name": "name ssn"},
    ),
    (
        "SELECT name FROM customers EXCEPT DISTINCT SELECT ssn FROM customers",
        {"name": "output group", "ssn": "output group"},
        {"name": "name ssn"},
    ),
    (
        "SELECT name FROM customers INTERSECT DISTINCT SELECT ssn FROM customers",
        {"name": "output group", "ssn": "output group"},
        {"name": "name ssn"},
    ),
    (
        "SELECT name, ssn FROM customers UNION ALL BY NAME SELECT ssn, name FROM customers",
        {"name": "output", "ssn": "output"},
        {"name": "name", "ssn": "ssn"},
    ),
    (
        "SELECT name FROM customers FULL UNION ALL BY NAME SELECT name, ssn FROM customers",
        {"name": "output", "ssn": "output"},
        {"name": "name", "ssn": "ssn"},
    ),
    (
        (
            "SELECT name, id FROM customers UNION ALL CORRESPONDING SELECT id, ssn AS name FROM"
            " customers"
        ),
        {"id": "output", "name": "output", "ssn": "output"},
        {"name": "name ssn", "id": "id"},
    ),
    # order, sample, limit
    (
        "SELECT name FROM customers ORDER BY ssn",
        {"name": "output", "ssn": "order"},
        {"name": "name"},
    ),
    (
        (
            "SELECT name FROM customers ORDER BY (SELECT MAX(amount) FROM orders WHERE"
            " customer_id = customers.id)"
        ),
        {
            "id": "filter argument",
            "name": "output",
            "orders.amount": "order argument",
            "orders.customer_id": "filter argument",
        },
        {"name": "name"},
    ),
    (
        "SELECT name FROM customers TABLESAMPLE SYSTEM (10 PERCENT)",
        {"name": "output"},
        {"name": "name"},
    ),
    ("SELECT name FROM customers LIMIT 1 OFFSET 2", {"name": "output"}, {"name": "name"}),
    # common table expressions
    (
        "WITH c AS (SELECT ssn AS s, name AS n FROM customers) SELECT n FROM c",
        {"name": "output"},
        {"n": "name"},
    ),
    (
        (
            "WITH RECURSIVE r AS (SELECT id, ssn FROM customers UNION ALL SELECT r.id + 1, r.ssn"
            " FROM r WHERE r.id < 3) SELECT ssn FROM r"
        ),
        {"id": "filter argument", "ssn": "output"},
        {"ssn": "ssn"},
    ),
    (
        (
            "WITH RECURSIVE r AS (SELECT id, name AS a, ssn AS b FROM customers UNION ALL SELECT"
            " r.id + 1, r.b, r.a FROM r WHERE r.id < 3) SELECT a FROM r"
        ),
        {"id": "filter argument", "name": "output", "ssn": "output"},
        {"a": "name ssn"},
    ),
    # patterns of rows
    (
        (
            "SELECT * FROM customers MATCH_RECOGNIZE(PARTITION BY name ORDER BY created MEASURES"
            " MAX(id) AS top PATTERN (a+) DEFINE a AS ssn = '1')"
        ),
        {
            "created": "output window",
            "id": "output argument",
            "name": "output window",
            "ssn": "output filter argument",
        },
        {"name": "name", "top": "created id name ssn"},
    ),
    (
        (
            "SELECT * FROM customers MATCH_RECOGNIZE(ORDER BY created MEASURES FIRST(name) AS"
            " one, MATCH_NUMBER() AS n PATTERN (a b*) DEFINE a AS ssn = '1', b AS TRUE)"
        ),
        {
            "created": "output order window",
            "name": "output argument",
            "ssn": "output filter order argument",
        },
        {"one": "created name ssn", "n": "created ssn"},
    ),
]


@pytest.mark.parametrize(("sql", "used", "derived"), CASES)
def test_columns_pass_through_every_scan(
    analyse: Analyse, sql: str, used: dict[str, str], derived: dict[str, str]
) -> None:
    analysed = analyse(sql)

    assert not analysed.facts.opaque
    assert uses(analysed) == used
    assert sources(analysed) == derived


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT * FROM GRAPH_TABLE(g MATCH (n) RETURN n.a)", "graph query"),
        ("FROM customers |> STATIC_DESCRIBE", "`static describe scan` in this query"),
        ("FROM customers |> IF TRUE THEN (|> SELECT id)", "pipe operator IF"),
    ],
)
def test_what_no_scan_is_known_for_is_refused(analyse: Analyse, sql: str, what: str) -> None:
    assert what in {one.what for one in analyse(sql).facts.opaque}
