from __future__ import annotations

import engine_tasks as tasks
import pytest

from keystile.config.settings import EngineLimits
from keystile.googlesql.engine import Engine
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


@pytest.mark.parametrize(
    ("sql", "deadline", "says"),
    [
        ("select " + "||".join(["'a'"] * 5000), 60, "nested too deeply"),
        ("select 1 in (" + ",".join(map(str, range(150_000))) + ")", 1, "longer than 1 seconds"),
    ],
    ids=["too deep", "too slow"],
)
def test_an_engine_that_died_is_replaced_and_the_reason_told(
    sql: str, deadline: int, says: str
) -> None:
    runner = InlineRunner(EngineLimits(deadline=deadline))
    with pytest.raises(RefusedError, match=says):
        runner.run_now(tasks.TYPES, sql)
    assert not runner.alive
    assert runner.run_now(tasks.TYPES, "select 1") == INT64
    assert runner.alive


def test_python_that_recurses_without_end_is_a_refusal(runner: InlineRunner) -> None:
    assert runner.run_now(tasks.RECURSE, 5000) == 0
    with pytest.raises(RefusedError, match="nested too deeply"):
        runner.run_now(tasks.RECURSE, 1_000_000)


async def test_errors_are_in_bigquerys_words(runner: InlineRunner) -> None:
    with pytest.raises(InvalidQueryError, match=r"^Syntax error: .* at \[1:10\]$"):
        await runner.run(tasks.TYPES, "select 1 2")


def test_the_deadline_is_each_tasks_own() -> None:
    runner = InlineRunner(EngineLimits(deadline=1))
    for _ in range(3):
        runner.run_now(tasks.SLEEP, 0.6)
    assert runner.run_now(tasks.TYPES, "select 1") == INT64


def test_an_answer_that_memory_has_no_room_to_read_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = InlineRunner(EngineLimits(memory_bytes=1 << 20))
    with monkeypatch.context() as cut:
        cut.setattr(Engine, "_call_bytes", lambda *_: b"\xff")
        with pytest.raises(RefusedError, match="more than 1 MB of memory"):
            runner.run_now(tasks.TYPES, "select 1")
    assert runner.run_now(tasks.TYPES, "select 1") == INT64
