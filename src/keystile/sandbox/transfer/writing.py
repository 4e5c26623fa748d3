"""Writing rows into a table under the dispositions of a job."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from keystile.model.errors import DuplicateError
from keystile.model.schema import Field, TableId, TableKind
from keystile.sandbox.binding import Question
from keystile.sandbox.changes import Row, new_row, with_defaults, with_rows
from keystile.sandbox.data import Stored, partition_columns
from keystile.sandbox.fitting import fitted, refitted
from keystile.sandbox.partitions import partition_cells
from keystile.sandbox.queries import Catalog
from keystile.sandbox.targets import other_kind
from keystile.sandbox.transfer.requests import Create, Write


class Destination(msgspec.Struct, frozen=True):
    """Where a job writes: the table as it is, if there is one, and how it is to be written."""

    id: TableId
    present: Stored | None
    write: Write

    @property
    def adds(self) -> bool:
        """Whether rows that are there stay."""
        return self.write in ("WRITE_APPEND", "WRITE_EMPTY") and self.present is not None

    @property
    def keeps_schema(self) -> bool:
        """Whether the table's schema stays; one without columns has none to keep."""
        kept = self.present is not None and bool(self.present.fields)
        return kept and self.write != "WRITE_TRUNCATE"


def destination(catalog: Catalog, id_: TableId, create: Create, write: Write) -> Destination:
    """Look up where to write.

    Raises `NotFoundError`, `DuplicateError` for WRITE_EMPTY where there are rows, and
    `InvalidQueryError` for a view.
    """
    store = catalog.store
    store.dataset((id_.project, id_.dataset))
    if not store.has_table(id_):
        if create == "CREATE_NEVER":
            store.table(id_)
        return Destination(id_, None, write)
    present = store.table(id_)
    if present.kind is not TableKind.TABLE:
        raise other_kind(id_, present.kind)
    if write == "WRITE_EMPTY" and present.row_count:
        raise DuplicateError(f"Already Exists: Table {id_.project}:{id_.dataset}.{id_.table}")
    return Destination(id_, present, write)


def fresh(id_: TableId, fields: tuple[Field, ...], details: Mapping[str, object]) -> Stored:
    """Make a table without rows. `details` are parts of its resource."""
    now = time.time()
    return Stored(
        id=id_,
        kind=TableKind.TABLE,
        etag="",
        modified=now,
        created=now,
        fields=fields,
        hidden=partition_columns(details.get("timePartitioning")),
        details=dict(details),
    )


async def write(
    catalog: Catalog,
    to: Destination,
    table: Stored,
    columns: Sequence[Field],
    rows: list[Row],
) -> Stored:
    """Put rows of some columns into `table`, which is the destination as it will be.

    All is made ready first: nothing has changed where this raises.
    """
    by_name = {field.name.lower(): field for field in table.fields + table.hidden}
    named = tuple(by_name[field.name.lower()] for field in columns)
    rows = [[fitted(*each) for each in zip(row, columns, named, strict=True)] for row in rows]
    question = Question("", to.id.project)
    names, rows = await with_defaults(
        catalog, question, table, tuple(field.name for field in named), rows
    )
    after = table.fields + table.hidden
    places = {field.name: at for at, field in enumerate(after)}
    added = [new_row(after, [places[name] for name in names], row) for row in rows]
    partition_cells(table, added)
    kept: list[Row] = []
    if to.adds and to.present:
        kept = refitted(await catalog.content(to.present), to.present, table)
    stored = with_rows(table, kept + added)
    catalog.store.put_table(stored)
    return stored
