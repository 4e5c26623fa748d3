"""The second look: the engine resolves the text against the schemas, and the tree is walked."""

from __future__ import annotations

from typing import Any

import msgspec
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service
from zetasql.wasi._pb2.zetasql.public import options_pb2 as public_options

from keystile.analysis.statements import Walked, walk_statement
from keystile.analysis.tree import Span, line_and_column
from keystile.analysis.words import in_bigquery_words
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import analyzer_options, builtin_catalog, type_proto, unwrapped
from keystile.model.facts import ColumnUse, Opaque, OutputColumn, Use
from keystile.model.schema import Parameter, SqlType, Table, TableId


class SpelledTable(msgspec.Struct, frozen=True):
    """A table under the path that a text spells."""

    path: tuple[str, ...]
    table: Table


class Declared(msgspec.Struct, frozen=True):
    """A query parameter's name (empty for a positional one) and type."""

    name: str
    type: SqlType


class ResolveRequest(msgspec.Struct, frozen=True):
    """One statement in canonical spelling, all tables that it names, and its parameters."""

    sql: str
    tables: tuple[SpelledTable, ...]
    parameters: tuple[Declared, ...]


class Scan(msgspec.Struct, frozen=True):
    """A reference that reads a table, and the byte range of its path in the canonical text."""

    start: int
    end: int
    table: TableId


class Resolved(msgspec.Struct, frozen=True):
    """What the resolved tree says; but for `scans` the fields are those of `QueryFacts`."""

    columns: tuple[ColumnUse, ...]
    output: tuple[OutputColumn, ...]
    functions: tuple[str, ...]
    opaque: tuple[Opaque, ...]
    scans: tuple[Scan, ...] = ()


def resolve(engine: Engine, request: ResolveRequest) -> Resolved:
    """Resolve the text and walk it. Raises `InvalidQueryError` where it does not resolve."""
    walked = walk_statement(resolved_tree(engine, request), by_full_name(request.tables))
    walk = walked.walk
    order = list(Use)
    return Resolved(
        columns=tuple(
            ColumnUse(ref, tuple(sorted(uses, key=order.index)))
            for ref, uses in sorted(walk.uses.items())
        ),
        output=walked.output,
        functions=tuple(sorted(walk.functions)),
        opaque=_opaque(request.sql, walked),
        scans=tuple(
            Scan(place.start, place.end, table.id) for place, table in sorted(walk.scans.items())
        ),
    )


def resolved_tree(engine: Engine, request: ResolveRequest, *, prune: bool = True) -> Any:
    """Give the resolved statement.

    With `prune` columns that nothing uses are left out, so that what is scanned is what is read.
    Raises `InvalidQueryError` in BigQuery's words.
    """
    options = analyzer_options(engine)
    options.prune_unused_columns = prune
    for parameter in request.parameters:
        if parameter.name:
            options.query_parameters.add(name=parameter.name, type=type_proto(parameter.type))
        else:
            options.parameter_mode = public_options.PARAMETER_POSITIONAL
            options.positional_query_parameters.append(type_proto(parameter.type))
    analyze = service.AnalyzeRequest(
        sql_statement=request.sql,
        registered_catalog_id=engine.registered(_catalog(engine, request.tables)),
        options=options,
    )
    with in_bigquery_words():
        answer = engine.call("Analyze", analyze, service.AnalyzeResponse)
    return unwrapped(answer.resolved_statement)


def by_full_name(tables: tuple[SpelledTable, ...]) -> dict[str, Table]:
    """Give the tables by the full name that the catalog knows them under."""
    return {str(spelled.table.id): spelled.table for spelled in tables}


def declared(parameters: tuple[Parameter, ...]) -> tuple[Declared, ...]:
    """Leave the values of parameters out: what a query means does not depend on them."""
    return tuple(Declared(parameter.name, parameter.type) for parameter in parameters)


def _catalog(engine: Engine, tables: tuple[SpelledTable, ...]) -> Any:
    root = builtin_catalog(engine)
    folders: dict[tuple[str, ...], Any] = {}
    for spelled in sorted(tables, key=lambda spelled: spelled.path):
        folder = root
        for depth in range(1, len(spelled.path)):
            prefix = tuple(part.lower() for part in spelled.path[:depth])
            if prefix not in folders:
                folders[prefix] = folder.catalog.add(name=spelled.path[depth - 1])
            folder = folders[prefix]
        table = folder.table.add(name=spelled.path[-1], full_name=str(spelled.table.id))
        for field in spelled.table.fields:
            table.column.add(name=field.name, type=type_proto(field.sql_type))
    return root


def _opaque(sql: str, walked: Walked) -> tuple[Opaque, ...]:
    def at(what: str, place: Span | None) -> Opaque:
        return Opaque(what, *line_and_column(sql, place.start)) if place else Opaque(what)

    return tuple(at(what, place) for what, place in walked.walk.opaque.items())
