"""What is refused is named as the text has it, where it stands, with what to write instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keystile.analysis.analysed import Analysed
from keystile.model.errors import KeystileError, NotFoundError, RefusedError

Analyse = Callable[..., Analysed]

# The text, with `¶` in front of the place that must be told; what is named; words of the hint.
REFUSED = [
    ("SELECT ¶MAX_BY(name, id) FROM customers", "function `MAX_BY`", "HAVING MAX"),
    ("SELECT ¶SAFE.MIN_BY(name, id) FROM customers", "function `MIN_BY`", "HAVING MIN"),
    ("SELECT ¶CONTAINS_SUBSTR(name, 'a') FROM customers", "`CONTAINS_SUBSTR`", "STRPOS"),
    ("SELECT ¶SEARCH(name, 'a') FROM customers", "function `SEARCH`", "LIKE"),
    ("SELECT id, ¶SESSION_USER() FROM orders", "function `SESSION_USER`", "a parameter"),
    ("SELECT\n\tid,\n\t¶CURRENT_USER()\nFROM orders", "function `CURRENT_USER`", "a parameter"),
    ("SELECT '😀', ¶AEAD.ENCRYPT(b'', 'a', 'b')", "function `AEAD.ENCRYPT`", "leave it out"),
    ("SELECT 1,\r\n  ¶KEYS.NEW_KEYSET('a')", "function `KEYS.NEW_KEYSET`", "leave it out"),
    ("SELECT ¶a.b.c.d(1)", "routine `a.b.c.d`", "write what it computes"),
    ("SELECT ¶@@project_id", "system variable `@@project_id`", "a parameter"),
    ("SELECT ¶@keystile_hash_inner", "reserved parameter `@keystile_hash_inner`", "another name"),
    ("SELECT ¶_CHANGE_TYPE FROM orders", "pseudo column `_CHANGE_TYPE`", "own columns"),
    (
        "SELECT * FROM ¶EXTERNAL_QUERY('c', 'SELECT 1')",
        "table function `EXTERNAL_QUERY`",
        "read tables",
    ),
    (
        "SELECT id FROM `acme-shop.shop.orders` WHERE ¶SESSION_USER() = 'x'",
        "function `SESSION_USER`",
        "a parameter",
    ),
    (
        "SELECT id FROM `acme-shop.shop`\n.orders JOIN ¶`shop.orders$20240131` USING (id)",
        "partition or snapshot decorator in `shop.orders$20240131`",
        "read `shop.orders` WHERE TIMESTAMP_TRUNC(_PARTITIONTIME, DAY) = TIMESTAMP '2024-01-31 ",
    ),
    (
        "SELECT * FROM ¶`orders$2024`",
        "decorator in `orders$2024`",
        "YEAR) = TIMESTAMP '2024-01-01 ",
    ),
    ("SELECT * FROM ¶`orders@1234`", "decorator in `orders@1234`", "name the table without it"),
    ("SELECT * FROM ¶`shop.or*ers`", "`*` before the end of `shop.or*ers`", "end the table's name"),
    ("SELECT * FROM ¶`shop.__TABLES__`", "meta table `shop.__TABLES__`", "INFORMATION_SCHEMA"),
    ("SELECT * FROM ¶_x.t", "hidden or temporary dataset in `_x.t`", "made from"),
    ("SELECT * FROM ¶a.b.c.d", "more than three parts in `a.b.c.d`", "`project.dataset.table`"),
    ("SELECT * FROM ¶shop.INFORMATION_SCHEMA.JOBS", "INFORMATION_SCHEMA.JOBS`", "operator"),
    ("SELECT * FROM ¶sheet", "external or special table `acme-shop.shop.sheet`", "in BigQuery"),
    ("SELECT * FROM ¶GRAPH_TABLE(g MATCH (a) RETURN a.x)", "graph query", "joins"),
    ("SELECT * FROM orders ¶FOR UPDATE", "FOR UPDATE", "leave it out"),
    ("FROM orders ¶|> FORK (|> SELECT id), (|> LIMIT 1)", "pipe operator FORK", "end the pipe"),
    ("FROM orders ¶|> INSERT INTO customers", "pipe operator INSERT", "end the pipe"),
    ("¶#legacySQL\nSELECT * FROM orders", "`#legacySQL` directive", "GoogleSQL"),
    ("SELECT * FROM ML.PREDICT(¶MODEL shop.m, TABLE orders)", "model `shop.m`", "predictions"),
    ("DELETE FROM ¶gone WHERE TRUE", "table `acme-shop.shop.gone`, which was not found", "spelled"),
    ("DELETE FROM ¶recent WHERE TRUE", "view `acme-shop.shop.recent` as a target", "a table"),
    ("INSERT INTO ¶`ev_*` (id) SELECT 1", "writing to the wildcard `ev_*`", "name one table"),
    (
        "UPDATE customers SET ¶contacts[OFFSET(0)].kind = 'x' WHERE TRUE",
        "setting an element of an array",
        "UNNEST",
    ),
    ("UPDATE customers SET ¶(DELETE contacts WHERE TRUE) WHERE TRUE", "nested field", "UNNEST"),
    ("INSERT INTO orders (id) VALUES (1) ¶THEN RETURN id", "THEN RETURN clause", "SELECT"),
    ("INSERT INTO orders (id) VALUES (1) ¶ON CONFLICT DO NOTHING", "ON CONFLICT", "MERGE"),
    (
        "ALTER TABLE orders ADD COLUMN a INT64 ¶REFERENCES customers(id) NOT ENFORCED",
        "REFERENCES of a new column",
        "and then a FOREIGN KEY",
    ),
    (
        "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES ¶gone(id) NOT ENFORCED",
        "table `acme-shop.shop.gone`, which was not found",
        "spelled",
    ),
    (
        "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES ¶`customers$1`(id) NOT ENFORCED",
        "decorator in `customers$1`",
        "without it",
    ),
    ("ALTER TABLE orders ADD CONSTRAINT ¶c CHECK (id > 1)", "CHECK constraint", "leave"),
    ("ALTER TABLE orders ADD COLUMN a INT64 ¶GENERATED ALWAYS AS (1)", "generated", "query"),
    ("ALTER TABLE orders ALTER COLUMN id SET DEFAULT ¶(SELECT 1)", "subquery in ALTER", "value"),
    ("ALTER TABLE orders ALTER COLUMN id SET DEFAULT ¶own()", "function `own` in ALTER", "value"),
    ("ALTER TABLE orders ADD COLUMN a INT64 DEFAULT ¶d.own()", "function `d.own` in", "value"),
    ("ALTER TABLE orders ADD COLUMN a STRING DEFAULT ¶SESSION_USER()", "in ALTER", "value"),
    ("ALTER TABLE orders ¶SET DEFAULT COLLATE 'und:ci'", "SET COLLATE CLAUSE", "owner"),
    ("ALTER TABLE orders SET OPTIONS (¶tags = [('a', 'b')])", "option `tags`", "leave"),
    ("¶DROP MODEL m", "DROP MODEL", "owner"),
    ("ALTER SCHEMA shop SET OPTIONS (¶is_case_insensitive = TRUE)", "option `is_case", "leave"),
    ("CREATE TABLE x (a INT64) OPTIONS (¶kms_key_name = 'k')", "option `kms_key_name`", "leave"),
    ("CREATE TABLE x (a INT64 ¶GENERATED ALWAYS AS (1))", "generated column", "the query"),
    ("¶CREATE TEMP VIEW x AS SELECT 1 AS a", "temporary view", "WITH"),
    ("¶CREATE INDEX i ON orders(id)", "this kind of index", "CREATE SEARCH INDEX"),
    (
        "CREATE TABLE x CLONE ¶orders FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
        "CLONE or COPY of an earlier state",
        "CREATE TABLE AS SELECT",
    ),
    ("¶EXPORT DATA OPTIONS (uri = @u) AS SELECT 1", "an address that is not written out", "uri"),
    (
        "EXPORT DATA OPTIONS (uri = 'gs://x', ¶format = 'CLOUD_PUBSUB') AS SELECT 1",
        "export in this format",
        "AVRO, CSV, JSON, PARQUET",
    ),
    ("¶CALL p()", "CALL statement", "statements of your own"),
    ("¶EXPLAIN SELECT 1", "EXPLAIN statement", "dry run"),
    ("¶SHOW TABLES", "SHOW statement", "INFORMATION_SCHEMA"),
    ("¶DESCRIBE orders", "DESCRIBE statement", "INFORMATION_SCHEMA.COLUMNS"),
    ("¶GRANT `roles/viewer` ON TABLE x TO 'user:a@b.c'", "GRANT statement", "access of their own"),
    ("¶LOAD DATA INTO x FROM FILES (format = 'CSV')", "LOAD DATA statement", "access of their own"),
    # Scripts: places are those of the whole script.
    ("¶SET @@dataset_id = 'x'", "system variable `@@dataset_id`", "in full"),
    ("SELECT 1;\n\tSELECT '😀', ¶SESSION_USER();", "function `SESSION_USER`", "a parameter"),
    ("SELECT '😀'; SELECT ¶SESSION_USER();", "function `SESSION_USER`", "a parameter"),
    (
        "BEGIN\r\n  IF TRUE THEN\r\n    SELECT ¶SESSION_USER();\r\n  END IF;\r\nEND",
        "function `SESSION_USER`",
        "a parameter",
    ),
    ("DECLARE a DEFAULT (SELECT id\nFROM ¶`orders$1`)", "decorator in `orders$1`", "without it"),
    ("EXECUTE IMMEDIATE ¶FORMAT('DROP TABLE %s', 'x')", "a text that is no constant", "USING"),
    (
        "SELECT 1; EXECUTE IMMEDIATE ¶'SELECT SESSION_USER()'",
        "function `SESSION_USER`",
        "parameter",
    ),
    ("BEGIN TRANSACTION ¶READ ONLY; COMMIT;", "transaction mode", "BEGIN TRANSACTION alone"),
]


@pytest.mark.parametrize(("marked", "what", "hint"), REFUSED)
def test_what_is_not_understood_is_named_placed_and_has_a_way_out(
    analyse: Analyse, marked: str, what: str, hint: str
) -> None:
    before, _, after = marked.partition("¶")

    opaque = analyse(before + after).facts.opaque

    found = next(one for one in opaque if what in one.what)
    assert (found.line, found.column) == _place(before)
    assert hint in found.hint
    assert all(one.hint and one.line for one in opaque)


RAISED: list[tuple[str, type[KeystileError], str, str]] = [
    (
        "SELECT * FROM orders JOIN\n ¶`Orders` AS o ON TRUE",
        RefusedError,
        "differ by upper and lower case only",
        "queries of their own",
    ),
    ("SELECT * FROM\t¶`a b c!`.x.y", RefusedError, "`a b c!` is no valid part", "spelled"),
    ("SELECT * FROM orders JOIN ¶Customers ON TRUE", NotFoundError, "shop.Customers", ""),
    ("SELECT 1;\nSELECT * FROM ¶gone", NotFoundError, "shop.gone", ""),
    (
        "SELECT t.x FROM orders AS t, ¶`t.x`",
        RefusedError,
        "`t.x` may name a table or a column",
        "in its own backticks",
    ),
]


@pytest.mark.parametrize(("marked", "error", "what", "hint"), RAISED)
def test_what_is_refused_outright_is_placed_too(
    analyse: Analyse, marked: str, error: type[KeystileError], what: str, hint: str
) -> None:
    before, _, after = marked.partition("¶")

    with pytest.raises(error) as caught:
        analyse(before + after)

    assert what in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.place == _place(before)
    line, column = _place(before)
    assert f" at [{line}:{column}]" in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("SELECT nope FROM `acme-shop.shop.customers`", "[1:8]"),
        ("SELECT id FROM `acme-shop.shop.customers` WHERE nope = 1", "[1:49]"),
        ("SELECT id FROM `acme-shop.shop`\n.customers WHERE nope = 1", "[2:18]"),
        ("SELECT 1;\n\tSELECT\tid FROM `shop.orders` WHERE nope = 1", "[2:45]"),
        ("BEGIN\r\nSELECT id FROM `shop.orders` WHERE nope = 1; END", "[2:36]"),
    ],
)
def test_the_engines_words_have_the_places_of_the_text_as_it_came(
    analyse: Analyse, sql: str, place: str
) -> None:
    with pytest.raises(KeystileError) as caught:
        analyse(sql)

    assert caught.value.message.endswith(f"at {place}")


def test_a_legacy_table_name_is_told_in_googlesql(analyse: Analyse) -> None:
    with pytest.raises(KeystileError) as caught:
        analyse("SELECT id FROM [acme-shop:shop.orders] LIMIT 1")

    assert caught.value.message == 'Syntax error: Unexpected "[" at [1:16]'
    assert "write `acme-shop.shop.orders` in backticks" in caught.value.hint


def _place(before: str) -> tuple[int, int]:
    lines = before.replace("\r\n", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1
