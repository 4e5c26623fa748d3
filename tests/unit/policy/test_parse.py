from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.parse import parse

RULE = "rules:\n  - name: r\n    agents: {groups: [g]}\n    allow: [read]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RULE.replace("groups", "grups"), "`f` line 3: unknown word `grups`"),
        (RULE.replace("groups", "grups"), "at `rules[0].agents.grups`; did you mean `groups`?"),
        (
            RULE.replace("read", "raed"),
            "line 4: unknown value `raed` at `rules[0].allow[0]`; did you mean `read`?",
        ),
        (
            RULE + "    enforced: true\n",
            "`f` line 5: unknown word `enforced` at `rules[0].enforced`; see",
        ),
        (
            "labels:\n - label: x\n   label_: y\n",
            "`f` line 3: unknown word `label_` at `labels[0].label_`; did you mean `label`?",
        ),
        ("labels:\n - lable: x\n", "`lable` at `labels[0].lable`; did you mean `label`?"),
        ("masks:\n - labels: x\n", "`labels` at `masks[0].labels`; did you mean `label`?"),
        ("labels:\n - {label: x, deny: [read]}\n", "`deny` at `labels[0].deny`; see docs"),
        (
            "detectors:\n - {name: net, find: [ssn], shadow: true}\n",
            "row filters alone, not at `detectors[0].shadow`; see what the change would do with",
        ),
        ("labels:\n - {label: x, columns: [a], shadow: true}\n", "not at `labels[0].shadow`"),
        ("rule: []\n", "`f` line 1: unknown word `rule` at `rule`; did you mean `rules`?"),
        (
            "masks:\n - {label: x, mask: {kind: constant, valu: 1}}\n",
            "`valu` at `masks[0].mask.valu`; did you mean `value`?",
        ),
        (
            "rules:\n - {name: r, require_approval: {form: [a]}}\n",
            "`form` at `rules[0].require_approval.form`; did you mean `from`?",
        ),
        (RULE + "    allow: [write]\n", "`f` line 5: `allow` is given twice"),
        (RULE.replace("[g]", "[]"), "`f` line 3: expected `array` of length >= 1"),
        (RULE.replace("[g]", "[yes]"), "`f` line 3: expected `str`, got `bool`"),
        (RULE.replace("name: r", "name: 'A b'"), "`f` line 2: expected `str` matching regex"),
        (
            "masks:\n - label: x\n   mask: {kind: emial}\n",
            "unknown value `emial` at `masks[0].mask.kind`; did you mean `email`?",
        ),
        (
            "masks:\n - label: x\n   mask: {kind: email, keep: 1}\n",
            "`f` line 3: unknown word `keep`",
        ),
        ("rules: &a []\nmasks: *a\n", "an alias is used; write the value out"),
        ("<<: {rules: []}\n", "`f` line 1: a key is not a plain word"),
        ("? [a]\n: 1\n", "`f` line 1: a key is not a plain word"),
        ("rules: [\n", "`f` line 2: not valid YAML"),
        ("rules: []\n---\nrules: []\n", "not valid YAML"),
        ("rules: 2026-99-99\n", "not valid YAML: month"),
        (
            "rules: !!python/object:os.system x\n",
            "not valid YAML: could not determine a constructor",
        ),
        ("- rules\n", "`f`: expected `object`, got `array`"),
    ],
)
def test_complaints_name_the_place_and_the_word_meant(text: str, message: str) -> None:
    with pytest.raises(UnsafeConfigurationError) as caught:
        parse("f", text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}"])
def test_a_file_may_say_nothing(text: str) -> None:
    assert parse("f", text).document.rules == ()


@given(st.text() | st.text(alphabet="abc:-[]{}&*!?<|> \n'\"\\\t#%"))
def test_any_text_gives_a_document_or_our_error(text: str) -> None:
    with contextlib.suppress(UnsafeConfigurationError):
        parse("f", text)
