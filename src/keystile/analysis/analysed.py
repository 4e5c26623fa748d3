"""The result of an analysis."""

from __future__ import annotations

import msgspec

from keystile.analysis.mentions import Mention
from keystile.analysis.outlined import NamedRoutine
from keystile.analysis.resolve import Scan
from keystile.analysis.scope import Scope
from keystile.analysis.scripts.parts import Part
from keystile.analysis.statement import Statement
from keystile.model.facts import QueryFacts
from keystile.model.schema import ColumnRef, Field, Parameter, Routine, Table, TableId


class DerivedColumn(msgspec.Struct, frozen=True):
    """A column of a view, and the columns of what the view reads that it derives from.

    The path of a `ColumnRef` is one name here: nested fields share what their column derives from.
    """

    column: ColumnRef
    sources: tuple[ColumnRef, ...]


class InSession(msgspec.Struct, frozen=True):
    """How a text goes on from what its session ran before.

    The analysed text is all of the session's: its own begins at the byte `begins`, and of it alone
    are the facts. `all_facts` are those of all texts together, which policy decides on, `sent` is
    what BigQuery got of the earlier ones. `parameters` are the text's own. `leaves` tells that
    others may go on from it, `several` that it may end half-way. `temporary` are the names of all
    temporary tables, `ending` is what ends its last statement.
    """

    begins: int
    sent: str
    all_facts: QueryFacts
    parameters: tuple[Parameter, ...]
    leaves: bool
    several: bool
    temporary: tuple[str, ...]
    ending: str


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
    may give the script's result. A text of a session is a script, whatever it is alone.
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
    session: InSession | None = None

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
