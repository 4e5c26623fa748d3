from __future__ import annotations

import pytest

from keystile.analysis.without import WithoutRequest, WithoutText, without
from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.task import Task

WITHOUT = Task(without, WithoutRequest, WithoutText)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a, ssn FROM t", "SELECT a FROM t"),
        ("SELECT ssn, a,\n  'ü' AS b FROM t", "SELECT a, 'ü' AS b FROM t"),
        ("SELECT a, UPPER(t.SSN) AS s FROM t", "SELECT a FROM t"),
        ("SELECT a, `t.ssn` FROM t", "SELECT a FROM t"),
        ("SELECT * FROM t", "SELECT * EXCEPT (ssn) FROM t"),
        ("SELECT t.* FROM t WHERE a = 1", "SELECT t.* EXCEPT (ssn) FROM t WHERE a = 1"),
        ("WITH w AS (SELECT ssn, a FROM t) SELECT ssn, a FROM w", None),
        ("SELECT a FROM t ORDER BY 1", "SELECT a FROM t ORDER BY 1"),
        ("SELECT ssn, a FROM t ORDER BY 1", ""),
        ("SELECT ssn, a, COUNT(*) FROM t GROUP BY 2", ""),
        ("SELECT ssn FROM t", ""),
        ("SELECT a FROM t UNION ALL SELECT ssn FROM t", ""),
        ("DELETE FROM t WHERE ssn = '1'", ""),
        ("FROM t |> SELECT ssn", ""),
    ],
)
def test_columns_are_left_out_where_that_is_simple(
    runner: InlineRunner, sql: str, expected: str | None
) -> None:
    if expected is None:  # only the last SELECT is changed; whether it helps is found out later
        expected = sql.replace("SELECT ssn, a FROM w", "SELECT a FROM w")
    assert runner.run_now(WITHOUT, WithoutRequest(sql, ("ssn",))).sql == expected


def test_odd_names_are_quoted(runner: InlineRunner) -> None:
    request = WithoutRequest("SELECT * FROM t", ("größe", "a`b", "id"))
    assert runner.run_now(WITHOUT, request).sql == ("SELECT * EXCEPT (`größe`, `a\\`b`, id) FROM t")
