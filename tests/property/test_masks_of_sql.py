# ruff: noqa: S608 - queries made of a test's own words
"""What a mask of SQL may call raises no error, whatever value it is handed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pytest
from prove.evaluator import World
from prove.queries.calls import Call, calls

from keystile.googlesql.engine import Engine
from keystile.masking.custom import Expressions, unsound
from keystile.masking.literals import text
from keystile.model.masks import SqlMask

ENGINE = Engine()
EVALUATOR = World(ENGINE, [])
SLOT = re.compile(r"\{([^{}]+)\}")

GREATEST = "578960446186580977117854925043439539266.34992332820282019728792003956564819967"
EXTREMES: dict[str, tuple[str, ...]] = {
    "STRING": tuple(
        map(text, ("", "x", "%secret", "(secret", "\\", "e\u0301\U0001f600", "-9e999", "[secret"))
    ),
    "BYTES": ("b''", "b'x'", "b'\\xff\\x00'"),
    "INT64": ("-9223372036854775808", "-1", "0", "1", "9223372036854775807"),
    "FLOAT64": tuple(
        f"CAST('{one}' AS FLOAT64)" for one in ("nan", "inf", "-inf", "-0.0", "5e-324", "-1.8e308")
    ),
    "NUMERIC": tuple(f"NUMERIC '{one}.999999999'" for one in ("0", "-9" + "9" * 28, "9" * 29)),
    "BIGNUMERIC": tuple(
        f"CAST({one} AS BIGNUMERIC)" for one in ("0", f"'-{GREATEST}'", f"'{GREATEST}'")
    ),
    "BOOL": ("TRUE", "FALSE"),
    "DATE": ("DATE '0001-01-01'", "DATE '9999-12-31'", "DATE '2024-02-29'"),
    "DATETIME": ("DATETIME '0001-01-01 00:00:00'", "DATETIME '9999-12-31 23:59:59.999999'"),
    "TIME": ("TIME '00:00:00'", "TIME '23:59:59.999999'"),
    "TIMESTAMP": (
        "TIMESTAMP '0001-01-01 00:00:00+00'",
        "TIMESTAMP '9999-12-31 23:59:59.999999+00'",
    ),
    "JSON": ("JSON 'null'", "JSON '[1]'", 'JSON \'{"a":"x","b":1e300}\''),
    "INTERVAL": ("INTERVAL 10000 YEAR", "INTERVAL -87840000 HOUR"),
}
OF_OWN = (
    ("CAST(TIMESTAMP_TRUNC(TIMESTAMP '2020-01-01', MONTH, value) AS STRING)", "STRING"),
    ("CAST(EXTRACT(YEAR FROM TIMESTAMP '2020-01-01' AT TIME ZONE value) AS STRING)", "STRING"),
    ("CAST(EXTRACT(DATE FROM TIMESTAMP '2020-01-01' AT TIME ZONE value) AS STRING)", "STRING"),
    ("CAST(EXTRACT(DATE FROM value AT TIME ZONE 'Asia/Tokyo') AS TIMESTAMP)", "TIMESTAMP"),
    ("CAST(DATE '2020-01-01' AS STRING FORMAT value)", "STRING"),
    ("CAST(5 AS STRING FORMAT value)", "STRING"),
    ("CAST(TIMESTAMP '2020-01-01' AS STRING FORMAT 'YYYY' AT TIME ZONE value)", "STRING"),
    ("DATE_TRUNC(value, WEEK)", "DATE"),
    ("DATETIME_TRUNC(value, WEEK(TUESDAY))", "DATETIME"),
    ("TIMESTAMP_TRUNC(value, MONTH, 'Asia/Tokyo')", "TIMESTAMP"),
)


@cache
def sound(expression: str, type_: str) -> bool:
    return not unsound(ENGINE, Expressions((SqlMask(expression, type_),))).found[0]


def error_of(expression: str, type_: str) -> str:
    values = ", ".join(EXTREMES[type_])
    return EVALUATOR.run(f"SELECT {expression} AS m FROM UNNEST([{values}]) AS value").error


def forms(call: Call) -> Iterator[tuple[str, str]]:
    """Give uses of a call with `value` for all arguments of a type, and extremes for others."""
    slots = SLOT.findall(call.template)
    for type_ in {*slots} & EXTREMES.keys():
        if not {*slots} <= EXTREMES.keys():
            continue
        for shift in range(3):
            given = {
                slot: "value" if slot == type_ else EXTREMES[slot][shift % len(EXTREMES[slot])]
                for slot in slots
            }
            called = SLOT.sub(lambda slot, given=given: given[slot[1]], call.template)
            yield f"IF(({called}) IS NULL, value, NULL)", type_
            yield f"IF((SAFE.{called}) IS NULL, value, NULL)", type_


def test_no_function_that_a_mask_may_call_tells_of_a_value_by_an_error() -> None:
    every = {form for call in calls() if not call.aggregate for form in forms(call)}
    allowed = [form for form in sorted(every) if sound(*form)]
    errors = {form: error for form in allowed if (error := error_of(*form))}
    assert not errors
    assert len(allowed) > 700  # so that it is about something


@pytest.mark.parametrize(("expression", "type_"), OF_OWN)
def test_what_is_no_plain_call_tells_of_no_value_by_an_error(expression: str, type_: str) -> None:
    """A time zone or a format that is the value stood in the error's text."""
    assert error_of(expression, type_)
    assert not sound(expression, type_)
