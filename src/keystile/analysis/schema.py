"""The schema of a result, as BigQuery describes it."""

from __future__ import annotations

from collections import Counter

from keystile.model.facts import OutputColumn
from keystile.model.schema import Field, Mode, SqlType


def result_schema(output: tuple[OutputColumn, ...]) -> tuple[Field, ...]:
    """Give the result's columns; a second `a` is `a_1`, as BigQuery names it."""
    seen: Counter[str] = Counter()
    fields = []
    for column in output:
        repeated = seen[column.name.lower()]
        seen[column.name.lower()] += 1
        name = f"{column.name}_{repeated}" if repeated else column.name
        fields.append(_field(name, column.type))
    return tuple(fields)


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
