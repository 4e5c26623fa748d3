"""Views of INFORMATION_SCHEMA, read so that they tell of nothing that the reader may not see."""

from __future__ import annotations

from keystile.analysis.information_schema import View
from keystile.analysis.scope import fully_spelled
from keystile.analysis.text import quoted
from keystile.masking.literals import text
from keystile.masking.sql import null
from keystile.model.errors import RefusedError
from keystile.model.schema import Table

_MOST_CHARACTERS = 100_000


def metadata_query(table: Table, view: View, row: str) -> str:
    """Give the query that reads a view: some of its rows, in the view's own columns and types.

    `row` is a name that no column has. A withheld column is not read at all. Raises `RefusedError`
    where the rows are about too much to name.
    """
    items = ", ".join(
        f"{null(field.sql_type) if field.name in view.withheld else f'{row}.{quoted(field.name)}'}"
        f" AS {quoted(field.name)}"
        for field in view.fields
    )
    names = ", ".join(text(name) for name in table.rows_about)
    if len(names) > _MOST_CHARACTERS:
        raise RefusedError(
            f"`{table.id}` has rows about too many names", hint="list them with the API instead"
        )
    path = ".".join(quoted(part) for part in fully_spelled(table).path)
    # Names stand in backticks and values are literals; the proof resolves the result anew.
    return (
        f"SELECT {items} FROM {path} AS {row}"  # noqa: S608
        f" WHERE {row}.{quoted(view.key)} IN UNNEST(ARRAY<STRING>[{names}])"
    )
