"""SQL that turns values of one type into another."""

from __future__ import annotations

from typing import cast

from keystile.model.schema import SqlType


def text_type(type_: SqlType) -> SqlType:
    """Give the same shape with STRING leaves, for values that SQL is to cast."""
    if type_.kind == "ARRAY":
        return SqlType("ARRAY", element=text_type(cast("SqlType", type_.element)))
    if type_.kind == "STRUCT":
        parts = ((f"p{at}", text_type(part)) for at, (_, part) in enumerate(type_.fields))
        return SqlType("STRUCT", fields=tuple(parts))
    return SqlType("STRING")


def cast_sql(expression: str, type_: SqlType, depth: int = 0) -> str:
    """Give the SQL that turns a value of `text_type(type_)` into one of `type_`."""
    if type_.kind == "ARRAY":
        item, at = f"e{depth}", f"o{depth}"
        inner = cast_sql(item, cast("SqlType", type_.element), depth + 1)
        return (
            f"ARRAY(SELECT {inner} FROM UNNEST({expression}) AS {item} "  # noqa: S608  # own names
            f"WITH OFFSET AS {at} ORDER BY {at})"
        )
    if type_.kind == "STRUCT":
        parts = ", ".join(
            cast_sql(f"{expression}.p{at}", part, depth)
            for at, (_, part) in enumerate(type_.fields)
        )
        return f"IF({expression} IS NULL, NULL, STRUCT({parts}))"
    if type_.kind in ("STRING", "GEOGRAPHY"):
        return expression
    if type_.kind == "BYTES":
        return f"FROM_BASE64({expression})"
    if type_.kind == "JSON":
        return f"PARSE_JSON({expression})"
    return f"CAST({expression} AS {type_})"


def assigned_sql(expression: str, type_: SqlType) -> str:
    """Give the SQL that assigns a value to a column of `type_`, which it can be coerced to.

    JSON takes part in no cast, so a value for it is of its type already or NULL.
    """
    return expression if _has_json(type_) else f"CAST({expression} AS {_spelled(type_)})"


def _has_json(type_: SqlType) -> bool:
    inner = (type_.element, *(part for _, part in type_.fields))
    return type_.kind == "JSON" or any(_has_json(part) for part in inner if part)


def _spelled(type_: SqlType) -> str:
    """Spell a type with its field names quoted, since they may be keywords."""
    if type_.kind == "STRUCT":
        parts = (
            f"`{name}` {_spelled(part)}" if name else _spelled(part) for name, part in type_.fields
        )
        return f"STRUCT<{', '.join(parts)}>"
    return f"{type_.kind}<{_spelled(type_.element)}>" if type_.element else type_.kind
