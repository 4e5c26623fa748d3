"""BigQuery's INFORMATION_SCHEMA, as far as it is served: its views, columns and what they tell.

A view is read through a subquery that leaves only rows about what the reader may see (`rows_about`)
and gives columns that hold SQL texts, options or other names than the row's own as NULL; sizes in
bytes too, which tell how long masked values are.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from keystile.model.schema import Field, Mode, Table, TableId, TableKind

Path = tuple[str, ...]


class About(Enum):
    """What the rows of a view are about."""

    TABLES = "tables"
    PARTITIONS = "partitions"
    ROUTINES = "routines"
    DATASETS = "datasets"


class View(NamedTuple):
    """One view. `key` is the column that names what a row is about; `withheld` are read as NULL."""

    about: About
    key: str
    fields: tuple[Field, ...]
    withheld: frozenset[str]


def is_named(path: Path) -> bool:
    """Tell whether a path names something of INFORMATION_SCHEMA; case does not matter."""
    return _NAME in {part.upper() for part in path}


def hint(path: Path) -> str:
    """Say what to write instead of a path that is not served; empty for one that is."""
    before, after = _around(path)
    name = after[0] if len(after) == 1 else ""
    region = bool(before) and before[-1].lower().startswith("region-")
    # Before a view of a dataset stands the dataset, before one of a project nothing is needed.
    parts = (0, 1) if name == _SCHEMATA else (1, 2)
    if name in _VIEWS and not region and len(before) in parts:
        return ""
    if name.startswith(_OF_OTHERS):
        return "it tells of what others do; ask the gateway's operator"
    if name == _SCHEMATA:
        return f"read `{_NAME}.{_SCHEMATA}`"
    if name in _VIEWS:
        return f"read it for one dataset: `dataset.{_NAME}.{name}`"
    return f"read one of {', '.join(sorted(_VIEWS))}"


def as_table(path: Path) -> Path:
    """Give a served path with the view's name as that of a table, as BigQuery spells it."""
    before, after = _around(path)
    if after[0] == _SCHEMATA:
        return (*before, _NAME, _SCHEMATA)
    return (*before, f"{_NAME}.{after[0]}")


def view_of(id_: TableId) -> View | None:
    """Give the view that a table's name stands for; None where it is a table."""
    if id_.dataset == _NAME:
        return _VIEWS.get(id_.table)
    schema, _, name = id_.table.partition(".")
    return _VIEWS.get(name) if schema == _NAME else None


def is_of_project(id_: TableId) -> bool:
    """Tell whether a view is about a whole project, and no dataset."""
    return id_.dataset == _NAME


def view_table(id_: TableId, rows_about: tuple[str, ...]) -> Table:
    """Give the table that the engine knows a view as, for a reader who may see just these rows."""
    view = view_of(id_)
    assert view is not None, id_  # noqa: S101 - the caller has asked before
    return Table(id_, TableKind.METADATA, view.fields, "", rows_about=rows_about)


def _around(path: Path) -> tuple[Path, Path]:
    place = next(index for index, part in enumerate(path) if part.upper() == _NAME)
    return path[:place], tuple(part.upper() for part in path[place + 1 :])


def _view(about: About, key: str, columns: str) -> View:
    """Read `name`, `name:TYPE` and, for what is withheld, `name!` or `name:TYPE!`."""
    fields, withheld = [], set()
    for word in columns.split():
        name, _, type_ = word.removesuffix("!").partition(":")
        mode = Mode.REPEATED if type_.startswith("[") else Mode.NULLABLE
        fields.append(Field(name, type_.strip("[]") or "STRING", mode))
        if word.endswith("!"):
            withheld.add(name)
    return View(about, key, tuple(fields), frozenset(withheld))


_NAME = "INFORMATION_SCHEMA"
_SCHEMATA = "SCHEMATA"

# Queries, people and rights of others.
_OF_OTHERS = (
    "JOBS",
    "SESSIONS",
    "STREAMING",
    "WRITE_API",
    "RESERVATION",
    "ASSIGNMENT",
    "CAPACITY",
    "OBJECT_PRIVILEGES",
    "RECOMMENDATIONS",
    "INSIGHTS",
    "BI_CAPACIT",
    "SHARED_DATASET",
    "EFFECTIVE_PROJECT",
    "PROJECT_OPTIONS",
    "ORGANIZATION_OPTIONS",
)

# Columns as BigQuery's documentation of each view lists them. A clone's base table, a replica's
# source and an owner are withheld as well: they may be hidden from the reader.
_VIEWS: dict[str, View] = {
    _SCHEMATA: _view(
        About.DATASETS,
        "schema_name",
        """catalog_name schema_name schema_owner! creation_time:TIMESTAMP
        last_modified_time:TIMESTAMP location ddl! default_collation_name""",
    ),
    "TABLES": _view(
        About.TABLES,
        "table_name",
        """table_catalog table_schema table_name table_type is_insertable_into is_typed
        creation_time:TIMESTAMP base_table_catalog! base_table_schema! base_table_name!
        snapshot_time_ms:TIMESTAMP! replica_source_catalog! replica_source_schema!
        replica_source_name! replication_status! replication_error! ddl! default_collation_name
        upsert_stream_apply_watermark:TIMESTAMP!""",
    ),
    "COLUMNS": _view(
        About.TABLES,
        "table_name",
        """table_catalog table_schema table_name column_name ordinal_position:INT64 is_nullable
        data_type is_generated generation_expression! is_stored is_hidden is_updatable
        is_system_defined is_partitioning_column clustering_ordinal_position:INT64 collation_name
        column_default! rounding_mode policy_tags:[STRING]!""",
    ),
    "COLUMN_FIELD_PATHS": _view(
        About.TABLES,
        "table_name",
        """table_catalog table_schema table_name column_name field_path data_type description
        collation_name rounding_mode policy_tags:[STRING]!""",
    ),
    "TABLE_OPTIONS": _view(
        About.TABLES,
        "table_name",
        "table_catalog table_schema table_name option_name option_type option_value!",
    ),
    "PARTITIONS": _view(
        About.PARTITIONS,
        "table_name",
        """table_catalog table_schema table_name partition_id total_rows:INT64
        total_logical_bytes:INT64! last_modified_time:TIMESTAMP storage_tier""",
    ),
    "VIEWS": _view(
        About.TABLES,
        "table_name",
        "table_catalog table_schema table_name view_definition! check_option use_standard_sql",
    ),
    "KEY_COLUMN_USAGE": _view(
        About.TABLES,
        "table_name",
        """constraint_catalog constraint_schema constraint_name table_catalog table_schema
        table_name column_name ordinal_position:INT64 position_in_unique_constraint:INT64""",
    ),
    "TABLE_CONSTRAINTS": _view(
        About.TABLES,
        "table_name",
        """constraint_catalog constraint_schema constraint_name table_catalog table_schema
        table_name constraint_type is_deferrable initially_deferred enforced""",
    ),
    "ROUTINES": _view(
        About.ROUTINES,
        "routine_name",
        """specific_catalog specific_schema specific_name routine_catalog routine_schema
        routine_name routine_type data_type routine_body routine_definition! external_language
        is_deterministic security_type created:TIMESTAMP last_altered:TIMESTAMP ddl!""",
    ),
    "PARAMETERS": _view(
        About.ROUTINES,
        "specific_name",
        """specific_catalog specific_schema specific_name ordinal_position:INT64 parameter_mode
        is_result parameter_name data_type parameter_default! is_aggregate""",
    ),
}
