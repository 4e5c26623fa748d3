"""What a first look at a text gives: which statement it is and what it names."""

from __future__ import annotations

import msgspec

from keystile.analysis.mentions import Mention
from keystile.analysis.text import Edit
from keystile.model.facts import Action, Opaque, Redefined, WrittenColumn
from keystile.model.schema import RoutineId, TableId


class OutlineRequest(msgspec.Struct, frozen=True):
    """The text and the defaults that complete its names (see `Statement`).

    `temporary` are the names of temporary tables that the script around the text may have made;
    None where there is no script around it.
    """

    sql: str
    project: str
    dataset: str
    temporary: tuple[str, ...] | None = None


class NamedTable(msgspec.Struct, frozen=True):
    """A table as the text spells it, as BigQuery knows it, and where it is first named."""

    path: tuple[str, ...]
    id: TableId
    line: int = 0
    column: int = 0


class NamedRoutine(msgspec.Struct, frozen=True):
    """A routine as the text spells it, as BigQuery knows it, and where it is first called."""

    path: tuple[str, ...]
    id: RoutineId
    gives_table: bool = False
    line: int = 0
    column: int = 0


class Outline(msgspec.Struct, frozen=True):
    """What the parse tree says.

    `sql` is the text with quoted paths split at their dots, which `splits` did; places are those of
    the text as it came. `named` are all tables that the text
    names, except those that it makes or drops. `resolve` tells whether the engine should resolve
    it: not where it is opaque, or names things and computes nothing. `connections` are paths as
    spelled; `calls` are the routines of datasets that it calls, `functions` the names of all other
    functions that it calls by name; `renamed` are new names of columns; `replaces` tells of OR
    REPLACE; `copied` whether rows are copied as they are; `redefined` are columns that lose what
    BigQuery has said of them; `anew` are targets that hold nothing of before afterwards.
    """

    sql: str
    statement: str
    actions: tuple[Action, ...]
    named: tuple[NamedTable, ...]
    writes: tuple[TableId, ...]
    opaque: tuple[Opaque, ...]
    resolve: bool
    uris: tuple[str, ...] = ()
    connections: tuple[tuple[str, ...], ...] = ()
    renamed: tuple[WrittenColumn, ...] = ()
    replaces: bool = False
    copied: bool = False
    calls: tuple[NamedRoutine, ...] = ()
    functions: tuple[str, ...] = ()
    splits: tuple[Edit, ...] = ()
    redefined: tuple[Redefined, ...] = ()
    anew: tuple[TableId, ...] = ()

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """The named tables, and where they are named first."""
        return tuple(Mention(one.id, one.id, one.line, one.column) for one in self.named)

    @property
    def unseen(self) -> tuple[TableId, ...]:
        """The targets that need no schema."""
        return tuple(sorted(set(self.writes) - {table.id for table in self.named}))

    @property
    def reads(self) -> tuple[TableId, ...]:
        """The named tables that are no targets."""
        return tuple(sorted({table.id for table in self.named} - set(self.writes)))
