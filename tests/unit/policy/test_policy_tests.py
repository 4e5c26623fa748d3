from __future__ import annotations

import json
from pathlib import Path

import pytest

from keystile.model.errors import UnsafeConfigurationError
from keystile.model.masks import DefaultMask, KeepLastMask
from keystile.policy import policy_tests
from keystile.policy.parse import read_as
from keystile.policy.policy_tests import Expected, Outcome, PolicyTests, differences

FOUND = Outcome(
    "deny",
    "agents change no schemas",
    masks=(("p.d.t.ssn", DefaultMask()), ("other.d.t.ssn", KeepLastMask(4))),
    rules=("frozen", "read"),
    row_filters=("own",),
    limits=("cost",),
)


def test_the_json_schema_beside_the_code_is_current() -> None:
    file = Path(policy_tests.__file__).with_name("tests.schema.json")
    assert json.loads(file.read_text()) == json.loads(json.dumps(policy_tests.json_schema())), (
        "write json.dumps(policy_tests.json_schema(), indent=2) into tests.schema.json"
    )


@pytest.mark.parametrize(
    "expected",
    [
        Expected(effect="deny"),
        Expected(effect="deny", masked=("d.t.ssn", "other.d.t.ssn"), rules=("frozen",)),
        Expected(effect="deny", masks={"other.d.t.ssn": KeepLastMask(4)}),
        Expected(effect="deny", row_filters=("own",), message="no schemas"),
        Expected(effect="deny", rules=(), limits=("cost",)),
    ],
)
def test_what_is_as_expected_has_no_difference(expected: Expected) -> None:
    assert differences(expected, FOUND, "p") == ()


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        (Expected(effect="allow"), "effect: expected `allow`, got `deny`"),
        (Expected(effect="deny", masked=("d.t.ssn",)), "masked: `other.d.t.ssn` was not expected"),
        (
            Expected(effect="deny", masked=("d.t.ssn", "other.d.t.ssn", "d.t.id")),
            "masked: expected `p.d.t.id`, which is not there",
        ),
        (
            Expected(effect="deny", masks={"d.t.ssn": KeepLastMask(4)}),
            (
                'masks: expected `{"kind":"keep_last","count":4}` on `p.d.t.ssn`,'
                ' got `{"kind":"default"}`'
            ),
        ),
        (
            Expected(effect="deny", masks={"other.d.t.ssn": KeepLastMask(3)}),
            (
                'masks: expected `{"kind":"keep_last","count":3}` on `other.d.t.ssn`,'
                ' got `{"kind":"keep_last","count":4}`'
            ),
        ),
        (
            Expected(effect="deny", masks={"d.t.id": DefaultMask()}),
            'masks: expected `{"kind":"default"}` on `p.d.t.id`, which is not masked',
        ),
        (Expected(effect="deny", rules=("x",)), "rules: expected `x`, which is not there"),
        (Expected(effect="deny", row_filters=()), "row_filters: `own` was not expected"),
        (Expected(effect="deny", limits=()), "limits: `cost` was not expected"),
        (Expected(effect="deny", message="ask"), "message: expected `ask` in it"),
    ],
)
def test_each_difference_is_a_line_and_the_agents_text_follows(
    expected: Expected, line: str
) -> None:
    assert differences(expected, FOUND, "p") == (line, "the agent sees: agents change no schemas")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("project: p\ntests: []", "line 2: expected `array` of length >= 1 at `tests`"),
        ("project: p\ntable: {}\ntests: []", "line 2: unknown word `table` at `table`"),
        (
            "project: p\ntests:\n- name: a\n  sql: x\n  expect: {effect: maybe}",
            "line 5: unknown value `maybe` at `tests[0].expect.effect`",
        ),
        ("project: p\nproject: q", "line 2: `project` is given twice"),
    ],
)
def test_a_wrong_file_says_where(text: str, message: str) -> None:
    with pytest.raises(UnsafeConfigurationError) as refused:
        read_as(PolicyTests, "a.test.yaml", text)
    assert refused.value.message == f"`a.test.yaml` {message}"
