"""What reads a table beside the grammar's queries: its past, copies, views, functions, scripts."""

from __future__ import annotations

from random import Random

from keystile.analysis.text import quoted
from keystile.model.schema import Table

_ALL = "SELECT * FROM {fresh}"
WAYS_ROUND: dict[str, tuple[str, ...]] = {
    "its past": ("SELECT * FROM {table} FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",),
    "a sample": ("SELECT * FROM {table} TABLESAMPLE SYSTEM (100 PERCENT)",),
    "a wildcard": ("SELECT *, _TABLE_SUFFIX AS s FROM {wild}",),
    "a clone": ("CREATE TABLE {fresh} CLONE {table}", _ALL),
    "a copy": ("CREATE TABLE {fresh} COPY {table}", _ALL),
    "a snapshot": ("CREATE SNAPSHOT TABLE {fresh} CLONE {table}", _ALL),
    "a table like it": (
        "CREATE TABLE {fresh} LIKE {table} AS SELECT * FROM {table}",
        _ALL,
        "DROP TABLE {fresh}",
    ),
    "a table of it": (
        "CREATE TABLE {fresh} AS SELECT * FROM {table}",
        "INSERT INTO {fresh} SELECT * FROM {table}",
        "SELECT COUNT(DISTINCT TO_JSON_STRING(f)) AS n FROM {fresh} AS f",
        "DROP TABLE {fresh}",
    ),
    "a view": ("CREATE VIEW {fresh} AS SELECT * FROM {table}", _ALL, "DROP VIEW {fresh}"),
    "a view that is kept": (
        "CREATE MATERIALIZED VIEW {fresh} AS SELECT id, COUNT(*) AS n FROM {table} GROUP BY id",
        _ALL,
    ),
    "a temporary table": (
        "CREATE TEMP TABLE w AS SELECT * FROM {table}; SELECT * FROM w; SELECT COUNT(*) FROM w",
    ),
    "a function": (
        (
            "CREATE TEMP FUNCTION f(x ANY TYPE) AS (TO_JSON_STRING(x));"
            " SELECT f(t) AS a FROM {table} AS t ORDER BY 1"
        ),
        (
            "CREATE TEMP FUNCTION f(x STRING) AS"
            " ((SELECT MAX(TO_JSON_STRING(t)) FROM {table} AS t WHERE TO_JSON_STRING(t) < x));"
            " SELECT f(TO_JSON_STRING(t)) AS a FROM {table} AS t ORDER BY 1"
        ),
    ),
    "a function of a dataset": (
        "CREATE FUNCTION {fresh}() AS ((SELECT MAX(TO_JSON_STRING(t)) FROM {table} AS t))",
        "SELECT {fresh}() AS a",
        "DROP FUNCTION {fresh}",
    ),
    "a variable": (
        (
            "DECLARE v STRING DEFAULT (SELECT MAX(TO_JSON_STRING(t)) FROM {table} AS t);"
            " SELECT v; IF v > '4' THEN SELECT 1 AS one; END IF; SELECT ERROR(v)"
        ),
    ),
    "a loop": (
        "FOR t IN (SELECT * FROM {table}) DO SELECT TO_JSON_STRING(t) AS a; END FOR",
        (
            "BEGIN SELECT ERROR(STRING_AGG(TO_JSON_STRING(t))) FROM {table} AS t;"
            " EXCEPTION WHEN ERROR THEN SELECT @@error.message AS m; END"
        ),
    ),
    "a text that is run": ("EXECUTE IMMEDIATE 'SELECT * FROM {table}'",),
    "rough aggregates": (
        "SELECT APPROX_COUNT_DISTINCT(TO_JSON_STRING(t)) AS a FROM {table} AS t",
        "SELECT APPROX_QUANTILES(TO_JSON_STRING(t), 4) AS a FROM {table} AS t",
        "SELECT APPROX_TOP_COUNT(TO_JSON_STRING(t), 2) AS a FROM {table} AS t",
        "SELECT HLL_COUNT.INIT(TO_JSON_STRING(t)) AS a FROM {table} AS t",
    ),
    "a change of itself": (
        "UPDATE {table} AS t SET id = 1 / LENGTH(TO_JSON_STRING(t)) WHERE TO_JSON_STRING(t) > ''",
        (
            "MERGE {table} AS a USING {table} AS b ON TO_JSON_STRING(a) = TO_JSON_STRING(b)"
            " WHEN NOT MATCHED THEN INSERT ROW"
        ),
        "ALTER TABLE {table} RENAME COLUMN {column} TO other",
    ),
    "what is told of it": (
        "SELECT * FROM {schema}.COLUMNS WHERE {named}",
        "SELECT * FROM {schema}.COLUMN_FIELD_PATHS WHERE {named}",
        "SELECT * EXCEPT (last_modified_time) FROM {schema}.PARTITIONS WHERE {named}",
        "SELECT * EXCEPT (creation_time) FROM {schema}.TABLES WHERE {named}",
        "SELECT * FROM {schema}.TABLE_STORAGE WHERE {named}",
        "SELECT * FROM {home}.__TABLES__ WHERE table_id = '{name}'",
    ),
}
"""Statements by what they come by; `{fresh}` is a name that nothing has yet."""


def way_round(random: Random, table: Table, dataset: str, name: str) -> tuple[str, ...]:
    """Choose a way, and give its statements about a table; `name` is fresh in `dataset`."""
    id_ = table.id
    home = quoted(f"{id_.project}.{id_.dataset}")
    words = {
        "table": quoted(str(id_)),
        "wild": quoted(f"{str(id_)[:-1]}*"),
        "fresh": quoted(f"{id_.project}.{dataset}.{name}"),
        "home": home,
        "schema": f"{home}.INFORMATION_SCHEMA",
        "named": f"table_name = '{id_.table}'",
        "name": id_.table,
        "column": quoted(table.fields[-1].name),
    }
    return tuple(text.format(**words) for text in random.choice([*WAYS_ROUND.values()]))
