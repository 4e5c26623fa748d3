"""The texts that a script is made of, as values."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from keystile.model.facts import Action, Opaque
from keystile.model.schema import RoutineId, SqlType, TableId

READABLE_VARIABLES = {"error.message": SqlType("STRING"), "row_count": SqlType("INT64")}
"""The system variables that scripts may read: what they tell comes from masked reads.

The others tell of the gateway: `error.statement_text` has the rewritten text, `project_id` and the
like are its own.
"""


class Role(StrEnum):
    """What a text is to its script."""

    STATEMENT = "statement"
    """A whole statement, which runs as it stands."""
    ROWS = "rows"
    """The query of a FOR loop."""
    VALUE = "value"
    """An expression: what SET, DEFAULT, RAISE or USING evaluates."""
    CONDITION = "condition"
    """An expression that decides what runs."""
    TYPE = "type"
    """The type of a declared variable."""
    DYNAMIC = "dynamic"
    """A statement that EXECUTE IMMEDIATE has as a constant."""


class Meaning(msgspec.Struct, frozen=True):
    """A table that the script makes or changes, and the numbers of what may have made it here."""

    table: TableId
    by: tuple[int, ...]


class Using(msgspec.Struct, frozen=True):
    """A value that EXECUTE IMMEDIATE hands in: its name, if any, and the part that gives it."""

    name: str
    part: int


class Part(msgspec.Struct, frozen=True):
    """One text to analyse. `sql` is what is analysed: an expression stands in a SELECT there.

    `start` and `end` are the bytes of the script that it stands for, and `before` is how many
    bytes of `sql` stand in front of those. `variables` are the numbers of the variables that it may
    name, `uses` of those whose names its text holds and `sets` of those that get its value. `first`
    and `count` tell its positional parameters. `makes` is the table that it gives columns,
    `function` the temporary function that it makes, `calls` are the numbers of the parts that made
    what it may call, and `changes` is the routine of a dataset that it makes or drops.
    """

    role: Role
    sql: str
    start: int
    end: int
    before: int
    variables: tuple[int, ...] = ()
    uses: tuple[int, ...] = ()
    sets: tuple[int, ...] = ()
    meanings: tuple[Meaning, ...] = ()
    first: int = 0
    count: int = 0
    using: tuple[Using, ...] = ()
    makes: TableId | None = None
    function: str = ""
    calls: tuple[int, ...] = ()
    changes: RoutineId | None = None
    only_if_missing: bool = False

    def own(self, sql: str) -> str:
        """Give what of a text in this one's place stands in the script."""
        after = len(self.sql.encode()) - self.before - (self.end - self.start)
        data = sql.encode()
        return data[self.before : len(data) - after].decode()

    def moved(self, offset: int) -> int:
        """Give the byte of the script that a byte of `sql` comes from."""
        if self.role is Role.DYNAMIC:
            return self.start
        return min(max(self.start, self.start + offset - self.before), self.end)


class Variable(msgspec.Struct, frozen=True):
    """A variable. Its type is that of the part's only column, or of its row where `row` is set."""

    name: str
    part: int
    row: bool = False


class Script(msgspec.Struct, frozen=True):
    """A script taken apart.

    `skeleton` is all of its parse tree that is in no part. `plain` tells that it is temporary
    functions and one query, which BigQuery does not take for a script.
    """

    parts: tuple[Part, ...]
    variables: tuple[Variable, ...]
    actions: tuple[Action, ...]
    opaque: tuple[Opaque, ...]
    skeleton: tuple[str, ...]
    plain: bool
