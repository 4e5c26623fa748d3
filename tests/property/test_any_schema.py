"""Of any schema, nested and repeated to any depth, a masked read keeps all but the values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prove.evaluator import Content, World, literal_rows, runnable
from prove.worlds import SchemaSource

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask
from keystile.model.masks import ConstantMask, DefaultMask, Mask, NullMask, PatternMask
from keystile.model.schema import ColumnRef, Field, Mode, SqlType, Table, TableId, TableKind

RUNNER, ENGINE = InlineRunner(), Engine()
ANALYST, REWRITER = Analyst(RUNNER, 262_144), Rewriter(RUNNER, always(bytes(range(32))))
ID = TableId("p", "d", "t")
MASKS: list[Mask] = [NullMask(), DefaultMask(), ConstantMask("c"), PatternMask("x")]

# A literal of each type with a value that no mask gives.
SCALARS = {
    "BIGNUMERIC": "BIGNUMERIC '77.5'",
    "BOOL": "TRUE",
    "BYTES": "b'secret'",
    "DATE": "DATE '2024-05-06'",
    "DATETIME": "DATETIME '2024-05-06 07:08:09'",
    "FLOAT64": "77.5",
    "INT64": "77",
    "INTERVAL": "INTERVAL 77 DAY",
    "JSON": "JSON '\"secret\"'",
    "NUMERIC": "NUMERIC '77.5'",
    "RANGE": "RANGE<DATE> '[2024-05-06, 2024-05-07)'",
    "STRING": "'secret'",
    "TIME": "TIME '07:08:09'",
    "TIMESTAMP": "TIMESTAMP '2024-05-06 07:08:09+00'",
}


class Case(NamedTuple):
    """A table of one row, in SQL, and masks."""

    fields: tuple[Field, ...]
    row: tuple[str, ...]
    masks: dict[tuple[str, ...], Mask]


@st.composite
def fields(draw: st.DrawFn, depth: int = 0) -> Field:
    kinds = [*SCALARS, *(["STRUCT"] * 8 if depth < 3 else [])]
    kind = draw(st.sampled_from(kinds))
    mode = draw(st.sampled_from([Mode.NULLABLE, Mode.REPEATED]))
    name = draw(st.sampled_from(["a", "B", "select", "a b", "keystile_row", "é"]))
    inner = draw(st.lists(fields(depth + 1), min_size=1, max_size=3)) if kind == "STRUCT" else []
    range_ = "DATE" if kind == "RANGE" else ""
    return Field(name, kind, mode, _apart(inner), range_element=range_)


def _apart(several: list[Field]) -> tuple[Field, ...]:
    """Give fields names of their own."""
    return tuple(
        Field(f"{f.name}{n}", f.type, f.mode, f.fields, range_element=f.range_element)
        for n, f in enumerate(several)
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    several = _apart(draw(st.lists(fields(), min_size=1, max_size=4)))
    paths = [path for field in several for path in _paths(field)]
    chosen = draw(st.lists(st.sampled_from(paths), min_size=1, max_size=3, unique=True))
    masks = {path: draw(st.sampled_from(MASKS)) for path in chosen}
    return Case(several, tuple(_value(draw, field.sql_type) for field in several), masks)


def _paths(field: Field) -> Iterator[tuple[str, ...]]:
    yield (field.name,)
    for inner in field.fields:
        yield from ((field.name, *path) for path in _paths(inner))


def _value(draw: st.DrawFn, type_: SqlType) -> str:
    if type_.kind == "ARRAY" and type_.element:
        items = draw(st.integers(0, 2))
        element = type_.element
        values = ", ".join(_value(draw, element) for _ in range(items))
        return f"ARRAY<{_written(element)}>[{values}]"
    if draw(st.integers(0, 4)) == 0:
        return "NULL"
    if type_.kind == "STRUCT":
        values = ", ".join(_value(draw, inner) for _, inner in type_.fields)
        return f"{_written(type_)}({values})"
    return SCALARS[type_.kind]


def _written(type_: SqlType) -> str:
    if type_.kind == "STRUCT":
        return f"STRUCT<{', '.join(f'`{n}` {_written(inner)}' for n, inner in type_.fields)}>"
    return f"{type_.kind}<{_written(type_.element)}>" if type_.element else type_.kind


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(cases())
def test_a_masked_read_keeps_types_nulls_and_lengths_and_no_protected_value(case: Case) -> None:
    table = Table(ID, TableKind.TABLE, case.fields, "1")
    masks = tuple(ColumnMask(ColumnRef(ID, path), "l", mask) for path, mask in case.masks.items())
    statement = Statement("SELECT * FROM t", "p", "d")

    analysed = asyncio.run(ANALYST.analyse(statement, SchemaSource((table,))))
    text = asyncio.run(REWRITER.rewrite(analysed, masks)).sql

    one = World(ENGINE, [Content(table, literal_rows(ENGINE, table, [case.row]))])
    try:
        raw, masked = one.run("SELECT * FROM t"), one.run(runnable(text, [table]))
    finally:
        one.close()
    assert not masked.error, (masked.error, text)
    assert masked.columns == raw.columns
    pairs = zip(case.fields, raw.rows[0].cell, masked.rows[0].cell, strict=True)
    for field, before, after in pairs:
        _compare(case.masks, field.sql_type, (field.name,), before, after)


def _compare(
    masks: dict[tuple[str, ...], Mask],
    type_: SqlType,
    path: tuple[str, ...],
    before: Any,
    after: Any,
) -> None:
    above = [masks[path[:depth]] for depth in range(1, len(path) + 1) if path[:depth] in masks]
    if type_.kind == "ARRAY" and type_.element:
        old, new = before.array_value.element, after.array_value.element
        if len(old) != len(new):
            # An array cannot hold NULLs, so a mask that gives them gives NULL for all of it.
            assert any(isinstance(mask, NullMask) for mask in above)
            assert not new
            return
        for mine, theirs in zip(old, new, strict=True):
            _compare(masks, type_.element, path, mine, theirs)
        return
    is_null, was_null = (not one.WhichOneof("value") for one in (after, before))
    if type_.kind == "STRUCT":
        assert is_null == was_null
        if is_null:
            return
        inner = zip(type_.fields, before.struct_value.field, after.struct_value.field, strict=True)
        for (name, of), mine, theirs in inner:
            _compare(masks, of, (*path, name), mine, theirs)
    elif not above:
        assert after == before
    elif not was_null:
        assert after != before
        assert not is_null or any(isinstance(mask, NullMask) for mask in above)
    else:
        assert is_null
