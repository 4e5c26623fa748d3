"""The schema of a result, as BigQuery describes it."""

from __future__ import annotations

from keystile.model.facts import OutputColumn
from keystile.model.schema import Field, Mode, SqlType


def result_schema(output: tuple[OutputColumn, ...]) -> tuple[Field, ...]:
    """Give the result's columns."""
    return tuple(_field(column.name, column.type) for column in output)


def _field(name: str, type_: SqlType) -> Field:
    if type_.kind == "ARRAY" and type_.element:
        inner = _field(name, type_.element)
        return Field(
            name, inner.type, Mode.REPEATED, inner.fields, range_element=inner.range_element
        )
    fields = tuple(
        _field(inner or f"_field_{n}", of) for n, (inner, of) in enumerate(type_.fields, 1)
    )
    element = type_.element.kind if type_.element else ""
    return Field(name, type_.kind, fields=fields, range_element=element)
