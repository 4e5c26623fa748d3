from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from keystile.gate.looking import Finding, Look
from keystile.gate.plan import Plan
from keystile.model.decision import Decision, Detection, Effect
from keystile.model.errors import RefusedError
from keystile.model.facts import Action, ColumnUse, OutputColumn, QueryFacts, Use
from keystile.model.masks import ConstantMask, EmailMask, KeyedHashMask, Mask
from keystile.model.schema import ColumnRef, Field, SqlType, TableId

TABLE = TableId("p", "shop", "tickets")
BODY, TITLE, SSN = (ColumnRef(TABLE, (name,)) for name in ("body", "title", "ssn"))
SCHEMA = (Field("body", "STRING"), Field("title", "STRING"))


def looks_for(entity: str, mask: Mask | None = None, **more: Any) -> Detection:
    return Detection("text", entity, mask or ConstantMask(f"[{entity.upper()}]"), **more)


def plan(
    *detections: Detection,
    sources: tuple[tuple[ColumnRef, ...], ...] = ((BODY,), (TITLE,)),
    masked: tuple[ColumnRef, ...] = (),
    statement: str = "SELECT",
    labels: dict[str, tuple[str, ...]] | None = None,
) -> Plan:
    used = sorted({ref for refs in sources for ref in refs})
    facts = QueryFacts(
        statement,
        (Action.READ,),
        reads=(TABLE,),
        columns=tuple(ColumnUse(ref, (Use.OUTPUT,)) for ref in used),
        output=tuple(OutputColumn("x", SqlType("STRING"), refs) for refs in sources),
    )
    decision = Decision(Effect.ALLOW, (), "d", detections=detections)
    return Plan(facts, decision, "", masked, SCHEMA, 0, "digest", labels or {})


def rows(*texts: tuple[str | None, ...]) -> tuple[msgspec.Raw, ...]:
    return tuple(
        msgspec.Raw(msgspec.json.encode({"f": [{"v": text} for text in row]})) for row in texts
    )


def given(plan: Plan, *texts: tuple[str | None, ...]) -> tuple[list[Any], tuple[Finding, ...]]:
    caught = Look(plan, SCHEMA, {"": bytes(32)}).through(rows(*texts))
    cells = [[cell["v"] for cell in msgspec.json.decode(row)["f"]] for row in caught.rows]
    return cells, caught.findings


def test_values_are_masked_in_place_and_counted_by_column() -> None:
    cells, findings = given(
        plan(looks_for("ssn", label="pii.ssn"), looks_for("email", EmailMask())),
        ("é 123-45-6789, jane@example.com!", "a"),
        (None, "987-65-4321 123-45-6789"),
    )
    assert cells == [["é [SSN], j***@example.com!", "a"], [None, "[SSN] [SSN]"]]
    assert findings == (
        Finding("body", "email", "", 1, (str(BODY),)),
        Finding("body", "ssn", "pii.ssn", 1, (str(BODY),)),
        Finding("title", "ssn", "pii.ssn", 2, (str(TITLE),)),
    )


def test_equal_values_get_equal_tokens() -> None:
    ((one,), (two,)), _ = (
        (
            [row[:1] for row in given(plan(looks_for("ssn", KeyedHashMask())), (text, ""))[0]]
            for text in ("123-45-6789", "x 123-45-6789")
        ),
        None,
    )
    assert re.fullmatch("[0-9a-f]{64}", one[0])
    assert two[0] == f"x {one[0]}"


def test_rows_without_a_value_are_the_same_bytes() -> None:
    same = rows(("a", "b"))
    assert Look(plan(looks_for("ssn")), SCHEMA, {}).through(same).rows[0] is same[0]


@pytest.mark.parametrize(
    ("detection", "sources", "masked", "seen"),
    [
        ({}, (BODY,), (), False),
        ({"shown": (BODY,)}, (BODY,), (), True),
        ({"shown": (BODY,)}, (BODY, TITLE), (), False),
        ({"shown": (BODY,)}, (BODY, SSN), (SSN,), True),
        ({}, (SSN,), (SSN,), True),
        ({"shown": (BODY,)}, (), (), False),
    ],
)
def test_what_a_column_comes_from_says_whether_it_is_looked_at(
    detection: dict[str, Any], sources: Any, masked: Any, seen: Any
) -> None:
    found = plan(looks_for("ssn", **detection), sources=(sources, (TITLE,)), masked=masked)
    assert (given(found, ("123-45-6789", ""))[0][0][0] == "123-45-6789") == seen


def test_of_another_statement_each_column_comes_from_all_that_is_read() -> None:
    script = plan(looks_for("ssn", shown=(BODY,)), statement="SCRIPT")
    assert given(script, ("123-45-6789", ""))[0] == [["[SSN]", ""]]
    script = plan(looks_for("ssn", shown=(BODY, TITLE)), statement="SCRIPT")
    assert given(script, ("123-45-6789", ""))[0] == [["123-45-6789", ""]]


def test_a_value_is_shown_only_where_no_entry_looks_for_it() -> None:
    both = plan(looks_for("ssn", shown=(BODY,)), looks_for("ssn", EmailMask()))
    assert given(both, ("123-45-6789", "123-45-6789"))[0] == [["***", "[SSN]"]]


def test_what_is_kept_back_is_not_given() -> None:
    with pytest.raises(RefusedError, match=r"rule `text` keeps .* column `title` .* `ssn`"):
        given(plan(looks_for("ssn", deny=True)), ("a", "123-45-6789"))
    found = plan(looks_for("ssn"), looks_for("ssn", deny=True, shown=(TITLE,)))
    assert given(found, ("a", "123-45-6789"))[0] == [["a", "[SSN]"]]


def test_columns_that_have_a_label_need_no_hint() -> None:
    labelled = plan(looks_for("ssn"), labels={str(BODY): ("pii.notes",)})
    assert given(labelled, ("123-45-6789", ""))[1][0].columns == ()


def test_an_errors_text_is_looked_through_too() -> None:
    look = Look(plan(looks_for("ssn", shown=(BODY,))), (), {})
    assert look.told("Bad value: 123-45-6789") == "Bad value: [SSN]"
    shown = Look(plan(looks_for("ssn", shown=(BODY, TITLE))), (), {})
    assert shown.told("Bad value: 123-45-6789") == "Bad value: 123-45-6789"
