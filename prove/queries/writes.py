"""Statements that write: into a table of their own, and attempts to write into protected ones."""

from __future__ import annotations

from random import Random

from keystile.analysis.text import quoted
from prove.queries.columns import NUMBER, TEXT
from prove.queries.generator import Generator


def statements(random: Random, generator: Generator, table: str) -> tuple[str, ...]:
    """Make `table`, the case's own, from a query, change it by others, and read it.

    What is left in the table, and how many rows each statement changed, shows what it read.
    """
    target = quoted(table)
    changes = [
        f"INSERT INTO {target} (c0, c1) {_query(generator)}",
        f"UPDATE {target} AS t SET c0 = CONCAT(t.c0, s.c0) FROM {_rows(generator)} WHERE t.c1 = s.c1",
        f"DELETE FROM {target} AS t WHERE t.c0 IN (SELECT s.c0 FROM {_rows(generator)})",
        f"MERGE {target} AS t USING {_rows(generator)} ON t.c1 = s.c1 WHEN MATCHED THEN UPDATE SET c0 = s.c0 WHEN NOT MATCHED THEN INSERT (c0, c1) VALUES (s.c0, s.c1)",
        _attack(random, generator),
    ]
    return (
        f"CREATE TABLE {target} AS SELECT s.c0, s.c1 FROM {_rows(generator)}",
        *random.sample(changes, 2),
        f"SELECT * FROM {target}",
        f"DROP TABLE {target}",
    )


def _rows(generator: Generator) -> str:
    return f"({_query(generator)}) AS s"


def _query(generator: Generator) -> str:
    generator.start(open_only=False)
    return generator.select([TEXT, NUMBER])


def _attack(random: Random, generator: Generator) -> str:
    """Ask by the number of changed rows for what a masked column holds."""
    mask = random.choice(generator.schema.masks)
    table, column = quoted(str(mask.column.table)), quoted(mask.column.path[0])
    hit = f"TO_JSON_STRING(t.{column}) > '\"{random.randrange(10)}'"
    if random.random() < 0.5:
        return f"DELETE FROM {table} AS t WHERE {hit}"
    return f"UPDATE {table} AS t SET t.{column} = t.{column} WHERE {hit}"
