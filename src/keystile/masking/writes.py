"""What statements other than SELECT may do with tables that have masked columns."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.mentions import refused
from keystile.masking.task import MaskedColumn
from keystile.masking.within import Within, names_of
from keystile.model.facts import WrittenColumn
from keystile.model.masks import KEYED, NullMask
from keystile.model.schema import ColumnRef

_KEPT_TEXTS = {
    "CREATE_FUNCTION": "function",
    "CREATE_MATERIALIZED_VIEW": "view",
    "CREATE_TABLE_FUNCTION": "function",
    "CREATE_VIEW": "view",
}
"""Statements whose text BigQuery keeps, and what it is the text of."""


def check(analysed: Analysed, columns: tuple[MaskedColumn, ...]) -> None:
    """Raise `RefusedError` where masking what is read would not be enough, or cannot be done."""
    statement = analysed.facts.statement
    _check_written(analysed, columns)
    if statement in _KEPT_TEXTS:
        _check_kept_text(analysed, columns)
    _check_copied(analysed, columns)


def without_key(analysed: Analysed, columns: tuple[MaskedColumn, ...]) -> tuple[MaskedColumn, ...]:
    """Give the masks with NULL for those with a key of columns that a text to be kept does not use.

    What it reads a table by gives every column of it, but the key may stand in no such text.
    """
    if analysed.facts.statement not in _KEPT_TEXTS:
        return columns
    used = Within(names_of(use.column) for use in analysed.facts.columns)
    return tuple(
        msgspec.structs.replace(column, mask=NullMask())
        if isinstance(column.mask, KEYED) and not used.touches((column.table, *column.path))
        else column
        for column in columns
    )


def read(analysed: Analysed, columns: Iterable[MaskedColumn]) -> tuple[MaskedColumn, ...]:
    """Give those of the columns whose tables the statement reads."""
    tables = {scan.table for scan in analysed.scans}
    return tuple(column for column in columns if column.table in tables)


def assigned(analysed: Analysed) -> tuple[WrittenColumn, ...]:
    """Give the columns that DML sets, which the rewritten text must set as well."""
    is_dml = analysed.facts.statement in {"INSERT", "MERGE", "UPDATE"}
    return analysed.facts.written if is_dml else ()


def _check_written(analysed: Analysed, columns: tuple[MaskedColumn, ...]) -> None:
    """Refuse to write what a mask gives into a column that has one, and to rename such columns.

    INVARIANT: a placeholder never takes the place of a value, whoever believes it to be one.
    A view has no values, so nothing is written where one is made or replaced.
    """
    masked = Within((column.table, *column.path) for column in columns)
    tables = {column.table for column in columns}
    for written in analysed.facts.written:
        source = next((ref for ref in written.sources if masked.touches(names_of(ref))), None)
        if analysed.facts.statement == "ALTER_TABLE":
            if written.column.table in tables:
                raise refused(
                    analysed.mentions,
                    written.column.table,
                    "{} has masked columns, which are known by their names, so none may be renamed",
                    hint="ask whoever owns the table's labels to rename it",
                )
        elif source is not None and masked.touches(names_of(written.column)):
            raise refused(
                analysed.mentions,
                source,
                f"{{}} is masked for you, and its mask would be written over the values of"
                f" `{written.column}`",
                hint="write to a column that is not protected, or leave this one out",
            )


def _check_kept_text(analysed: Analysed, columns: tuple[MaskedColumn, ...]) -> None:
    """Refuse a text that BigQuery would keep with the key in it.

    INVARIANT: no key of a mask is in a text that others can read or run.
    """
    for column in read(analysed, columns):
        if isinstance(column.mask, KEYED):
            raise refused(
                analysed.mentions,
                ColumnRef(column.table, column.path),
                "{} is masked with a key, which no "
                f"{_KEPT_TEXTS[analysed.facts.statement]} may hold",
                hint="leave this column out, or make a table with CREATE TABLE AS SELECT",
            )


def _check_copied(analysed: Analysed, columns: tuple[MaskedColumn, ...]) -> None:
    column = next((column for column in columns if column.table in analysed.copied), None)
    if column is None:
        return
    words = analysed.facts.statement.replace("_", " ")
    raise refused(
        analysed.mentions,
        ColumnRef(column.table, column.path),
        f"`{words}` copies a table as it is, with columns masked for you such as {{}}",
        hint="use CREATE TABLE AS SELECT, which copies masked values",
    )
