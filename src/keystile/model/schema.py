"""Names of BigQuery things and the shape of tables."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class TableId(msgspec.Struct, frozen=True, order=True):
    """A table's full name. Case matters in every part, as it does in BigQuery.

    Where `table` is empty it names a dataset.
    """

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        """Give `project.dataset.table`, or `project.dataset` where this is a dataset."""
        return f"{self.project}.{self.dataset}{'.' if self.table else ''}{self.table}"


class ColumnRef(msgspec.Struct, frozen=True, order=True):
    """A base column or a nested field: `path` is `("person", "ssn")` for `person.ssn`.

    Repeated levels add nothing to the path. The names are spelled as the schema spells them.
    """

    table: TableId
    path: tuple[str, ...]

    def __str__(self) -> str:
        """Give `project.dataset.table.person.ssn`."""
        return f"{self.table}.{'.'.join(self.path)}"


class Mode(StrEnum):
    """BigQuery's `TableFieldSchema.mode`."""

    NULLABLE = "NULLABLE"
    REQUIRED = "REQUIRED"
    REPEATED = "REPEATED"


class SqlType(msgspec.Struct, frozen=True):
    """A GoogleSQL type: `kind` is its standard name (`INT64`, `BOOL`, `STRUCT`, `ARRAY` …).

    `element` is set for `ARRAY` and `RANGE`; `fields` for `STRUCT` (names may be empty).
    """

    kind: str
    element: SqlType | None = None
    fields: tuple[tuple[str, SqlType], ...] = ()

    def __str__(self) -> str:
        """Give the type as SQL text, for example `ARRAY<STRUCT<x INT64>>`."""
        if self.kind == "STRUCT":
            return f"STRUCT<{', '.join(f'{name} {type_}'.strip() for name, type_ in self.fields)}>"
        return f"{self.kind}<{self.element}>" if self.element else self.kind


class Field(msgspec.Struct, frozen=True):
    """One column or nested field of a table (BigQuery's `TableFieldSchema`).

    `type` is the standard GoogleSQL name (`INT64`, not `INTEGER`); `STRUCT` for records.
    `range_element` is set for `RANGE` only.
    """

    name: str
    type: str
    mode: Mode = Mode.NULLABLE
    fields: tuple[Field, ...] = ()
    description: str = ""
    policy_tags: tuple[str, ...] = ()
    range_element: str = ""

    @property
    def sql_type(self) -> SqlType:
        """The field's GoogleSQL type, with `ARRAY` around it where the mode is repeated."""
        inner = SqlType(
            self.type,
            element=SqlType(self.range_element) if self.range_element else None,
            fields=tuple((field.name, field.sql_type) for field in self.fields),
        )
        return SqlType("ARRAY", element=inner) if self.mode is Mode.REPEATED else inner


class TableKind(StrEnum):
    """BigQuery's `Table.type`; anything else reads as OTHER, which is refused.

    A SNAPSHOT and an EXTERNAL table are read as a TABLE is. BigQuery has no type for these: a
    WILDCARD is several tables under one name, METADATA is a view of INFORMATION_SCHEMA.
    """

    TABLE = "TABLE"
    VIEW = "VIEW"
    MATERIALIZED_VIEW = "MATERIALIZED_VIEW"
    SNAPSHOT = "SNAPSHOT"
    EXTERNAL = "EXTERNAL"
    WILDCARD = "WILDCARD"
    METADATA = "METADATA"
    OTHER = "OTHER"


class Inherited(msgspec.Struct, frozen=True, order=True):
    """A label that a column has for the values that were written there. `path` is in lower case.

    Where they were `derived`, and not copied as they are, no mask that shows a part of a value or
    whether it is NULL shows the same of what it was made for.
    """

    path: tuple[str, ...]
    label: str
    derived: bool = False


class Table(msgspec.Struct, frozen=True):
    """What the gateway needs to know of a table. `etag` changes when schema or view text does.

    `pseudo_columns` are those that a query may name and `SELECT *` does not give, such as
    `_PARTITIONTIME`. INVARIANT: they hold nothing protected, and no label can be put on them.
    `members` are the tables that a wildcard stands for, newest first. `rows_about` are the names of
    what the rows of METADATA may be about: the reader sees no others. `inherited` are the labels of
    what the table holds, `former` those of what it held before its rows were replaced.
    `partitioned_by` is the column by which BigQuery can leave out rows unread; empty where there is
    none, and where that is the time of ingestion.
    """

    id: TableId
    kind: TableKind
    fields: tuple[Field, ...]
    etag: str
    view_query: str = ""
    pseudo_columns: tuple[Field, ...] = ()
    members: tuple[Table, ...] = ()
    rows_about: tuple[str, ...] = ()
    inherited: tuple[Inherited, ...] = ()
    former: tuple[Inherited, ...] = ()
    partitioned_by: str = ""

    @property
    def read(self) -> tuple[Table, ...]:
        """The tables that reading this one reads: its members, or itself."""
        return self.members or (self,)


class RoutineId(msgspec.Struct, frozen=True, order=True):
    """A routine's full name."""

    project: str
    dataset: str
    routine: str

    def __str__(self) -> str:
        """Give `project.dataset.routine`."""
        return f"{self.project}.{self.dataset}.{self.routine}"

    @property
    def path(self) -> tuple[str, str, str]:
        """The parts of the name."""
        return self.project, self.dataset, self.routine


class RoutineKind(StrEnum):
    """BigQuery's `Routine.routineType`; anything else reads as OTHER, which is refused."""

    SCALAR = "SCALAR_FUNCTION"
    AGGREGATE = "AGGREGATE_FUNCTION"
    TABLE_VALUED = "TABLE_VALUED_FUNCTION"
    PROCEDURE = "PROCEDURE"
    OTHER = "OTHER"


class Argument(msgspec.Struct, frozen=True):
    """An argument of a routine; one without a `type` takes any type (`ANY TYPE`).

    One that is not `aggregated` has the same value for all rows that an aggregate function is given
    (`NOT AGGREGATE`).
    """

    name: str
    type: SqlType | None = None
    aggregated: bool = True


class Routine(msgspec.Struct, frozen=True):
    """What the gateway needs to know of a routine (BigQuery's `Routine`).

    `language` is `SQL`, `JAVASCRIPT`, `PYTHON` …; `body` is its definition. `returns` is the type
    of a function's result where it is declared, `columns` the declared result of a table function.
    `remote` names the connection of a remote function.
    """

    id: RoutineId
    kind: RoutineKind
    language: str
    arguments: tuple[Argument, ...]
    body: str
    returns: SqlType | None = None
    columns: tuple[Field, ...] = ()
    remote: str = ""
    etag: str = ""


class Parameter(msgspec.Struct, frozen=True):
    """A query parameter. `name` is empty for a positional one.

    `value` is BigQuery's `QueryParameterValue` as plain JSON data; the gateway never turns it into
    SQL text.
    """

    name: str
    type: SqlType
    value: dict[str, object]
