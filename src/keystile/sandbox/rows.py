"""The rows of a table, each made into cells when it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from keystile.googlesql.messages import service
from keystile.model.schema import Field
from keystile.sandbox.cells import cell


class Rows(Sequence[dict[str, Any]]):
    """Rows as results have them, with timestamps as microseconds; what is hidden is left out."""

    def __init__(self, fields: Sequence[Field], content: bytes) -> None:
        """Take a serialized `TableContent` that has these fields first."""
        self._columns = tuple((field.name, field.sql_type) for field in fields)
        self._rows = service.TableContent.FromString(content).table_data.row

    def __len__(self) -> int:
        """Count them."""
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | Sequence[dict[str, Any]]:
        """Give one or a part of them."""
        if isinstance(at, slice):
            return [self._made(row) for row in self._rows[at]]
        return self._made(self._rows[at])

    def _made(self, row: Any) -> dict[str, Any]:
        values = zip(self._columns, row.cell[: len(self._columns)], strict=True)
        return {"f": [{"v": cell(value, type_, name)} for (name, type_), value in values]}
