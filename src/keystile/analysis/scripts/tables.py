"""What tables a script's statement sees: those of BigQuery, and those that the script has made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from keystile.analysis.catalog import ObjectSource
from keystile.analysis.scripts.parts import Part
from keystile.analysis.scripts.state import BEFORE, CHANGED
from keystile.analysis.temporary import is_temporary
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.schema import Field, Routine, RoutineId, Table, TableId, TableKind

_HINT = "give it another name, or run the statements as queries of their own"


class ScriptTables:
    """The tables of one script. BigQuery's are asked for once.

    INVARIANT: a table of BigQuery's has the same columns in all of a script, or the script is
    refused: what is protected is decided by table, and the same for all statements.
    """

    def __init__(self, source: ObjectSource, parts: tuple[Part, ...]) -> None:
        """Ask `source` for what the script has not made."""
        self.source = source
        self.parts = parts
        self._asked: dict[TableId, asyncio.Future[Table]] = {}
        self._made: dict[int, Table] = {}
        self._seen: dict[TableId, Table] = {}
        self._relied_on: list[tuple[Table, frozenset[int]]] = []

    def make(self, number: int, fields: tuple[Field, ...]) -> None:
        """Note the columns that a part gives the table it makes."""
        id_ = self.parts[number].makes
        if id_ is not None:
            self._made[number] = Table(id_, TableKind.TABLE, fields, "")

    def seen_by(self, part: Part) -> ObjectSource:
        """Give what one part sees."""
        return _Seen(self, {meaning.table: frozenset(meaning.by) for meaning in part.meanings})

    async def ask(self, id_: TableId) -> Table:
        """Ask BigQuery for a table."""
        if id_ not in self._asked:
            self._asked[id_] = asyncio.ensure_future(self.source.table(id_))
        return await self._asked[id_]

    def made(self, id_: TableId, by: frozenset[int]) -> Table:
        """Give a table as the script has made it. Raises `RefusedError` where that is not clear."""
        found = [self._made[number] for number in sorted(by) if number in self._made]
        if CHANGED in by or not found:
            raise RefusedError(
                f"{_named(id_)} is changed in this script and used after", hint=_HINT
            )
        self._relied_on.append((found[0], by))
        return found[0]

    def see(self, table: Table) -> Table:
        """Note how a table of BigQuery's is seen. Raises `RefusedError` where it was otherwise."""
        if _shape(self._seen.setdefault(table.id, table)) != _shape(table):
            raise _differs(table)
        return table

    def check(self) -> None:
        """Check that whatever may have made a table gives it the columns that were relied on.

        Raises `RefusedError`: a loop may come back with what was made further down.
        """
        for table, by in self._relied_on:
            for number in by & set(self._made):
                if _shape(self._made[number]) != _shape(table):
                    raise _differs(table)


class _Seen:
    """What one part sees; an `ObjectSource`."""

    def __init__(self, tables: ScriptTables, meanings: Mapping[TableId, frozenset[int]]) -> None:
        self._tables = tables
        self._meanings = meanings

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the shared port
        by = self._meanings.get(id, frozenset({BEFORE}))
        if is_temporary(id):
            return self._temporary(id, by)
        if by == {BEFORE}:
            return self._tables.see(await self._tables.ask(id))
        made = self._tables.made(id, by - {BEFORE})
        try:
            there = await self._tables.ask(id)
        except NotFoundError:
            return self._tables.see(made)
        # The same columns: then it keeps what they are labelled with there.
        same = _shape(there) == _shape(made) and there.kind is TableKind.TABLE
        if BEFORE in by and not same and not self._only_if_missing(by):
            raise _differs(made)
        return self._tables.see(there if same or BEFORE in by else made)

    def _only_if_missing(self, by: frozenset[int]) -> bool:
        return all(self._tables.parts[number].only_if_missing for number in by - {BEFORE})

    def _temporary(self, id_: TableId, by: frozenset[int]) -> Table:
        if by == {BEFORE}:
            raise NotFoundError(
                f"Not found: Table {id_.table} was not found", hint="make it before it is named"
            )
        if BEFORE in by:
            # INVARIANT: what is taken for a temporary table is one on every way. Else BigQuery
            # reads the table of this name in the default dataset, unmasked.
            raise RefusedError(
                f"{_named(id_)} is a temporary table on some ways through this script only",
                hint="make it before the branch or the transaction, or drop it in none",
            )
        return self._tables.made(id_, by)

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the word of the shared port
        if any(part.changes == id for part in self._tables.parts):
            raise RefusedError(f"`{id}` is changed in this script and called", hint=_HINT)
        return await self._tables.source.routine(id)

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        prefix = id.table.removesuffix("*")
        for part in self._tables.parts:
            made = part.makes or id
            same_dataset = (made.project, made.dataset) == (id.project, id.dataset)
            if part.makes and same_dataset and made.table.startswith(prefix):
                raise RefusedError(
                    f"`{id}` stands for `{made}` too, which this script makes", hint=_HINT
                )
        return await self._tables.source.tables_like(id)


def _named(id_: TableId) -> str:
    return f"`{id_.table}`" if is_temporary(id_) else f"`{id_}`"


def _differs(table: Table) -> RefusedError:
    return RefusedError(
        f"{_named(table.id)} has other columns on one way through this script than on another",
        hint=_HINT,
    )


def _shape(table: Table) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, str(field.sql_type)) for field in table.fields)
