"""The columns that CREATE TABLE gives a table."""

from __future__ import annotations

import msgspec

from keystile.analysis.resolve import ResolveRequest, resolved_tree
from keystile.analysis.schema import result_schema
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import inherited, sql_type
from keystile.model.facts import OutputColumn
from keystile.model.schema import Field


class MadeColumns(msgspec.Struct, frozen=True):
    """The columns of a new table."""

    fields: tuple[Field, ...]


def made_columns(engine: Engine, request: ResolveRequest) -> MadeColumns:
    """Give the columns of the table that a CREATE TABLE makes."""
    definitions = inherited(resolved_tree(engine, request), "column_definition_list")
    return MadeColumns(
        result_schema(tuple(OutputColumn(d.name, sql_type(d.type), ()) for d in definitions))
    )
