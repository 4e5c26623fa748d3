"""The DDL text of what is stored, as INFORMATION_SCHEMA shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from keystile.model.schema import Mode, TableKind
from keystile.sandbox.data import Stored
from keystile.sandbox.dialect import Argument
from keystile.sandbox.routines import AGGREGATE, SQL, TABLE, Routine


def of_table(stored: Stored) -> str:
    """Give the CREATE statement of a table or view."""
    if stored.kind is TableKind.VIEW:
        return f"CREATE VIEW `{stored.id}`\nAS {stored.view_query};"
    if stored.kind is TableKind.MATERIALIZED_VIEW:
        return f"CREATE MATERIALIZED VIEW `{stored.id}`\nAS {stored.view_query};"
    if stored.kind is TableKind.SNAPSHOT:
        return f"CREATE SNAPSHOT TABLE `{stored.id}`\nCLONE `{stored.base}`;"
    columns = ",\n  ".join(
        f"{field.name} {field.sql_type}{' NOT NULL' if field.mode is Mode.REQUIRED else ''}"
        for field in stored.fields
    )
    text = f"CREATE TABLE `{stored.id}`\n(\n  {columns}\n)"
    if column := partition_column(stored):
        text += f"\nPARTITION BY {column}"
    elif stored.hidden:
        text += "\nPARTITION BY _PARTITIONDATE"
    if names := clustering(stored):
        text += f"\nCLUSTER BY {', '.join(names)}"
    return f"{text};"


def of_routine(routine: Routine) -> str:
    """Give the CREATE statement of a routine."""
    arguments = ", ".join(f"{each.name} {argument_type(each)}" for each in routine.arguments)
    kind = {TABLE: "TABLE FUNCTION", AGGREGATE: "AGGREGATE FUNCTION"}.get(routine.kind, "FUNCTION")
    returns = f" RETURNS {routine.returns}" if routine.returns else ""
    if routine.columns:
        columns = ", ".join(f"{name} {type_}" for name, type_ in routine.columns)
        returns = f" RETURNS TABLE<{columns}>"
    head = f"CREATE {kind} `{routine.id}`({arguments}){returns}"
    if routine.kind == TABLE:
        return f"{head}\nAS {routine.body};"
    if routine.language == SQL:
        return f"{head}\nAS (\n{routine.body}\n);"
    return f'{head} LANGUAGE {routine.language.lower()}\nAS r"""\n{routine.body}\n""";'


def argument_type(argument: Argument) -> str:
    """Give the type of an argument as SQL."""
    if argument.table:
        return f"TABLE<{', '.join(f'{name} {type_}' for name, type_ in argument.table)}>"
    return str(argument.type or "ANY TYPE")


def partition_column(stored: Stored) -> str:
    """Name the column that a table is partitioned by; empty for none or by ingestion time."""
    for key in ("timePartitioning", "rangePartitioning"):
        partitioning = stored.details.get(key)
        if isinstance(partitioning, dict):
            return str(partitioning.get("field") or "")
    return ""


def clustering(stored: Stored) -> list[str]:
    """Name the columns that a table is clustered by."""
    found = stored.details.get("clustering")
    return list(found.get("fields", ())) if isinstance(found, dict) else []


def options(stored: Stored) -> Iterator[tuple[str, str, str]]:
    """Give the name, type and SQL text of each option of a table or view."""
    if stored.description:
        yield "description", "STRING", json.dumps(stored.description)
    if name := stored.details.get("friendlyName"):
        yield "friendly_name", "STRING", json.dumps(name)
    labels = stored.details.get("labels")
    if isinstance(labels, dict):
        pairs = (f"STRUCT({json.dumps(key)}, {json.dumps(value)})" for key, value in labels.items())
        yield "labels", "ARRAY<STRUCT<STRING, STRING>>", f"[{', '.join(pairs)}]"
    if stored.details.get("requirePartitionFilter"):
        yield "require_partition_filter", "BOOL", "true"
