"""The result of an analysis."""

from __future__ import annotations

import msgspec

from keystile.analysis.mentions import Mention
from keystile.analysis.outline import NamedRoutine
from keystile.analysis.resolve import Scan
from keystile.analysis.scope import Scope
from keystile.analysis.scripts.parts import Part
from keystile.analysis.statement import Statement
from keystile.model.facts import QueryFacts
from keystile.model.schema import ColumnRef, Field, Routine, Table, TableId


class DerivedColumn(msgspec.Struct, frozen=True):
    """A column of a view, and the columns of what the view reads that it derives from.

    The path of a `ColumnRef` is one name here: nested fields share what their column derives from.
    """

    column: ColumnRef
    sources: tuple[ColumnRef, ...]


class Analysed(msgspec.Struct, frozen=True):
    """A statement, what it does, and what that was found from.

    `sql` is the text that masks go into: quoted table paths are split at their dots, and views
    replaced by their texts. Where nothing is masked, `statement.sql` is what BigQuery gets, with
    the names of its views. `scope` is what the names of `sql` mean. `schema` is the result's, for a
    SELECT that is not opaque. `scans` are the places in `sql` that read a table. `derived` are the
    columns of all views that were replaced. `made` are tables that take the place of one there may
    be, `copied` those whose rows are copied as they are. `mentions` say how refusals name what is
    read and written. `resolved` tells whether the engine resolved the text; else it names things
    only. `routines` are those that it calls and that these call in turn, `calls` the
    places where it does.

    Of a script, `sql` is the text as it came, `parts` are its texts, `skeleton` is the rest of it,
    and `scope` has every table that a part names. `schema` is given for a script that BigQuery
    takes for a SELECT: temporary functions and a query. `results` are the schemas of all parts that
    may give the script's result.
    """

    statement: Statement
    sql: str
    scope: Scope
    facts: QueryFacts
    schema: tuple[Field, ...] = ()
    scans: tuple[Scan, ...] = ()
    derived: tuple[DerivedColumn, ...] = ()
    made: tuple[Table, ...] = ()
    copied: tuple[TableId, ...] = ()
    resolved: bool = True
    mentions: tuple[Mention, ...] = ()
    parts: tuple[AnalysedPart, ...] = ()
    skeleton: tuple[str, ...] = ()
    results: tuple[tuple[Field, ...], ...] = ()
    routines: tuple[Routine, ...] = ()
    calls: tuple[NamedRoutine, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table and view read or written that exists, once, as the source gave it.

        A wildcard is one table here and has its members with it. Those that are made come last.
        """
        known = {spelled.table.id: spelled.table for spelled in self.scope.tables}
        return (*known.values(), *(table for table in self.made if table.id not in known))


class AnalysedPart(msgspec.Struct, frozen=True):
    """A part of a script, and what it does. The texts of `analysed` are those of the part."""

    part: Part
    analysed: Analysed
