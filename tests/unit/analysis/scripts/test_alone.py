from __future__ import annotations

import pytest

from keystile.analysis.scripts.alone import Alone, AloneRequest
from keystile.analysis.tasks import ALONE
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError

OPEN, ENDED = "\n;\n", "\n"


@pytest.fixture(scope="module")
def runner() -> InlineRunner:
    return InlineRunner()


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT 1", Alone(script=False, ending=OPEN)),
        ("SELECT ';'", Alone(script=False, ending=OPEN)),
        ("SELECT 1 -- ;", Alone(script=False, ending=OPEN)),
        ("SELECT 1 /* ; */", Alone(script=False, ending=OPEN)),
        ("SELECT 1;", Alone(script=False, ending=ENDED)),
        ("SELECT 1; -- done", Alone(script=False, ending=ENDED)),
        ("CREATE TEMP TABLE t AS SELECT 1 AS x", Alone(script=False, ending=OPEN)),
        ("SELECT 1; SELECT 2", Alone(script=True, ending=OPEN)),
        ("BEGIN SELECT 1; END;", Alone(script=True, ending=ENDED)),
        ("DECLARE x INT64", Alone(script=True, ending=OPEN)),
    ],
)
def test_what_ends_a_text(runner: InlineRunner, sql: str, found: Alone) -> None:
    assert runner.run_now(ALONE, AloneRequest(sql)) == found
    behind = f"{sql}{found.ending}SELECT 'another'"
    assert runner.run_now(ALONE, AloneRequest(behind)).script


@pytest.mark.parametrize("sql", ["SELECT (", "END; SELECT 1", "*/ SELECT 1"])
def test_what_means_nothing_alone_means_nothing_behind_others(
    runner: InlineRunner, sql: str
) -> None:
    with pytest.raises(InvalidQueryError):
        runner.run_now(ALONE, AloneRequest(sql))
