from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prove.trial import Court, masks_for

from keystile.analysis.statement import Statement
from keystile.googlesql.inline import InlineRunner
from keystile.masking.script import CHECK, CheckRequest, with_texts
from keystile.model.errors import RefusedError

SQL = (
    "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM customers);\n"
    "IF s = 'é' THEN EXECUTE IMMEDIATE r'SELECT \"\\n\", note FROM orders'; END IF; -- the end"
)


@pytest.fixture(scope="session")
def runner() -> InlineRunner:
    return InlineRunner()


@pytest.fixture
async def analysed(court: Court) -> Any:
    return await court.analyst.analyse(Statement(SQL, "acme-shop", "shop"), court.source)


def check_of(analysed: Any, masked: dict[int, str]) -> tuple[str, CheckRequest]:
    return with_texts(analysed, masked)


async def test_only_what_is_masked_changes_in_the_script(court: Court, analysed: Any) -> None:
    rewritten = await court.rewriter.rewrite(analysed, masks_for(analysed))

    assert rewritten.sql.startswith("DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM (SELECT ")
    assert rewritten.sql.endswith("END IF; -- the end")
    assert (
        "IF s = 'é' THEN EXECUTE IMMEDIATE 'SELECT \"\\\\n\", note FROM (SELECT " in rewritten.sql
    )


async def test_a_script_that_holds_what_was_proved_passes(
    runner: InlineRunner, analysed: Any
) -> None:
    text = "SELECT ((SELECT MAX(x) FROM UNNEST(['1']) AS x))"
    numbers = [n for n, part in enumerate(analysed.parts) if "MAX(ssn)" in part.part.sql]
    sql, check = check_of(analysed, {numbers[0]: text})
    assert "DEFAULT (SELECT MAX(x)" in sql
    await runner.run(CHECK, check)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MAX(ssn)", "MIN(ssn)"),  # another text
        ("; -- the end", "; SELECT * FROM customers"),  # one more
        ("DECLARE s STRING", "DECLARE t STRING"),  # other names around it
        ("IF s = 'é' THEN", "IF s = 'é' THEN SELECT 1; ELSEIF s = 'é' THEN"),
        ("END IF", "ELSE RETURN; END IF"),
        ("; -- the end", "; )"),  # no script at all
        ("EXECUTE IMMEDIATE", "EXECUTE IMMEDIATE @x || "),
    ],
)
async def test_a_script_that_holds_anything_else_is_refused(
    runner: InlineRunner, analysed: Any, old: str, new: str
) -> None:
    _, check = check_of(analysed, {})
    await runner.run(CHECK, check)
    assert old in check.sql

    with pytest.raises(RefusedError, match="the same script"):
        await runner.run(CHECK, msgspec.structs.replace(check, sql=check.sql.replace(old, new)))
