"""Datasets and tables made, changed or dropped by a client, written as the statements they are.

INVARIANT: names stand in backticks and values are literals. What comes out is analysed and decided
on as if the agent had written it, so that nothing here has to be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from keystile.analysis.text import quoted
from keystile.masking.literals import text
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, TableId, TableKind
from keystile.wire.keys import Keys
from keystile.wire.resources import NewColumn, NewDataset, NewTable, Partitioning, Words
from keystile.wire.updates import Changed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 24 * 3600 * 1000
_DROPPED_AS = {
    TableKind.TABLE: "TABLE",
    TableKind.VIEW: "VIEW",
    TableKind.MATERIALIZED_VIEW: "MATERIALIZED VIEW",
    TableKind.SNAPSHOT: "SNAPSHOT TABLE",
    TableKind.EXTERNAL: "EXTERNAL TABLE",
}
_ALTERED_AS = {
    TableKind.TABLE.value: "TABLE",
    TableKind.VIEW.value: "VIEW",
    TableKind.MATERIALIZED_VIEW.value: "MATERIALIZED VIEW",
}


def create_dataset(new: NewDataset) -> str:
    """Write CREATE SCHEMA. Where it lies is said by where the statement runs."""
    options = {
        **_words(new.words),
        "defaultTableExpirationMs": new.table_expiration_ms,
        "defaultPartitionExpirationMs": new.partition_expiration_ms,
        "defaultRoundingMode": new.rounding_mode or None,
        "maxTimeTravelHours": new.time_travel_hours,
        "isCaseInsensitive": new.ignores_case or None,
    }
    return f"CREATE SCHEMA {path_of(new.project, new.dataset)}{_options(_given(options))}"


def alter_dataset(project: str, dataset: str, changed: Changed) -> str:
    """Write ALTER SCHEMA."""
    return f"ALTER SCHEMA {path_of(project, dataset)} SET{_options(_set(changed.options))}"


def drop_dataset(project: str, dataset: str, *, contents: bool) -> str:
    """Write DROP SCHEMA."""
    return f"DROP SCHEMA {path_of(project, dataset)}{' CASCADE' if contents else ''}"


def create_table(new: NewTable) -> str:
    """Write CREATE TABLE or CREATE VIEW. A table without columns is what no statement makes.

    Raises `InvalidRequestError` for what no statement can say.
    """
    path = path_of(*_parts(new.id))
    options = [*_given({**_words(new.words), "expirationTime": new.expires_ms})]
    if new.query:
        if new.fields or new.partitioning or new.clustering or new.keys != Keys():
            raise InvalidRequestError("a view has no schema, partitions or keys of its own here")
        return f"CREATE VIEW {path}{_options(options)} AS\n{new.query}"
    if new.partitioning and new.partitioning.expiration_ms is not None:
        options.append(f"partition_expiration_days = {_days(new.partitioning.expiration_ms)}")
    if new.require_partition_filter:
        options.append("require_partition_filter = TRUE")
    if new.keys != Keys() and not new.fields:
        raise InvalidRequestError("`tableConstraints` are of columns", hint="name them in `schema`")
    listed = ", ".join((*map(_column, new.fields), *_keys(new.keys)))
    columns = f" ({listed})" if new.fields else ""
    return (
        f"CREATE TABLE {path}{columns}"
        f"{_partitioned(new.partitioning, new.fields)}{_clustered(new.clustering)}"
        f"{_options(options)}"
    )


def alter_table(table: TableId, kind: str, changed: Changed) -> Iterator[str]:
    """Write the ALTER of a table of this kind, as the API names it: columns first, then options.

    Keys come last, one statement each. Raises `InvalidRequestError` where there is none.
    """
    of_tables = changed.added or not changed.keys.is_nothing or changed.clustering is not None
    if kind not in _ALTERED_AS or (of_tables and kind != TableKind.TABLE.value):
        raise InvalidRequestError(f"`{table}` is nothing that can be changed so here")
    path = path_of(*_parts(table))
    if changed.added:
        columns = (f"ADD COLUMN {_column(field)}" for field in changed.added)
        yield f"ALTER TABLE {path} {', '.join(columns)}"
    if changed.options:
        yield f"ALTER {_ALTERED_AS[kind]} {path} SET{_options(_set(changed.options))}"
    keys = changed.keys
    yield from (f"ALTER TABLE {path} DROP CONSTRAINT {quoted(name)}" for name in keys.dropped)
    if keys.drops_primary:
        yield f"ALTER TABLE {path} DROP PRIMARY KEY"
    yield from (f"ALTER TABLE {path} ADD {key}" for key in _keys(keys.added))


def drop_table(table: TableId, kind: TableKind) -> str:
    """Write the DROP of a table of this kind. Raises `InvalidRequestError` where there is none."""
    if kind not in _DROPPED_AS:
        raise InvalidRequestError(f"`{table}` is nothing that can be dropped here")
    return f"DROP {_DROPPED_AS[kind]} {path_of(*_parts(table))}"


def _parts(table: TableId) -> tuple[str, str, str]:
    return table.project, table.dataset, table.table


def path_of(project: str, *names: str) -> str:
    """Write the path of a dataset, or of what is in one.

    Raises `InvalidRequestError` for a name with a dot in it, which SQL would read as two: the
    statement would be about something else. Only a project's may have one (`domain.com:project`).
    """
    for name in names:
        if "." in name:
            raise InvalidRequestError(
                f"`{name}` is no name of a dataset, table or routine",
                hint="use letters, digits and `_` only",
            )
    return ".".join(map(quoted, (project, *names)))


def _column(field: Field) -> str:
    required = " NOT NULL" if field.mode is Mode.REQUIRED else ""
    # The agent's own SQL, like the query of a view: a comment in it must not go on behind it.
    default = (
        f" DEFAULT {field.default}\n" if isinstance(field, NewColumn) and field.default else ""
    )
    described = [f"description = {text(field.description)}"] if field.description else []
    return f"{quoted(field.name)} {_type(field)}{default}{required}{_options(described)}"


def _type(field: Field) -> str:
    kind = field.type
    if kind == "STRUCT":
        kind = f"STRUCT<{', '.join(map(_column, field.fields))}>"
    elif kind == "RANGE":
        kind = f"RANGE<{field.range_element}>"
    if isinstance(field, NewColumn) and field.parameters:
        kind = f"{kind}({', '.join(map(str, field.parameters))})"
    return f"ARRAY<{kind}>" if field.mode is Mode.REPEATED else kind


def _partitioned(cut: Partitioning | None, fields: tuple[Field, ...]) -> str:
    if cut is None:
        return ""
    if not cut.field:
        by_day = "_PARTITIONDATE"
        return f" PARTITION BY {by_day if cut.unit == 'DAY' else _cut('_PARTITIONTIME', cut.unit)}"
    kind = next((field.type for field in fields if field.name.lower() == cut.field.lower()), "")
    if kind not in {"DATE", "DATETIME", "TIMESTAMP"}:
        raise InvalidRequestError(f"`timePartitioning.field` `{cut.field[:100]}` is no time")
    if (kind, cut.unit) == ("DATE", "DAY"):
        return f" PARTITION BY {quoted(cut.field)}"
    return f" PARTITION BY {_cut(quoted(cut.field), cut.unit, kind)}"


def _cut(column: str, unit: str, kind: str = "TIMESTAMP") -> str:
    return f"{kind}_TRUNC({column}, {unit})"


def _clustered(columns: tuple[str, ...]) -> str:
    return f" CLUSTER BY {_names(columns)}" if columns else ""


def _words(words: Words) -> dict[str, object]:
    return {
        "description": words.description or None,
        "friendlyName": words.friendly_name or None,
        "labels": words.labels or None,
    }


def _given(options: Mapping[str, object]) -> Iterator[str]:
    """Write those options that have a value."""
    return _set({name: value for name, value in options.items() if value is not None})


def _set(options: Mapping[str, object]) -> Iterator[str]:
    """Write options by the API's names; NULL takes one away."""
    for name, value in options.items():
        option, written = _OPTIONS[name]
        yield f"{option} = {'NULL' if value is None else written(value)}"


def _labels(labels: Mapping[str, str]) -> str:
    return f"[{', '.join(f'({text(key)}, {text(value)})' for key, value in labels.items())}]"


def _days(milliseconds: int) -> str:
    return repr(milliseconds / _DAY_MS)


def _time(milliseconds: int) -> str:
    try:
        at = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError as error:
        raise InvalidRequestError("`expirationTime` is beyond all times") from error
    return f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}.{at.microsecond:06}+00'"


_OPTIONS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "description": ("description", text),
    "friendlyName": ("friendly_name", text),
    "labels": ("labels", _labels),
    "expirationTime": ("expiration_timestamp", _time),
    "defaultTableExpirationMs": ("default_table_expiration_days", _days),
    "defaultPartitionExpirationMs": ("default_partition_expiration_days", _days),
    "defaultRoundingMode": ("default_rounding_mode", text),
    "maxTimeTravelHours": ("max_time_travel_hours", str),
    "isCaseInsensitive": ("is_case_insensitive", lambda ignores: str(ignores).upper()),
}
"""What a resource says and an option says too: its name there, and how a value is written."""


def _keys(keys: Keys) -> Iterator[str]:
    """Write keys as a table's definition has them, and ADD."""
    if keys.primary:
        yield f"PRIMARY KEY ({_names(keys.primary)}) NOT ENFORCED"
    for key in keys.foreign:
        named = f"CONSTRAINT {quoted(key.name)} " if key.name else ""
        there = f"{path_of(*_parts(key.table))}({_names(key.referenced)})"
        yield f"{named}FOREIGN KEY ({_names(key.columns)}) REFERENCES {there} NOT ENFORCED"


def _names(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))


def _options(options: Iterable[str]) -> str:
    listed = ", ".join(options)
    return f" OPTIONS ({listed})" if listed else ""
