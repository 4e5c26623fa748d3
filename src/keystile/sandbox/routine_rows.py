"""What INFORMATION_SCHEMA tells of routines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keystile.model.schema import TableId
from keystile.sandbox import ddl
from keystile.sandbox.partitions import time_text
from keystile.sandbox.routines import AGGREGATE, PROCEDURE, SQL, TABLE, Routine
from keystile.sandbox.store import DatasetId

if TYPE_CHECKING:
    from keystile.sandbox.queries import Catalog

Row = dict[str, object]
_ROUTINE_TYPES = {
    TABLE: "TABLE FUNCTION",
    AGGREGATE: "AGGREGATE FUNCTION",
    PROCEDURE: "PROCEDURE",
}


def _routines_in(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Routine]:
    return [routine for id_ in datasets for routine in catalog.store.routines_in(id_)]


def _routine_names(id_: TableId, kind: str) -> Row:
    parts = {"catalog": id_.project, "schema": id_.dataset, "name": id_.table}
    return {f"{kind}_{part}": value for part, value in parts.items()}


async def routines(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    """Give the rows of ROUTINES."""
    return [
        _routine_names(routine.id, "specific")
        | _routine_names(routine.id, "routine")
        | {
            "routine_type": _ROUTINE_TYPES.get(routine.kind, "FUNCTION"),
            "data_type": str(routine.returns) if routine.returns else None,
            "routine_body": "SQL" if routine.language == SQL else "EXTERNAL",
            "routine_definition": routine.body,
            "external_language": None if routine.language == SQL else routine.language,
            "created": time_text(routine.created),
            "last_altered": time_text(routine.modified),
            "ddl": ddl.of_routine(routine),
        }
        for routine in _routines_in(catalog, datasets)
    ]


async def parameters(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    """Give the rows of PARAMETERS."""
    found: list[Row] = []
    for routine in _routines_in(catalog, datasets):
        names = _routine_names(routine.id, "specific")
        if routine.returns:
            returned: dict[str, Any] = {"ordinal_position": 0, "is_result": "YES"}
            found.append(names | returned | {"data_type": str(routine.returns)})
        for at, argument in enumerate(routine.arguments, start=1):
            found.append(
                names
                | {
                    "ordinal_position": at,
                    "is_result": "NO",
                    "parameter_name": argument.name,
                    "data_type": ddl.argument_type(argument),
                }
            )
    return found
