"""What a query really does, as the analysis found it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from keystile.model.schema import ColumnRef, RoutineId, SqlType, TableId


class Action(StrEnum):
    """What statement kinds are grouped into for policy."""

    READ = "read"
    WRITE = "write"
    SCHEMA_CHANGE = "schema_change"
    ACCESS_CHANGE = "access_change"
    EXPORT = "export"
    EXTERNAL = "external"
    MODEL = "model"
    ROUTINE = "routine"
    SESSION = "session"
    SCRIPT = "script"


class Use(StrEnum):
    """How a statement uses a column."""

    OUTPUT = "output"
    FILTER = "filter"
    JOIN = "join"
    GROUP = "group"
    ORDER = "order"
    WINDOW = "window"
    ARGUMENT = "argument"


class ColumnUse(msgspec.Struct, frozen=True):
    """One base column or nested field that the statement reads, and every way it uses it."""

    column: ColumnRef
    uses: tuple[Use, ...]


class OutputColumn(msgspec.Struct, frozen=True):
    """One column of the result and the set of base columns that its value derives from.

    `same` is the column or field whose values it has as they are, or elements of it.
    """

    name: str
    type: SqlType
    sources: tuple[ColumnRef, ...]
    same: ColumnRef | None = None


class WrittenColumn(msgspec.Struct, frozen=True):
    """A column or nested field that the statement sets, and what its new value derives from.

    `same` is the column or field whose values it gets as they are, or elements of it.
    """

    column: ColumnRef
    sources: tuple[ColumnRef, ...]
    same: ColumnRef | None = None


class Redefined(msgspec.Struct, frozen=True):
    """A column whose description the statement sets, or that loses all that is said of it there.

    `description` is the new one; None where nothing is kept, or where it is not written out. An
    empty path stands for every column of the table.
    """

    column: ColumnRef
    description: str | None = None


class Opaque(msgspec.Struct, frozen=True):
    """Something that the analysis does not understand, and where it stands in the text.

    `line` and `column` are 1-based; 0 where the place is not known. `hint` says what to write
    instead, where that is known.
    """

    what: str
    line: int = 0
    column: int = 0
    hint: str = ""


class ViewReads(msgspec.Struct, frozen=True):
    """A view that is read, and the tables and views that its text names."""

    view: TableId
    reads: tuple[TableId, ...]


class QueryFacts(msgspec.Struct, frozen=True):
    """Everything that policy decides on.

    `statement` is BigQuery's `statementType` (`SELECT`, `CREATE_TABLE_AS_SELECT`, `SCRIPT` …).
    `columns` lists leaves: a whole STRUCT read counts as all its leaves. `reads` has a target too
    where values of it are used. `unseen` are those of `writes` whose columns do not matter and were
    not looked up: what the statement makes or drops, and datasets, which have an empty table name.
    `written` are the columns that DML and CREATE … AS SELECT fill, and new names of columns. `uris`
    and `connections` are where an export goes and a load comes from. `wildcards` are the names that
    stand for several tables; these tables are in `reads`, and the columns have the wildcard's name.
    `metadata` are views of INFORMATION_SCHEMA, which are not in `reads`: a reader sees no rows but
    those about what it may see anyway.
    `views` are all views that it reads, those beneath others too; what they read is in `reads`.
    `routines` are those that it calls, those that others of them call too; `through_routines` are
    those of `reads` that nothing but the texts of routines names. `redefined` are columns that may
    lose the policy tags or the description that they have at BigQuery. `lineage` says of every
    column of a table that is written, by whatever statement, what its new values derive from, views
    above them too. `anew` are tables, or datasets, that hold nothing of before once it is done.
    INVARIANT: where `opaque` is not empty the query is refused whatever policy says.
    """

    statement: str
    actions: tuple[Action, ...]
    reads: tuple[TableId, ...] = ()
    writes: tuple[TableId, ...] = ()
    columns: tuple[ColumnUse, ...] = ()
    output: tuple[OutputColumn, ...] = ()
    functions: tuple[str, ...] = ()
    opaque: tuple[Opaque, ...] = ()
    unseen: tuple[TableId, ...] = ()
    written: tuple[WrittenColumn, ...] = ()
    uris: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    wildcards: tuple[TableId, ...] = ()
    metadata: tuple[TableId, ...] = ()
    views: tuple[ViewReads, ...] = ()
    routines: tuple[RoutineId, ...] = ()
    through_routines: tuple[TableId, ...] = ()
    redefined: tuple[Redefined, ...] = ()
    lineage: tuple[WrittenColumn, ...] = ()
    anew: tuple[TableId, ...] = ()


def used_columns(facts: QueryFacts) -> Iterator[ColumnRef]:
    """Yield every column that a query reads, some of them twice."""
    for use in facts.columns:
        yield use.column
    for output in facts.output:
        yield from output.sources
