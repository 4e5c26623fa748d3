"""Each mask as an SQL expression. `cell` holds the same masks for values that were read already."""

from __future__ import annotations

from collections.abc import Mapping

from keystile.analysis.text import quoted
from keystile.masking import json_paths, keyed, shown, steps
from keystile.masking.literals import constant, default, text
from keystile.model.masks import (
    ConstantMask,
    JsonPathsMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
    SqlMask,
    TokenMask,
)
from keystile.model.schema import SqlType

Path = tuple[str, ...]


def expression(mask: Mask, type_: SqlType, value: str, names: str = "keystile") -> str:
    """Give an expression that masks `value`, itself an expression of this type.

    Of a STRUCT every leaf is masked, of an ARRAY every element. `names` begins the names that the
    expression makes; no field of the value may begin so.
    """
    return Masking({(): mask}, names).of(type_, (), value) or value


class Masking:
    """Masks by path: a mask stands for the leaf at its path or for all leaves beneath it."""

    def __init__(self, masks: Mapping[Path, Mask], names: str) -> None:
        """`names` begins the names of rows and elements."""
        self._masks = masks
        self._names = names

    def of(self, type_: SqlType, path: Path, value: str) -> str | None:
        """Give the masked form of the value at a path; None where nothing in it is masked."""
        mask = self._mask_above(path)
        if mask is None and not any(masked[: len(path)] == path for masked in self._masks):
            return None
        if type_.kind == "ARRAY" and type_.element:
            return self._array(type_.element, path, value)
        if type_.kind == "STRUCT":
            return self._struct(type_, path, value)
        return scalar(mask, type_, value) if mask else None

    def _mask_above(self, path: Path) -> Mask | None:
        depths = range(len(path), -1, -1)
        return next((self._masks[path[:d]] for d in depths if path[:d] in self._masks), None)

    def _struct(self, type_: SqlType, path: Path, value: str) -> str | None:
        items = []
        for name, inner in type_.fields:
            masked = self.of(inner, (*path, name), f"{value}.{quoted(name)}")
            if masked:
                items.append(f"{masked} AS {quoted(name)}")
        if not items:
            return None
        # A NULL STRUCT stays one: a rebuilt one would be a STRUCT of NULLs.
        rebuilt = f"(SELECT AS STRUCT {value}.* REPLACE ({', '.join(items)}))"
        return f"IF({value} IS NULL, NULL, {rebuilt})"

    def _array(self, element: SqlType, path: Path, value: str) -> str | None:
        # BigQuery cannot return an array with NULL elements, so all of it becomes NULL.
        if isinstance(self._mask_above(path), NullMask) and element.kind != "STRUCT":
            return null(SqlType("ARRAY", element=element))
        item, place = (f"{self._names}_{word}{len(path)}" for word in ("item", "place"))
        masked = self.of(element, path, item)
        if masked is None:
            return None
        rows = f"UNNEST({value}) AS {item} WITH OFFSET AS {place}"
        # Every part was made here or stands in backticks.
        rebuilt = f"ARRAY(SELECT {masked} FROM {rows} ORDER BY {place})"  # noqa: S608
        return f"IF({value} IS NULL, NULL, {rebuilt})"


def scalar(mask: Mask, type_: SqlType, value: str) -> str:
    """Give an expression that masks a value which is neither STRUCT nor ARRAY."""
    if isinstance(mask, NullMask):
        return null(type_)
    masked = _of_type(mask, type_, value)
    if masked is None:
        fallback = default(type_)
        masked = fallback.sql if fallback else null(type_)
    return f"IF({value} IS NULL, NULL, {masked})"


def null(type_: SqlType) -> str:
    """Write NULL of a type."""
    return f"CAST(NULL AS {_written(type_)})"


def _of_type(mask: Mask, type_: SqlType, value: str) -> str | None:
    """Give the masked form where the mask is for this type; None for the type's default."""
    match mask, type_.kind:
        case ConstantMask(value=given), _:
            literal = constant(given, type_)
            masked = literal.sql if literal else None
        case PatternMask(pattern=pattern), "STRING":
            masked = text(pattern)
        case KeyedHashMask(), "STRING":
            masked = f"TO_HEX({keyed.hash_sql(mask, f'CAST({value} AS BYTES)')})"
        case KeyedHashMask(), "BYTES":
            masked = keyed.hash_sql(mask, value)
        case TokenMask(), "STRING":
            masked = keyed.token_sql(mask, value)
        case JsonPathsMask(), "JSON":
            masked = json_paths.sql(mask, value)
        case SqlMask(type=kind, expression=expression_), _ if kind == type_.kind:
            # INVARIANT: it was checked to be one expression that knows `value` alone.
            masked = f"(SELECT ({expression_}\n) FROM UNNEST([{value}]) AS value)"  # noqa: S608
        case _, "STRING":
            masked = shown.sql(mask, value)
        case _:
            masked = steps.sql(mask, type_, value)
    return masked


def _written(type_: SqlType) -> str:
    """Write a type with its field names in backticks."""
    if type_.kind == "STRUCT":
        fields = (f"{quoted(name)} {_written(inner)}" for name, inner in type_.fields)
        return f"STRUCT<{', '.join(fields)}>"
    return f"{type_.kind}<{_written(type_.element)}>" if type_.element else type_.kind
