"""The second look: the engine resolves the text against the schemas, and the tree is walked."""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.analysis.catalogs import with_catalog
from keystile.analysis.places import line_and_column
from keystile.analysis.scope import SYSTEM, Scope
from keystile.analysis.statements import Walked, walk_statement
from keystile.analysis.table_places import path_places
from keystile.analysis.tree import Span
from keystile.analysis.words import in_bigquery_words
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import public_options, service
from keystile.googlesql.protos import analyzer_options, type_proto, unwrapped
from keystile.model.facts import ColumnUse, Opaque, OutputColumn, Use, WrittenColumn
from keystile.model.schema import TableId


class ResolveRequest(msgspec.Struct, frozen=True):
    """One statement in canonical spelling, and what its names mean."""

    sql: str
    scope: Scope


class Scan(msgspec.Struct, frozen=True):
    """A reference that reads a table, and the byte range of its path in the canonical text.

    `past` tells that it reads the table as it was (FOR SYSTEM_TIME).
    """

    start: int
    end: int
    table: TableId
    past: bool = False


class Resolved(msgspec.Struct, frozen=True):
    """What the resolved tree says; but for `scans` the fields are those of `QueryFacts`."""

    columns: tuple[ColumnUse, ...]
    output: tuple[OutputColumn, ...]
    functions: tuple[str, ...]
    opaque: tuple[Opaque, ...]
    scans: tuple[Scan, ...] = ()
    called: tuple[str, ...] = ()
    written: tuple[WrittenColumn, ...] = ()


def resolve(engine: Engine, request: ResolveRequest) -> Resolved:
    """Resolve the text and walk it. Raises `InvalidQueryError` where it does not resolve."""
    walked = walk_statement(resolved_tree(engine, request), request.scope)
    walk = walked.walk
    order = list(Use)
    places = path_places(engine, request.sql, walk.scans)
    return Resolved(
        columns=tuple(
            ColumnUse(ref, tuple(sorted(uses, key=order.index)))
            for ref, uses in sorted(walk.uses.items())
        ),
        output=walked.output,
        functions=tuple(sorted(walk.functions)),
        opaque=_opaque(request.sql, walked),
        scans=tuple(
            Scan(*places[place], table.id, place in walk.past)
            for place, table in sorted(walk.scans.items())
        ),
        written=walked.written,
        called=tuple(sorted(walk.called)),
    )


def resolved_tree(engine: Engine, request: ResolveRequest, *, prune: bool = True) -> Any:
    """Give the resolved statement.

    With `prune` columns that nothing uses are left out, so that what is scanned is what is read.
    Raises `InvalidQueryError` in BigQuery's words.
    """
    options = analyzer_options(engine)
    options.prune_unused_columns = prune
    for parameter in request.scope.parameters:
        if parameter.name:
            options.query_parameters.add(name=parameter.name, type=type_proto(parameter.type))
        else:
            options.parameter_mode = public_options.PARAMETER_POSITIONAL
            options.positional_query_parameters.append(type_proto(parameter.type))
    for variable in request.scope.variables:
        if variable.name.startswith(SYSTEM):
            path = variable.name.removeprefix(SYSTEM).split(".")
            options.system_variables.add(name_path=path, type=type_proto(variable.type))
    analyze = service.AnalyzeRequest(sql_statement=request.sql, options=options)

    def analyzed(catalog: int) -> Any:
        analyze.registered_catalog_id = catalog
        return engine.call("Analyze", analyze, service.AnalyzeResponse)

    with in_bigquery_words():
        answer = with_catalog(engine, request.sql, request.scope, analyzed)
    return unwrapped(answer.resolved_statement)


def _opaque(sql: str, walked: Walked) -> tuple[Opaque, ...]:
    def at(what: str, place: Span | None) -> Opaque:
        return Opaque(what, *line_and_column(sql, place.start)) if place else Opaque(what)

    return tuple(at(what, place) for what, place in walked.walk.opaque.items())
