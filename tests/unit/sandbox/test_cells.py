from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.messages import service
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, SqlType
from keystile.sandbox import evaluating
from keystile.sandbox.cells import stored_value, with_float_times
from keystile.sandbox.sizes import logical_bytes


@pytest.fixture(scope="module")
def runner() -> InlineRunner:
    return InlineRunner()


def _engines_own(runner: InlineRunner, kind: str, texts: list[str]) -> list[tuple[str, str]]:
    """Give each value as our cell and as the engine casts it to text."""
    content = service.TableContent()
    for number, text in enumerate(texts):
        row = content.table_data.row.add()
        row.cell.add(int64_value=number)
        row.cell.add(string_value=text)
    raw = evaluating.Raw((SqlType(kind),), content.SerializeToString())
    made = runner.run_now(evaluating.CONVERT, raw)
    table = evaluating.Spelled(("t",), "t", (("v", SqlType(kind)),), made)
    statement = evaluating.Statement("SELECT v, CAST(v AS STRING) AS s FROM t", (table,))
    rows = runner.run_now(evaluating.EVALUATE, statement).rows
    return [(row["f"][0]["v"], row["f"][1]["v"]) for row in rows]


_DIGITS = st.integers(-(10**36), 10**36)
_SECONDS = st.integers(-62135596800, 253402300799)


def _sampled(strategy: st.SearchStrategy[Any]) -> list[Any]:
    found: list[Any] = []

    @given(st.lists(strategy, min_size=60, max_size=60))
    def draw(values: list[Any]) -> None:
        found.extend(values)

    draw()
    return found[:600]


def test_numeric_is_written_as_the_engine_writes_it(runner: InlineRunner) -> None:
    scaled = _sampled(st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-(10**10), 10**10))
    texts = [f"{value}e-9" for value in scaled]
    for ours, theirs in _engines_own(runner, "NUMERIC", texts):
        assert ours == theirs


def test_bignumeric_is_written_as_the_engine_writes_it(runner: InlineRunner) -> None:
    texts = [f"{value}e-38" for value in _sampled(_DIGITS | st.integers(-5, 5))]
    texts += [f"{value}" for value in _sampled(_DIGITS)]
    for ours, theirs in _engines_own(runner, "BIGNUMERIC", texts):
        assert ours == theirs


def test_interval_is_written_as_the_engine_writes_it(runner: InlineRunner) -> None:
    parts = st.tuples(
        st.integers(-119_999, 119_999),
        st.integers(-3_660_000, 3_660_000),
        st.integers(-316_224_000_000_000, 316_224_000_000_000),
    )
    texts = [
        f"{'-' if months < 0 else ''}{abs(months) // 12}-{abs(months) % 12} {days} "
        f"{'-' if micros < 0 else ''}0:0:{abs(micros) // 10**6}.{abs(micros) % 10**6:06d}"
        for months, days, micros in _sampled(parts)
    ]
    for ours, theirs in _engines_own(runner, "INTERVAL", texts):
        assert ours == theirs


@pytest.mark.parametrize("kind", ["DATE", "TIME", "DATETIME"])
def test_civil_times_are_written_as_the_engine_writes_them(runner: InlineRunner, kind: str) -> None:
    moments = {
        "DATE": st.dates().map(str),
        "TIME": st.times().map(str),
        "DATETIME": st.datetimes().map(str),
    }
    for ours, theirs in _engines_own(runner, kind, _sampled(moments[kind])):
        head, _, fraction = theirs.replace(" ", "T").partition(".")
        assert ours == (f"{head}.{fraction.ljust(6, '0')}" if fraction else head)


_TIMES = (
    Field("t", "TIMESTAMP"),
    Field("many", "TIMESTAMP", Mode.REPEATED),
    Field("in", "STRUCT", fields=(Field("t", "TIMESTAMP"), Field("s", "STRING"))),
    Field("r", "RANGE", range_element="TIMESTAMP"),
)


@pytest.mark.parametrize(
    ("micros", "seconds"),
    [
        ("0", "0.0"),
        ("1704067200250000", "1704067200.25"),
        ("-500000", "-0.5"),
        ("-62135596800000000", "-62135596800.0"),
        ("10000000", "10.0"),
        ("1", "0.000001"),
    ],
)
def test_timestamps_become_seconds_wherever_they_stand(micros: str, seconds: str) -> None:
    row = {
        "f": [
            {"v": micros},
            {"v": [{"v": micros}]},
            {"v": {"f": [{"v": micros}, {"v": micros}]}},
            {"v": f"[{micros}, UNBOUNDED)"},
        ]
    }
    assert with_float_times(row, _TIMES) == {
        "f": [
            {"v": seconds},
            {"v": [{"v": seconds}]},
            {"v": {"f": [{"v": seconds}, {"v": micros}]}},
            {"v": f"[{seconds}, UNBOUNDED)"},
        ]
    }
    empty = {"f": [{"v": None}, {"v": []}, {"v": None}, {"v": None}]}
    assert with_float_times(empty, _TIMES) == empty


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ({}, SqlType("STRING")),
        ([], SqlType("INT64")),
        ("x", SqlType("ARRAY", element=SqlType("STRING"))),
        ([None], SqlType("ARRAY", element=SqlType("STRING"))),
        ({"other": 1}, SqlType("STRUCT", fields=(("a", SqlType("INT64")),))),
        (5, SqlType("STRUCT", fields=(("a", SqlType("INT64")),))),
    ],
)
def test_a_stored_value_of_another_shape_is_refused(value: object, type_: SqlType) -> None:
    with pytest.raises(InvalidRequestError, match="`c`"):
        stored_value(value, type_, "c")


@pytest.mark.parametrize(
    ("value", "type_", "size"),
    [
        (None, SqlType("STRING"), 0),
        ("é", SqlType("STRING"), 4),
        ("/w==", SqlType("BYTES"), 3),
        (1, SqlType("INT64"), 8),
        (True, SqlType("BOOL"), 1),
        ([1, 2], SqlType("ARRAY", element=SqlType("INT64")), 16),
        ({"a": "x"}, SqlType("STRUCT", fields=(("a", SqlType("STRING")),)), 3),
    ],
)
def test_logical_bytes_are_counted_as_they_are_billed(
    value: object, type_: SqlType, size: int
) -> None:
    assert logical_bytes(value, type_) == size
