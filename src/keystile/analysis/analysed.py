"""The result of an analysis."""

from __future__ import annotations

import msgspec

from keystile.analysis.resolve import Scan
from keystile.analysis.scope import Scope
from keystile.analysis.statement import Statement
from keystile.model.facts import QueryFacts
from keystile.model.schema import Field, Table


class Analysed(msgspec.Struct, frozen=True):
    """A statement, what it does, and what that was found from.

    `sql` is the statement's text in canonical spelling: quoted table paths are split at their dots.
    `scope` is what its names mean. `schema` is the result's, for a
    SELECT that is not opaque. `scans` are the places in `sql` that read a table.
    """

    statement: Statement
    sql: str
    scope: Scope
    facts: QueryFacts
    schema: tuple[Field, ...] = ()
    scans: tuple[Scan, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table read or written that exists, once, as the source gave it."""
        return tuple({spelled.table.id: spelled.table for spelled in self.scope.tables}.values())
