# ruff: noqa: S608 - queries made of a test's own words
"""A mask as SQL and the same mask on a JSON cell say the same, for every type and value."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prove.evaluator import Given, World, value_proto, written

from keystile.googlesql.engine import Engine
from keystile.masking import keyed
from keystile.masking.cell import masked_cell
from keystile.masking.literals import default, text
from keystile.masking.sql import expression, null
from keystile.model.masks import (
    BucketMask,
    ConstantMask,
    DefaultMask,
    EmailMask,
    IpMask,
    JsonPathsMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
    RoundMask,
    TokenMask,
    TruncateMask,
    UrlHostMask,
)
from keystile.model.schema import Field, Mode, SqlType
from keystile.sandbox.cells import cell
from keystile.wire.arrow import ArrowRows

KEY = bytes(range(40))
BYTES = SqlType("BYTES")
EVALUATOR = World(Engine(), [])

plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
numbers = st.integers(0, 300).map(str)
texts = st.one_of(
    plain,
    st.from_regex(r"[a-zé]{1,3}@[a-z]{1,3}\.[a-z]", fullmatch=True),
    st.lists(numbers, min_size=3, max_size=5).map(".".join),
    st.ip_addresses().map(str),
    st.from_regex(r"[0-9A-Fa-f:]{2,24}(\.?[0-9]{1,3}){0,4}", fullmatch=True),
    st.from_regex(
        r"[a-z]{1,4}://([a-z:@]{1,4}@)?[a-z.\[:\]]{1,6}(:[0-9]{2})?[/?#]?[^\0]?", fullmatch=True
    ),
    st.text(st.sampled_from("0123456789abcXYZ-. éЖ日"), max_size=80),
)
moments = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23))  # noqa: DTZ001 - made into literals


def _decimals(places: int, greatest: int) -> st.SearchStrategy[str]:
    def spelled(scaled: int) -> str:
        whole, part = divmod(abs(scaled), 10**places)
        return f"{'-' if scaled < 0 else ''}{whole}.{part:0{places}d}"

    near = st.integers(-100_000, 100_000).map(lambda one: one * 10 ** (places - 2))
    return (st.integers(-greatest, greatest) | near).map(spelled)


def _float(value: float) -> str:
    return f"CAST('{value!r}' AS FLOAT64)"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | plain,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "é"]), inner, max_size=3)
    ),
    max_leaves=8,
)
SCALARS: dict[str, st.SearchStrategy[str]] = {
    "STRING": texts.map(text),
    "INT64": (st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-100, 100)).map(
        lambda one: f"({one})"
    ),
    "BYTES": st.binary(max_size=6).map(lambda one: f"FROM_HEX('{one.hex()}')"),
    "BOOL": st.sampled_from(["TRUE", "FALSE"]),
    "DATE": st.dates().map(lambda one: f"DATE '{one}'"),
    "DATETIME": moments.map(lambda one: f"DATETIME '{one}'"),
    "TIMESTAMP": moments.map(lambda one: f"TIMESTAMP '{one}+00'"),
    "TIME": st.times().map(lambda one: f"TIME '{one}'"),
    "FLOAT64": (st.floats() | st.floats(-100, 100)).map(_float),
    "NUMERIC": _decimals(9, 10**38 - 1).map(lambda one: f"NUMERIC '{one}'"),
    "BIGNUMERIC": _decimals(38, 2**255 - 1).map(lambda one: f"BIGNUMERIC '{one}'"),
    "INTERVAL": st.integers(0, 99).map(lambda one: f"INTERVAL {one} DAY"),
    "JSON": json_values.map(lambda one: f"JSON {text(msgspec.json.encode(one).decode())}"),
}
SCALARS |= {
    f"RANGE<{kind}>": st.just(f"RANGE<{kind}> '[2020-01-01, UNBOUNDED)'")
    for kind in ("DATE", "DATETIME", "TIMESTAMP")
}

widths = st.sampled_from([1, 7, 10, 1000, 0.5, 0.1, 2.25, 1e-9, 10**15])
paths = st.lists(
    st.sampled_from(["$.a", "$.a.b", "$.b.a.c", "$.c", "$.c.c"]), min_size=1, max_size=3
)
MASKS: dict[type[Mask], st.SearchStrategy[Mask]] = {
    NullMask: st.just(NullMask()),
    DefaultMask: st.just(DefaultMask()),
    ConstantMask: st.builds(
        ConstantMask,
        texts | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.just("2020-02-29"),
    ),
    PatternMask: st.builds(PatternMask, texts),
    KeyedHashMask: st.sampled_from([KeyedHashMask(), KeyedHashMask("a_key")]),
    TokenMask: st.sampled_from([TokenMask(), TokenMask("a_key")]),
    EmailMask: st.just(EmailMask()),
    KeepFirstMask: st.builds(KeepFirstMask, st.integers(0, 8)),
    KeepLastMask: st.builds(KeepLastMask, st.integers(0, 8)),
    UrlHostMask: st.just(UrlHostMask()),
    IpMask: st.just(IpMask()),
    TruncateMask: st.builds(TruncateMask, st.sampled_from(["month", "quarter", "year"])),
    BucketMask: st.builds(BucketMask, widths),
    RoundMask: st.builds(RoundMask, widths),
    JsonPathsMask: st.builds(JsonPathsMask, paths.map(tuple)),
}
masks = st.one_of(*MASKS.values())


class Typed(NamedTuple):
    """A type, and a value of it as SQL; None is NULL."""

    type: SqlType
    sql: str | None

    @property
    def literal(self) -> str:
        return self.sql or f"CAST(NULL AS {written(self.type)})"


def _type(kind: str) -> SqlType:
    name, _, element = kind.rstrip(">").partition("<")
    return SqlType(name, element=SqlType(element) if element else None)


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 0) -> Typed:
    kinds = [*SCALARS] if depth > 2 else [*SCALARS, *(["STRUCT", "ARRAY"] * 4)]
    kind = draw(st.sampled_from(kinds))
    if kind == "STRUCT":
        fields = draw(st.lists(typed_values(depth + 1), min_size=1, max_size=3))
        named = tuple((f"f{index}", field.type) for index, field in enumerate(fields))
        type_ = SqlType(kind, fields=named)
        value = f"{written(type_)}({', '.join(field.literal for field in fields)})"
        return Typed(type_, draw(st.just(value) | st.none()))
    if kind == "ARRAY":
        one = draw(typed_values(depth + 1).filter(lambda one: one.type.kind != "ARRAY"))
        type_ = SqlType(kind, element=one.type)
        count = 0 if one.sql is None else draw(st.integers(0, 3))
        return Typed(type_, f"{written(type_)}[{', '.join([one.literal] * count)}]")
    return Typed(_type(kind), draw(SCALARS[kind] | st.none()))


def hidden(mask: Mask) -> list[Given]:
    names = keyed.parameters(mask)
    pads = keyed.pads(mask, KEY) if names else ()
    return [Given(name, BYTES, pad) for name, pad in zip(names, pads, strict=True)]


def agree(mask: Mask, typed: Typed) -> None:
    masking = expression(mask, typed.type, "v")
    answer = EVALUATOR.run(
        f"SELECT v, {masking} AS m FROM (SELECT {typed.literal} AS v)", hidden(mask)
    )

    assert not answer.error, answer.error
    raw, masked = answer.rows[0].cell
    assert answer.columns[1][1] == typed.type, "a mask keeps the type"
    found, wanted = (
        cell(masked, typed.type),
        masked_cell(mask, typed.type, cell(raw, typed.type), KEY),
    )
    assert found == wanted
    assert in_arrow(found, typed.type) == in_arrow(wanted, typed.type)


def in_arrow(value: Any, type_: SqlType) -> bytes:
    """Give a cell as the Storage Read API sends it."""
    return ArrowRows([_field("m", type_)]).batch([{"f": [{"v": value}]}])


def _field(name: str, type_: SqlType) -> Field:
    if type_.kind == "ARRAY" and type_.element:
        return msgspec.structs.replace(_field(name, type_.element), mode=Mode.REPEATED)
    inner = tuple(_field(inner, of) for inner, of in type_.fields)
    element = type_.element.kind if type_.element else ""
    return Field(name, type_.kind, fields=inner, range_element=element)


@settings(max_examples=200)
@given(masks, typed_values())
def test_sql_and_cell_agree(mask: Mask, typed: Typed) -> None:
    agree(mask, typed)


WHERE_IT_SHOWS: dict[type[Mask], tuple[str, ...]] = {
    EmailMask: ("STRING",),
    KeepFirstMask: ("STRING",),
    KeepLastMask: ("STRING",),
    UrlHostMask: ("STRING",),
    IpMask: ("STRING",),
    KeyedHashMask: ("STRING", "BYTES"),
    TokenMask: ("STRING",),
    TruncateMask: ("DATE", "DATETIME", "TIMESTAMP"),
    BucketMask: ("INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC"),
    RoundMask: ("INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC"),
    JsonPathsMask: ("JSON",),
}


@pytest.mark.parametrize(
    ("mask", "kind"),
    [(mask, kind) for mask, kinds in WHERE_IT_SHOWS.items() for kind in kinds],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_they_agree_on_the_types_that_a_mask_is_for(mask: type[Mask], kind: str) -> None:
    @settings(max_examples=60)
    @given(MASKS[mask], SCALARS[kind])
    def each(mask: Mask, value: str) -> None:
        agree(mask, Typed(SqlType(kind), value))

    each()


@settings(max_examples=50)
@given(masks, typed_values())
def test_null_stays_null(mask: Mask, typed: Typed) -> None:
    none = Typed(typed.type, None).literal
    sql = f"SELECT {expression(mask, typed.type, 'v')} IS NULL AS n FROM (SELECT {none} AS v)"

    assert EVALUATOR.run(sql, hidden(mask)).rows[0].cell[0].bool_value


@pytest.mark.parametrize("mask", [IpMask(), TokenMask(), BucketMask(1), TruncateMask("year")])
def test_on_every_other_type_a_mask_gives_the_default(mask: Mask) -> None:
    shows = WHERE_IT_SHOWS[type(mask)]
    for kind in SCALARS.keys() - set(shows):
        type_ = _type(kind)
        fallback = default(type_)
        wanted = fallback.sql if fallback else null(type_)
        assert expression(mask, type_, "v") == f"IF(v IS NULL, NULL, {wanted})"


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
@example(["1", "2"])
def test_different_values_have_different_tokens(values: list[str]) -> None:
    pads = keyed.pads(TokenMask(), KEY)
    one, other = (keyed.token(value, pads) for value in values)
    assert one != other


@given(texts)
def test_a_token_keeps_the_form(value: str) -> None:
    token = keyed.token(value, keyed.pads(TokenMask(), KEY))
    classes: list[Callable[[str], bool]] = [
        lambda c: "0" <= c <= "9",
        lambda c: "a" <= c <= "z",
        lambda c: "A" <= c <= "Z",
        lambda c: c >= "\x80",
    ]
    assert len(token) == len(value)
    for before, after in zip(value, token, strict=True):
        assert [is_in(before) for is_in in classes] == [is_in(after) for is_in in classes]
        if not any(is_in(before) for is_in in classes):
            assert before == after


def test_a_token_of_a_short_domain_is_a_permutation_of_it() -> None:
    pads = keyed.pads(TokenMask(), KEY)
    codes = [f"{number:02d}-x" for number in range(100)]
    assert len({keyed.token(code, pads) for code in codes}) == 100
    digits = [f"{number:03d}" for number in range(1000)]
    assert sorted(keyed.token(code, pads) for code in digits) == digits


def test_tokens_and_hashes_have_other_pads() -> None:
    assert keyed.pads(TokenMask(), KEY) != keyed.pads(KeyedHashMask(), KEY)


def test_value_proto_is_what_the_engine_reads() -> None:
    type_ = SqlType("STRUCT", fields=(("a", SqlType("ARRAY", element=SqlType("INT64"))),))
    assert (
        value_proto(([1, 2],), type_).struct_value.field[0].array_value.element[1].int64_value == 2
    )
