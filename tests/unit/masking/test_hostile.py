# ruff: noqa: E501, ISC004, S608 - queries read best on one line, and are no injections here
"""Attack shapes, run for real: each tells two worlds apart, and must not once masked."""

from __future__ import annotations

import pytest
from prove.evaluator import Given
from prove.trial import Court, Outcome

from keystile.model.schema import SqlType

ATTACKS = [
    # Everything, by any name
    "SELECT * FROM customers",
    "SELECT c.* EXCEPT (id) FROM customers AS c",
    "SELECT ssn AS harmless FROM customers",
    "SELECT * FROM `acme-shop.shop.customers`",
    "SELECT * FROM (SELECT ssn FROM customers)",
    "SELECT (SELECT MAX(ssn) FROM customers)",
    "SELECT ARRAY(SELECT ssn FROM customers ORDER BY id)",
    "WITH c AS (SELECT * FROM customers) SELECT ssn FROM c",
    "WITH customers AS (SELECT * FROM customers) SELECT ssn FROM customers",
    "WITH a AS (SELECT ssn FROM customers), b AS (SELECT * FROM a) SELECT * FROM b JOIN a USING (ssn)",
    "SELECT name FROM customers UNION ALL SELECT ssn FROM customers",
    "SELECT ssn AS x, id AS y FROM customers UNION ALL BY NAME SELECT id AS y, name AS x FROM customers",
    "SELECT ssn FROM customers EXCEPT DISTINCT SELECT '1'",
    "SELECT ssn FROM customers INTERSECT DISTINCT SELECT ssn FROM customers",
    "FROM customers",
    "FROM customers |> RENAME ssn AS harmless",
    "SELECT a.e, b.ssn FROM (FROM customers |> RENAME email AS e) AS a JOIN (FROM customers) AS b USING (id)",
    "SELECT 'x' AS ssn |> UNION ALL CORRESPONDING (FROM customers)",
    "WITH c AS (FROM customers) SELECT ssn FROM c",
    "FROM customers |> SELECT ssn",
    "FROM customers |> EXTEND UPPER(email) AS e |> DROP email",
    "FROM customers |> SET name = ssn",
    "FROM customers |> AGGREGATE MAX(ssn) AS m GROUP BY name |> ORDER BY name",
    "SELECT o.id, c.ssn FROM orders AS o JOIN customers AS c ON c.id = o.customer_id",
    "SELECT * FROM orders RIGHT JOIN customers USING (id)",
    "SELECT note FROM orders",
    "SELECT * FROM orders, customers WHERE orders.customer_id = customers.id",
    "(SELECT ssn FROM customers)",
    # Whole rows
    "SELECT t FROM customers AS t",
    "SELECT customers FROM customers",
    "SELECT TO_JSON_STRING(t) FROM customers AS t",
    "SELECT TO_JSON_STRING(customers) FROM customers",
    "SELECT FORMAT('%T', t) FROM customers AS t",
    "SELECT STRUCT(t) FROM customers AS t",
    "SELECT ARRAY_AGG(t) FROM customers AS t",
    "SELECT AS STRUCT ssn, id FROM customers",
    "SELECT AS VALUE c FROM customers AS c",
    "SELECT ANY_VALUE(t).ssn FROM customers AS t",
    # Expressions over a masked column
    "SELECT SUBSTR(ssn, 1, 1) || SUBSTR(ssn, 2, 1) FROM customers",
    "SELECT REVERSE(ssn), TO_HEX(CAST(ssn AS BYTES)), SHA256(ssn), FARM_FINGERPRINT(ssn) FROM customers",
    "SELECT COUNT(DISTINCT age) + MIN(age) + MAX(age) + SUM(age) FROM customers",
    "SELECT STRING_AGG(ssn ORDER BY id) FROM customers",
    "SELECT IF(ssn LIKE '1%', 'a', 'b'), CASE WHEN age > 50 THEN 1 END FROM customers",
    "SELECT ssn LIKE ANY ('1%', '%5%'), age BETWEEN 30 AND 50 FROM customers",
    "SELECT REGEXP_EXTRACT(ssn, r'^(\\d)'), STRPOS(ssn, '4'), CHAR_LENGTH(email) FROM customers",
    "SELECT WITH(a AS ssn, UPPER(a) || 'x') FROM customers",
    "SELECT ARRAY_TRANSFORM(nicknames, n -> n || 'x') FROM customers",
    "SELECT ARRAY_FILTER([ssn, name], v -> v > '4') FROM customers",
    "SELECT GREATEST(ssn, '5'), COALESCE(ssn, name), NULLIF(ssn, '1') FROM customers",
    "SELECT SAFE_CAST(SUBSTR(ssn, 1, 1) AS INT64), secret FROM customers",
    "SELECT JSON_OBJECT('s', ssn), TO_JSON(customers).ssn FROM customers",
    # Filters, joins, groups, orders, windows
    "SELECT id FROM customers WHERE age > 40",
    "SELECT COUNT(*) FROM customers WHERE ssn > '4'",
    "SELECT COUNTIF(ssn > '4') FROM customers",
    "SELECT name, COUNT(*) FROM customers GROUP BY name, age > 40",
    "SELECT name FROM customers GROUP BY name HAVING MAX(age) > 60",
    "SELECT id FROM customers ORDER BY age DESC",
    "SELECT ARRAY_AGG(id ORDER BY ssn) FROM customers",
    "SELECT id, RANK() OVER (ORDER BY age) FROM customers ORDER BY id",
    "SELECT id, COUNT(*) OVER (PARTITION BY age > 40) FROM customers ORDER BY id",
    "SELECT id, LAG(ssn) OVER (ORDER BY id) FROM customers ORDER BY id",
    "SELECT id FROM customers WHERE TRUE QUALIFY RANK() OVER (ORDER BY age) <= 3",
    "SELECT SUM(age) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM customers",
    "SELECT a.id, b.id FROM customers AS a JOIN customers AS b ON a.age < b.age ORDER BY 1, 2",
    "SELECT id FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE age > 40)",
    "SELECT id FROM orders AS o WHERE EXISTS"
    " (SELECT 1 FROM customers AS c WHERE c.id = o.customer_id AND c.age > 40)",
    "SELECT id, (SELECT c.ssn FROM customers AS c WHERE c.id = o.customer_id) FROM orders AS o ORDER BY id",
    "SELECT (SELECT COUNT(*) FROM customers AS b WHERE b.ssn < a.ssn), a.id FROM customers AS a ORDER BY a.id",
    "SELECT id FROM customers WHERE ssn > (SELECT MIN(ssn) FROM customers)",
    "SELECT GROUPING(age), age FROM customers GROUP BY ROLLUP (age)",
    "SELECT age, name, COUNT(*) FROM customers GROUP BY GROUPING SETS ((age), (name))",
    "SELECT DISTINCT age FROM customers",
    # Nested and repeated
    "SELECT address.street FROM customers",
    "SELECT address FROM customers",
    "SELECT address.* FROM customers",
    "SELECT address.geo.zone FROM customers WHERE address.geo.lat > 45",
    "SELECT a.street FROM (SELECT address AS a FROM customers)",
    "SELECT contacts FROM customers",
    "SELECT contacts[SAFE_OFFSET(0)].value FROM customers",
    "SELECT k.value FROM customers, UNNEST(contacts) AS k",
    "SELECT value FROM customers, customers.contacts",
    "SELECT value FROM customers AS c, c.contacts WITH OFFSET AS o ORDER BY c.id, o",
    "SELECT id, k FROM customers LEFT JOIN UNNEST(contacts) AS k ON k.value > '4' ORDER BY id",
    "SELECT (SELECT STRING_AGG(value) FROM UNNEST(contacts)) FROM customers",
    "SELECT ARRAY(SELECT AS STRUCT k.* FROM UNNEST(contacts) AS k WHERE k.value > '4') FROM customers",
    "SELECT nicknames FROM customers",
    "SELECT n FROM customers, UNNEST(nicknames) AS n",
    "SELECT ARRAY_TO_STRING(nicknames, ','), ARRAY_REVERSE(nicknames) FROM customers",
    "SELECT 'x123456' IN UNNEST(nicknames), ARRAY_CONCAT(nicknames, tags) FROM customers",
    # Pivots and recursion
    "SELECT * FROM (SELECT name, age, id FROM customers) PIVOT (SUM(age) FOR name IN ('Ada', 'Bo'))",
    "SELECT * FROM (SELECT id, ssn, email FROM customers) UNPIVOT (v FOR k IN (ssn, email))",
    "SELECT * FROM customers UNPIVOT (v FOR k IN (ssn, email))",
    "WITH RECURSIVE r AS (SELECT 1 AS n, ssn AS s FROM customers WHERE id = 1"
    " UNION ALL SELECT n + 1, s || 'x' FROM r WHERE n < 3) SELECT * FROM r",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r"
    " WHERE n < (SELECT MOD(age, 7) + 2 FROM customers WHERE id = 1)) SELECT * FROM r",
    # Samples
    "SELECT ssn, age FROM customers TABLESAMPLE SYSTEM (100 PERCENT) ORDER BY id",
    "SELECT c FROM customers AS c TABLESAMPLE SYSTEM (100 PERCENT) JOIN orders AS o ON c.id = o.id",
    "SELECT COUNT(*) FROM customers TABLESAMPLE SYSTEM (100 PERCENT) WHERE ssn > '4'",
]

ERRORS = [
    "SELECT CAST(ssn AS FLOAT64) FROM customers",
    "SELECT PARSE_DATE('%F', ssn) FROM customers",
    "SELECT ERROR(ssn) FROM customers",
    "SELECT IF(ssn > '4', ERROR('yes'), 1) FROM customers",
    "SELECT 1 / (age - age) FROM customers",
    "SELECT PARSE_JSON(email) FROM customers",
    "SELECT ERROR(FORMAT('%T', (SELECT ARRAY_AGG(t) FROM customers AS t)))",
    "SELECT [1][OFFSET(age + 1)] FROM customers",
    "FROM customers |> ASSERT ssn = '1', ssn",
]


@pytest.mark.parametrize("sql", ATTACKS)
async def test_masked_query_tells_nothing(court: Court, sql: str) -> None:
    assert court.reveals_unmasked(sql), "this is no attack, so the test shows nothing"

    trial = await court.try_query(sql)

    assert trial.outcome is Outcome.SAME, trial
    assert not trial.answers[0].error


@pytest.mark.parametrize("sql", ERRORS)
async def test_error_texts_tell_nothing(court: Court, sql: str) -> None:
    trial = await court.try_query(sql)

    assert trial.outcome is Outcome.SAME, trial


@pytest.mark.parametrize(
    "table",
    [
        "customers",
        "shop.customers",
        "acme-shop.shop.customers",
        "`acme-shop.shop.customers`",
        "`acme-shop.shop`.customers",
        "`acme-shop`.shop.`customers`",
        "acme-shop.`shop.customers`",
        "`shop.customers`",
        "/* x */ shop . customers",
    ],
)
async def test_every_spelling_is_masked(court: Court, table: str) -> None:
    trial = await court.try_query(f"SELECT customers.ssn, customers FROM {table} ORDER BY id")

    assert trial.outcome is Outcome.SAME, trial
    assert not trial.answers[0].error
    assert b"XXX-XX-XXXX" in trial.answers[0].rows[0].SerializeToString()


async def test_parameter_cannot_probe(court: Court) -> None:
    given = [Given("low", SqlType("INT64"), 40)]
    sql = "SELECT id FROM customers WHERE age > @low ORDER BY id"
    assert court.reveals_unmasked(sql, given)

    assert (await court.try_query(sql, given)).outcome is Outcome.SAME


async def test_benign_queries_pass_and_keep_their_values(court: Court) -> None:
    for sql in (
        "SELECT id, name, address.city, tags FROM customers ORDER BY id",
        "WITH customers AS (SELECT 1 AS id, 'mine' AS ssn) SELECT ssn FROM customers",
        "SELECT k.kind, COUNT(*) FROM customers, UNNEST(contacts) AS k GROUP BY 1 ORDER BY 1",
        "SELECT customer_id, SUM(amount) FROM orders GROUP BY customer_id ORDER BY 1",
    ):
        trial = await court.try_query(sql)
        assert trial.outcome is Outcome.SAME
        assert trial.answers[0] == court.worlds[0].run(sql), sql


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT * FROM customers TABLESAMPLE RESERVOIR (10 ROWS)", "simpler"),
        ("SELECT * FROM customers TABLESAMPLE SYSTEM (10 PERCENT) REPEATABLE (1)", "simpler"),
        (
            "SELECT id FROM customers FOR SYSTEM_TIME AS OF"
            " (SELECT TIMESTAMP_SECONDS(MAX(age)) FROM customers)",
            "not a constant",
        ),
        ("SELECT SESSION_USER(), ssn FROM customers", "SESSION_USER"),
        ("BEGIN SELECT 1; EXCEPTION WHEN ERROR THEN SELECT @@error.statement_text; END", "@@error"),
        ("SELECT * FROM ML.PREDICT(MODEL shop.m, TABLE customers)", "ML.PREDICT"),
        ("SELECT * FROM APPENDS(TABLE customers, NULL, NULL)", "APPENDS"),
        ("SELECT * FROM VECTOR_SEARCH(TABLE customers, 'ssn', TABLE orders)", "VECTOR_SEARCH"),
        ("SELECT * FROM EXTERNAL_QUERY('c', 'SELECT 1')", "EXTERNAL_QUERY"),
        ("SELECT * FROM INFORMATION_SCHEMA.JOBS", "INFORMATION_SCHEMA"),
        ("SELECT * FROM shop.__TABLES__", "meta table"),
        ("SELECT * FROM `shop.cus*mers`", "`*` before the end"),
        ("SELECT * FROM `customers$2024`", "decorator"),
        ("SELECT * FROM _0123.anon45", "hidden"),
        ("SELECT * FROM customers JOIN Customers USING (id)", "upper and lower case"),
        ("EXECUTE IMMEDIATE FORMAT('SELECT ssn FROM %s', @t)", "EXECUTE IMMEDIATE"),
        ("CALL shop.p()", "CALL"),
        ("EXPLAIN SELECT ssn FROM customers", "EXPLAIN"),
        (
            "MERGE orders AS o USING customers AS c ON c.ssn = o.note WHEN MATCHED THEN DELETE",
            "masked",
        ),
        ("DELETE FROM customers WHERE ssn LIKE '1%'", "`ssn`"),
        ("#legacySQL\nSELECT ssn FROM customers", "legacySQL"),
        ("SELECT KEYS.NEW_KEYSET('AEAD_AES_GCM_256'), ssn FROM customers", "KEYS.NEW_KEYSET"),
        ("SELECT * FROM customers AS c, `c.contacts`", "may name a table or a column"),
        ("FROM customers |> INSERT INTO orders", "pipe operator"),
    ],
)
async def test_what_is_not_understood_is_refused_by_name(court: Court, sql: str, word: str) -> None:
    trial = await court.try_query(sql)

    assert trial.outcome is Outcome.REFUSED, trial
    assert word.lower() in trial.why.lower()
