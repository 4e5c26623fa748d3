"""Where a client wants the result of a query written, as typed data. Only fields on a list pass."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.wire.strict import Strict, converted
from keystile.wire.targets import (
    Clustering,
    Create,
    FieldUpdate,
    RangePartitioning,
    Reference,
    TimePartitioning,
    Write,
    configuration_of,
    named_table,
    reference,
)

_TABLE = "destinationTable"


class _Body(Strict, frozen=True):
    """What `JobConfigurationQuery` says of where the result goes."""

    destination_table: Reference | None = None
    create_disposition: Create | None = None
    write_disposition: Write | None = None
    schema_update_options: tuple[FieldUpdate, ...] | None = None
    time_partitioning: TimePartitioning | None = None
    range_partitioning: RangePartitioning | None = None
    clustering: Clustering | None = None


class Into(msgspec.Struct, frozen=True):
    """A table of the client's choice for the result of a query.

    `configuration` is what was asked, of the fields on the list alone, with the table in full.
    `adds` tells that rows may come to others, `replaces` that they take the place of others, and
    `reshapes` whether the job may give a table that there is other columns.
    """

    table: TableId
    configuration: dict[str, object]
    creates: bool = True
    adds: bool = False
    replaces: bool = False
    reshapes: bool = False

    @property
    def text(self) -> str:
        """Say exactly what was asked, for people and for the digest of an approval."""
        rest = {name: said for name, said in self.configuration.items() if name != _TABLE}
        words = msgspec.json.encode(rest, order="deterministic").decode()
        return f"{self.table} {words}" if rest else str(self.table)


def split(query: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Part what says where a result goes from the rest of `JobConfigurationQuery`: rest first."""
    own = set(_Body.__struct_encode_fields__)
    return (
        {name: value for name, value in query.items() if name not in own},
        {name: value for name, value in query.items() if name in own},
    )


def into_of(project: str, given: Mapping[str, object]) -> Into | None:
    """Read where a result goes; None where the client leaves that to BigQuery.

    Raises `InvalidRequestError` for what is malformed or needs a table, `RefusedError` for a part
    or an earlier state of a table.
    """
    body = converted(given, _Body)
    if body.destination_table is None:
        _check_nothing_needs_a_table(body)
        return None
    table = named_table(project, body.destination_table, _TABLE)
    return Into(
        table,
        configuration_of(body, **{_TABLE: reference(table)}),
        creates=body.create_disposition != "CREATE_NEVER",
        adds=body.write_disposition == "WRITE_APPEND",
        replaces=body.write_disposition in {"WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"},
        reshapes=body.write_disposition == "WRITE_TRUNCATE" or bool(body.schema_update_options),
    )


def into_of_text(text: str) -> Into:
    """Read `Into.text` again. Raises `InvalidRequestError` or `ValueError` for another text."""
    name, _, rest = text.partition(" {")
    project, dataset, table = name.rsplit(".", 2)
    said = msgspec.json.decode("{" + rest, type=dict[str, object]) if rest else {}
    found = into_of(project, {**said, _TABLE: reference(TableId(project, dataset, table))})
    assert found is not None  # noqa: S101 - it names a table
    return found


def _check_nothing_needs_a_table(body: _Body) -> None:
    # The dispositions alone say nothing, and some clients send them with every query.
    needing = {
        "schemaUpdateOptions": body.schema_update_options,
        "timePartitioning": body.time_partitioning,
        "rangePartitioning": body.range_partitioning,
        "clustering": body.clustering,
    }
    for name, value in needing.items():
        if value:
            raise InvalidRequestError(
                f"`{name}` is for a result that is written into a table",
                hint="name the table in `destinationTable`",
            )
