"""What the engine keeps from one statement for the next shows in nothing but the time."""

from __future__ import annotations

import pytest

from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.messages import service
from keystile.model.schema import SqlType
from keystile.sandbox import evaluating
from keystile.sandbox.dialect import Spelled, Statement

INT = SqlType("INT64")


def rows_of(runner: InlineRunner, *values: int) -> list[str]:
    content = service.TableContent()
    content.table_data.SetInParent()
    for value in values:
        content.table_data.row.add().cell.add(int64_value=value)
    table = Spelled(("t",), "t", (("n", INT),), content.SerializeToString())
    made = runner.run_now(evaluating.EVALUATE, Statement("SELECT n FROM t", (table,)))
    return [row["f"][0]["v"] for row in made.rows]


@pytest.mark.parametrize("kept", [1 << 18, 0])
def test_rows_are_those_of_now(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "_KEPT_BYTES", kept)
    runner = InlineRunner()
    assert rows_of(runner, 1, 2) == ["1", "2"]
    assert rows_of(runner, 3) == ["3"]
    assert rows_of(runner, 1, 2) == ["1", "2"]
    assert rows_of(runner) == []
