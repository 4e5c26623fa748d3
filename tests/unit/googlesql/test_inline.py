from __future__ import annotations

import engine_tasks as tasks
import pytest

from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.schema import SqlType

INT64 = (SqlType("INT64"),)
STRING = (SqlType("STRING"),)


@pytest.mark.parametrize(
    ("sql", "types"),
    [
        ("select " + "||".join(["'a'"] * 200), STRING),
        ("select " + "case when 1 = 1 then 1 else " * 100 + "2" + " end" * 100, INT64),
        ("select " + "upper(" * 100 + "'a'" + ")" * 100, STRING),
        ("select * from " + "(select * from " * 100 + "(select 1 x)" + ")" * 100, INT64),
        ("select " + "(" * 2000 + "1" + ")" * 2000, INT64),
    ],
    ids=["concatenation", "case", "calls", "subqueries", "brackets"],
)
def test_deep_nesting_that_people_write_works(
    runner: InlineRunner, sql: str, types: tuple[SqlType, ...]
) -> None:
    assert runner.run_now(tasks.TYPES, sql) == types


def test_text_nested_deeper_than_the_stack_is_a_refusal(runner: InlineRunner) -> None:
    for sql in ("||".join(["'a'"] * 100_000), "upper(" * 10_000 + "'a'" + ")" * 10_000):
        with pytest.raises(RefusedError, match="nested too deeply"):
            runner.run_now(tasks.TYPES, f"select {sql}")
    assert runner.run_now(tasks.TYPES, "select 1") == INT64


def test_python_that_recurses_without_end_is_a_refusal(runner: InlineRunner) -> None:
    assert runner.run_now(tasks.RECURSE, 5000) == 0
    with pytest.raises(RefusedError, match="nested too deeply"):
        runner.run_now(tasks.RECURSE, 1_000_000)


async def test_errors_are_in_bigquerys_words(runner: InlineRunner) -> None:
    with pytest.raises(InvalidQueryError, match=r"^Syntax error: .* at \[1:10\]$"):
        await runner.run(tasks.TYPES, "select 1 2")
