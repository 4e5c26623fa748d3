# ruff: noqa: E501, S608 - queries made of a test's own words
"""A mask as SQL and the same mask on a JSON cell say the same, for every type and value."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prove.evaluator import Given, World, value_proto

from keystile.googlesql.engine import Engine
from keystile.masking.cell import masked_cell
from keystile.masking.rewrite import Rewriter
from keystile.masking.sql import HASH_INNER, HASH_OUTER, expression
from keystile.model.masks import (
    ConstantMask,
    DefaultMask,
    EmailMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
)
from keystile.model.schema import SqlType
from keystile.sandbox.cells import cell

KEY = bytes(range(40))
BYTES = SqlType("BYTES")
EVALUATOR = World(Engine(), [])
INNER, OUTER = Rewriter(None, KEY)._pads  # type: ignore[arg-type]

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
addresses = st.from_regex(r"[a-zé]{1,3}@[a-z]{1,3}\.[a-z]", fullmatch=True)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "STRING": texts | addresses,
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "BYTES": st.binary(max_size=6),
    "BOOL": st.booleans(),
    "DATE": st.integers(-700_000, 2_000_000),
    "FLOAT64": st.floats(allow_nan=False, width=32),
}

masks: st.SearchStrategy[Mask] = st.one_of(
    st.just(NullMask()),
    st.just(DefaultMask()),
    st.just(EmailMask()),
    st.just(KeyedHashMask()),
    st.builds(KeepLastMask, st.integers(-1, 8)),
    st.builds(PatternMask, texts),
    st.builds(
        ConstantMask,
        texts | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.just("2020-02-29"),
    ),
)


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 0) -> tuple[SqlType, Any]:
    kinds = [*SCALARS] if depth > 2 else [*SCALARS, "STRUCT", "ARRAY"]
    kind = draw(st.sampled_from(kinds))
    if kind == "STRUCT":
        fields = draw(st.lists(typed_values(depth + 1), min_size=1, max_size=3))
        names = [f"f{index}" for index in range(len(fields))]
        type_ = SqlType(kind, fields=tuple((n, t) for n, (t, _) in zip(names, fields, strict=True)))
        return type_, draw(st.just(tuple(value for _, value in fields)) | st.none())
    if kind == "ARRAY":
        element, value = draw(typed_values(depth + 1).filter(lambda one: one[0].kind != "ARRAY"))
        count = 0 if value is None else draw(st.integers(0, 3))
        return SqlType(kind, element=element), [value] * count
    return SqlType(kind), draw(SCALARS[kind] | st.none())


@settings(max_examples=150)
@given(masks, typed_values())
def test_sql_and_cell_agree(mask: Mask, typed: tuple[SqlType, Any]) -> None:
    type_, value = typed
    sql = f"SELECT v, {expression(mask, type_, 'v')} AS m FROM (SELECT @v AS v)"
    given_ = [
        Given("v", type_, value),
        Given(HASH_INNER, BYTES, INNER),
        Given(HASH_OUTER, BYTES, OUTER),
    ]

    answer = EVALUATOR.run(sql, given_)

    assert not answer.error, answer.error
    raw, masked = answer.rows[0].cell
    assert answer.columns[1][1] == type_, "a mask keeps the type"
    assert cell(masked, type_) == masked_cell(mask, type_, cell(raw, type_), KEY)


@settings(max_examples=50)
@given(masks, typed_values())
def test_null_stays_null(mask: Mask, typed: tuple[SqlType, Any]) -> None:
    type_, _ = typed
    sql = f"SELECT {expression(mask, type_, 'v')} IS NULL AS n FROM (SELECT @v AS v)"
    given_ = [
        Given("v", type_, None),
        Given(HASH_INNER, BYTES, INNER),
        Given(HASH_OUTER, BYTES, OUTER),
    ]

    assert EVALUATOR.run(sql, given_).rows[0].cell[0].bool_value


def test_every_other_type_has_a_default_of_its_own_type() -> None:
    kinds = ("NUMERIC", "BIGNUMERIC", "TIMESTAMP", "DATETIME", "TIME", "INTERVAL", "JSON")
    types = [SqlType(kind) for kind in kinds]
    types += [SqlType("RANGE", element=SqlType(kind)) for kind in ("DATE", "DATETIME", "TIMESTAMP")]
    for type_ in types:
        for mask in (PatternMask("x"), EmailMask(), ConstantMask("x"), KeyedHashMask()):
            sql = f"SELECT m FROM (SELECT {expression(mask, type_, 'v')} AS m FROM (SELECT {SAMPLES[type_.kind if not type_.element else str(type_)]} AS v))"
            answer = EVALUATOR.run(sql)
            assert not answer.error, (sql, answer.error)
            assert answer.columns[0][1] == type_
            assert cell(answer.rows[0].cell[0], type_) == masked_cell(mask, type_, "raw", KEY)


SAMPLES = {
    "NUMERIC": "NUMERIC '1.5'",
    "BIGNUMERIC": "BIGNUMERIC '1.5'",
    "TIMESTAMP": "TIMESTAMP '2020-01-01 00:00:00+00'",
    "DATETIME": "DATETIME '2020-01-01 00:00:00'",
    "TIME": "TIME '10:00:00'",
    "INTERVAL": "INTERVAL 5 DAY",
    "JSON": "JSON '{\"a\": 1}'",
    "RANGE<DATE>": "RANGE<DATE> '[2020-01-01, 2020-01-02)'",
    "RANGE<DATETIME>": "RANGE<DATETIME> '[2020-01-01, 2020-01-02)'",
    "RANGE<TIMESTAMP>": "RANGE<TIMESTAMP> '[2020-01-01, 2020-01-02)'",
}


def test_value_proto_is_what_the_engine_reads() -> None:
    type_ = SqlType("STRUCT", fields=(("a", SqlType("ARRAY", element=SqlType("INT64"))),))
    assert (
        value_proto(([1, 2],), type_).struct_value.field[0].array_value.element[1].int64_value == 2
    )
