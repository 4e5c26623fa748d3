"""What a mask of SQL may say."""

from __future__ import annotations

import pytest

from keystile.googlesql.engine import Engine
from keystile.masking.custom import Expressions, unsound
from keystile.model.masks import SqlMask

ENGINE = Engine()


def problem(expression: str, type_: str = "STRING") -> str:
    return unsound(ENGINE, Expressions((SqlMask(expression, type_),))).found[0]


@pytest.mark.parametrize(
    ("expression", "type_"),
    [
        ("CONCAT(SAFE.LEFT(value, 2), '…') -- and no more", "STRING"),
        ("CASE WHEN value IN ('DE', 'FR') THEN value ELSE 'other' END", "STRING"),
        ("SAFE.REGEXP_REPLACE(value, r'[0-9]', '#')", "STRING"),
        ("TO_HEX(SHA256(value))", "STRING"),
        ("IF(value < 18, 0, 18)", "INT64"),
        ("SAFE_CAST(SAFE.SUBSTR(CAST(value AS STRING), 1, 2) AS INT64)", "INT64"),
        ("SAFE.DATE_TRUNC(value, ISOWEEK)", "DATE"),
        ("SAFE.TIMESTAMP_TRUNC(value, MONTH, 'Europe/Berlin')", "TIMESTAMP"),
        ("IF(EXTRACT(YEAR FROM value) < 2000, NULL, value)", "DATE"),
        ("SAFE_CAST(SAFE_CAST(value AS STRING FORMAT 'YYYY') AS DATE)", "DATE"),
        ("VALUE", "BOOL"),
        ("'x'", "STRING"),
    ],
)
def test_what_cannot_fail_or_look_elsewhere_is_good(expression: str, type_: str) -> None:
    assert not problem(expression, type_)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("SUBSTR(value, 1, 2)", "`SUBSTR` can fail"),
        ("CAST(CAST(value AS INT64) AS STRING)", "`CAST` can fail"),
        ("CAST(1 / CHAR_LENGTH(value) AS STRING)", "can fail"),
        ("CAST(CHAR_LENGTH(value) + 1 AS STRING)", "can fail"),
        ("CAST(DATE '2020-01-01' AS STRING FORMAT value)", "`CAST` can fail"),
        ("CAST(EXTRACT(YEAR FROM TIMESTAMP '2020-01-01' AT TIME ZONE value) AS STRING)", "ZONE"),
        ("ERROR(value)", "ERROR"),
        ("SAFE.ERROR(value)", "ERROR"),
        ("IF(RAND() < 0.5, value, '')", "RAND"),
        ("GENERATE_UUID()", "GENERATE_UUID"),
        ("CAST(CURRENT_DATE() AS STRING)", "CURRENT_DATE"),
        ("SESSION_USER()", "SESSION_USER"),
        ("(SELECT value)", ""),
        ("(SELECT ssn FROM p.d.t)", ""),
        ("EXISTS (SELECT 1)", "subquery"),
        ("@p", "parameter"),
        ("@keystile_hash_inner", "parameter"),
        ("@@error.message", "variable"),
        ("d.f(value)", "routine"),
        ("f(value)", "f"),
        ("MAX(value)", "plain"),
        ("FIRST_VALUE(value) OVER (ORDER BY value)", "plain"),
        ("name", "name"),
        ("keystile_row.name", "keystile_row"),
        ("CHAR_LENGTH(value)", "gives INT64"),
        ("value, value", ""),
        ("value) AS a, (value", ""),
        ("value /* ", ""),
        ("", ""),
        ("value AS x", ""),
        ("WITH(x AS value, x)", "plain"),
        ("JSON_VALUE(PARSE_JSON(value), '$.a')", "can fail"),
    ],
)
def test_everything_else_is_not(expression: str, words: str) -> None:
    found = problem(expression)
    assert found
    assert words in found
