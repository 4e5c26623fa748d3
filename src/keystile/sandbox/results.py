"""The shape of a result as BigQuery names it."""

from __future__ import annotations

from collections import Counter

import msgspec

from keystile.googlesql.messages import service
from keystile.model.schema import Field
from keystile.sandbox.describing import Described
from keystile.sandbox.errors import unsupported
from keystile.sandbox.evaluating import named
from keystile.wire.schema import field_of


def result_fields(described: Described) -> tuple[Field, ...]:
    """Name the columns as BigQuery does: `f0_`, `_field_1` inside structs, `a_1` for a second `a`.

    Raises `InvalidQueryError` where such a name is there already.
    """
    columns = described.columns
    if described.flat and columns[0][1].kind == "STRUCT":
        columns = columns[0][1].fields
    fields = [_named(field_of(name, type_)) for name, type_ in named(columns)]
    seen: Counter[str] = Counter()
    for at, field in enumerate(fields):
        if repeated := seen[field.name.lower()]:
            fields[at] = msgspec.structs.replace(field, name=f"{field.name}_{repeated}")
        seen[field.name.lower()] += 1
    if len({field.name.lower() for field in fields}) != len(fields):
        raise unsupported("a name like that which a repeated column name gets")
    return tuple(fields)


def _named(field: Field) -> Field:
    inner = tuple(
        msgspec.structs.replace(_named(part), name=part.name or f"_field_{at}")
        for at, part in enumerate(field.fields, start=1)
    )
    return msgspec.structs.replace(field, fields=inner)


def flattened(content: bytes) -> bytes:
    """Turn rows of one struct into rows of its fields."""
    flat = service.TableContent()
    flat.table_data.SetInParent()
    for row in service.TableContent.FromString(content).table_data.row:
        flat.table_data.row.add().cell.extend(row.cell[0].struct_value.field)
    encoded: bytes = flat.SerializeToString()
    return encoded
