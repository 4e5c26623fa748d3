"""What the names of one text mean, and the engine's catalog of them."""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.analysis.signatures import add_routine
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import builtin_catalog, type_proto
from keystile.model.schema import ColumnRef, Parameter, Routine, SqlType, Table, TableId

SYSTEM = "@@"
"""What the name of a system variable begins with."""


class SpelledTable(msgspec.Struct, frozen=True):
    """A table under the path that a text spells."""

    path: tuple[str, ...]
    table: Table


class SpelledRoutine(msgspec.Struct, frozen=True):
    """A routine under the path that a text spells.

    `reads` are all columns that its text reads, `tables` all tables. `masked` tells of one that the
    script around the text makes: its text is masked there. One of SQL without a result type is
    resolved anew for each call, and may read nothing.
    """

    path: tuple[str, ...]
    routine: Routine
    reads: tuple[ColumnRef, ...] = ()
    tables: tuple[TableId, ...] = ()
    masked: bool = False


class Declared(msgspec.Struct, frozen=True):
    """The name and type of a query parameter (no name for a positional one) or a variable."""

    name: str
    type: SqlType


class Scope(msgspec.Struct, frozen=True):
    """Everything that a text may name.

    `variables` are those of the script that the text is a part of; the names of system variables
    begin with `@@`.
    """

    tables: tuple[SpelledTable, ...] = ()
    routines: tuple[SpelledRoutine, ...] = ()
    variables: tuple[Declared, ...] = ()
    parameters: tuple[Declared, ...] = ()
    connections: tuple[tuple[str, ...], ...] = ()

    def tables_by_full_name(self) -> dict[str, Table]:
        """Give the tables by the full name that the catalog knows them under."""
        return {str(spelled.table.id): spelled.table for spelled in self.tables}

    def routines_by_full_name(self) -> dict[str, frozenset[ColumnRef]]:
        """Give what each routine reads, by the full name that the catalog knows it under."""
        return {str(one.routine.id): frozenset(one.reads) for one in self.routines}

    def raw_reads(self) -> dict[str, frozenset[ColumnRef]]:
        """Give what each routine reads that stays as it is, whatever is masked in this text.

        Rows of a table are a `ColumnRef` with no path.
        """
        return {
            str(one.routine.id): frozenset()
            if one.masked
            else frozenset((*one.reads, *(ColumnRef(table, ()) for table in one.tables)))
            for one in self.routines
        }

    def in_full(self) -> Scope:
        """Give the same scope with every table and routine under its full path as well."""
        full = (fully_spelled(spelled.table) for spelled in self.tables)
        tables = {spelled.path: spelled for spelled in (*self.tables, *full)}
        called = (msgspec.structs.replace(one, path=one.routine.id.path) for one in self.routines)
        routines = {spelled.path: spelled for spelled in (*self.routines, *called)}
        return msgspec.structs.replace(
            self, tables=tuple(tables.values()), routines=tuple(routines.values())
        )


def declared(parameters: tuple[Parameter, ...]) -> tuple[Declared, ...]:
    """Leave the values of parameters out: what a query means does not depend on them."""
    return tuple(Declared(parameter.name, parameter.type) for parameter in parameters)


def fully_spelled(table: Table) -> SpelledTable:
    """Give a table under its full path; a view of INFORMATION_SCHEMA has two names at its end."""
    return SpelledTable((table.id.project, table.id.dataset, *table.id.table.split(".")), table)


def _folder(root: Any, folders: dict[tuple[str, ...], Any], path: tuple[str, ...]) -> Any:
    """Give the catalog that holds the last part of a path, making it where there is none."""
    folder = root
    for depth in range(1, len(path)):
        prefix = tuple(part.lower() for part in path[:depth])
        if prefix not in folders:
            folders[prefix] = folder.catalog.add(name=path[depth - 1])
        folder = folders[prefix]
    return folder


def catalog(engine: Engine, scope: Scope) -> Any:
    """Make the catalog that the engine resolves a text of this scope against."""
    root = builtin_catalog(engine)
    folders: dict[tuple[str, ...], Any] = {}
    for path in sorted(scope.connections):
        _folder(root, folders, path).connection.add(name=path[-1])
    for spelled in sorted(scope.tables, key=lambda spelled: spelled.path):
        folder = _folder(root, folders, spelled.path)
        table = folder.table.add(name=spelled.path[-1], full_name=str(spelled.table.id))
        for field in spelled.table.fields:
            table.column.add(name=field.name, type=type_proto(field.sql_type))
        for field in spelled.table.pseudo_columns:
            type_ = type_proto(field.sql_type)
            table.column.add(name=field.name, type=type_, is_pseudo_column=True)
    for routine in sorted(scope.routines, key=lambda routine: routine.path):
        add_routine(_folder(root, folders, routine.path), routine.path, routine.routine)
    for variable in scope.variables:
        if not variable.name.startswith(SYSTEM):
            # To the engine a constant whose value is NULL: a column of the same name goes before
            # it, as in BigQuery.
            constant = root.constant.add(name_path=[variable.name], type=type_proto(variable.type))
            constant.value.SetInParent()
    return root
