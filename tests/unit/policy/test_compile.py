from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import compile_policy

LABELS = "labels:\n  - {label: pii.ssn, columns: [ssn]}\n"
READ = "rules:\n  - name: r\n    allow: [read]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (READ + READ.partition("\n")[2], "`f` line 4: rule name `r` is taken"),
        (READ.replace("name: r", "name: default-deny"), "rule name `default-deny` is taken"),
        (READ + "    deny: [write]\n", "line 2: rule `r` has both `allow` and `deny`"),
        ("rules:\n  - {name: r}\n", "line 2: rule `r` has no effect; give exactly one"),
        (READ + "    agents: {}\n", "line 4: `agents` names nothing"),
        (READ + "    resources: {}\n", "line 4: `resources` names nothing"),
        (READ + "    resources: {datasets: [shop]}\n", "line 4: `shop` under `datasets` is not"),
        (READ + "    when: agent.nam\n", "line 4: `when` at character 6: undeclared reference"),
        (READ + "    when: agent.nam == 'a'\n", "to 'agent.nam'; did you mean `agent.name`?"),
        (READ + "    when: query.touch('a')\n", "to 'touch'; did you mean `touches`?"),
        (
            READ + "    when: request.network('10/8')\n",
            "line 4: `when` asks for `10/8`, which is no",
        ),
        (
            READ + "    when: \"'delete' in query.actions\"\n",
            "asks for `delete`, which is no action",
        ),
        (LABELS + READ + "    when: query.touches('pii.sn')\n", "line 6: unknown label `pii.sn`"),
        (
            LABELS + READ + "    unmask: [pii.snn]\n",
            "unknown label `pii.snn`; did you mean `pii.ssn`?",
        ),
        (
            LABELS + "rules:\n  - {name: r, deny: [read], unmask: [pii]}\n",
            "line 4: `unmask` is given without `allow: [read]`",
        ),
        (
            LABELS + "rules:\n  - name: r\n    require_approval: {from: [a], unmask: [x]}\n",
            "line 5: unknown label `x`",
        ),
        ("rules: [{name: r, require_approval: {from: []}}]\n", "length >= 1"),
        ("rules: [{name: r, require_approval: {from: [a], count: 0}}]\n", "`int` >= 1"),
        ("rules: [{name: r, require_approval: {from: [a], expires: 5}}]\n", "got `int`"),
        ("rules: [{name: r, require_approval: {from: [a], expires: 0m}}]\n", "matching regex"),
        ("labels: [{label: x}]\n", "label `x` is put on nothing"),
        ("labels: [{label: x, columns: [a..b]}]\n", "pattern `a..b` has an empty or blank part"),
        ("labels: [{label: x, policy_tags: [a//b]}]\n", "pattern `a//b` has an empty"),
        ("labels: [{label: x, descriptions: [' ']}]\n", "pattern ` ` has an empty or blank part"),
        ("labels: [{label: X, columns: [a]}]\n", "matching regex"),
        ("masks: [{label: x, mask: {kind: email}}]\n", "unknown label `x`"),
        (
            LABELS + "masks: [{label: pii, mask: {kind: keep_last, count: -1}}]\n",
            "expected `int` >= 0",
        ),
        (
            LABELS + "masks: [{label: pii, mask: {kind: bucket, width: 0}}]\n",
            "`width` is not above 0",
        ),
        (LABELS + "masks: [{label: pii, mask: {kind: round, to: .inf}}]\n", "`to` is not above 0"),
        (LABELS + "masks: [{label: pii, mask: {kind: bucket, width: .nan}}]\n", "`width` is not"),
        (LABELS + "masks: [{label: pii, mask: {kind: truncate, to: week}}]\n", "`week`"),
        (LABELS + "masks: [{label: pii, mask: {kind: json_paths, paths: ['$']}}]\n", "regex"),
        (LABELS + "masks: [{label: pii, mask: {kind: json_paths, paths: []}}]\n", "length"),
        (LABELS + "masks: [{label: pii, mask: {kind: token, key: No-Key}}]\n", "matching regex"),
        (
            LABELS + "masks: [{label: pii, mask: {kind: sql, expression: value, type: INT}}]\n",
            "`INT` is no type of a mask",
        ),
        (LABELS + "masks: [{label: pii, mask: {kind: pattern, pattern: ''}}]\n", "is empty"),
        (LABELS + "masks: [{label: pii, mask: {kind: constant, value: .nan}}]\n", "no finite"),
    ],
)
def test_what_is_unsafe_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UnsafeConfigurationError) as caught:
        compile_policy({"f": text})
    assert str(caught.value).startswith("`f`")
    assert message in str(caught.value)


def test_a_name_taken_in_another_file_is_refused() -> None:
    with pytest.raises(UnsafeConfigurationError, match="`b` line 2: rule name `r` is taken"):
        compile_policy({"a": READ, "b": READ})


def test_a_label_may_be_declared_in_another_file() -> None:
    compile_policy({"a": "masks: [{label: pii, mask: {kind: email}}]", "b": LABELS})


def test_the_digest_is_of_what_is_said() -> None:
    other = "rules:\n  - {name: q, deny: [write]}\n"
    digest = compile_policy({"a": LABELS, "b": READ, "c": other}).digest
    joined = LABELS + "# a comment\n" + other + READ.partition("\n")[2]
    assert compile_policy({"x": other, "y": READ, "z": LABELS}).digest == digest
    assert compile_policy({"one": joined}).digest == digest
    assert compile_policy({"a": LABELS, "b": READ}).digest != digest
    changed = other.replace("write", "export")
    assert compile_policy({"a": LABELS, "b": READ, "c": changed}).digest != digest
    assert len(digest) == 64


@given(st.lists(st.text(alphabet='agentquery.touches("pi")&|!=[] 0', max_size=40), max_size=3))
def test_any_condition_compiles_or_is_refused(conditions: list[str]) -> None:
    rules = [
        {"name": f"r{n}", "allow": ["read"], "when": text} for n, text in enumerate(conditions)
    ]
    try:
        compile_policy({"f": repr({"rules": rules})})
    except UnsafeConfigurationError as error:
        message = error.message
    else:
        message = "`f`"
    assert message.startswith("`f`")
