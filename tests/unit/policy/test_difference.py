from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import compile_policy
from keystile.policy.difference import differences
from keystile.policy.document import Document

OLD = """
labels:
- {label: pii, columns: [ssn]}
masks:
- {label: pii, mask: {kind: email}}
rules:
- {name: read, agents: {groups: [coders]}, allow: [read, write]}
- {name: gone, deny: [schema_change]}
row_filters:
- {name: own, tables: [p.d.t], where: n > 1}
connections:
- {name: conn, agents: {groups: [a]}, connection: one}
detectors:
- {name: text, find: [ssn]}
"""


def told(before: str, after: str) -> list[str]:
    return [str(one) for one in differences({"a.yaml": before}, {"a.yaml": after})]


def changed(**sections: object) -> str:
    return yaml.safe_dump(yaml.safe_load(OLD) | sections)


def test_each_section_is_compared_by_name_with_its_place() -> None:
    after = """
labels:
- {label: pii, columns: [phone, ssn]}
- {label: pii.card, columns: [card]}
masks:
- {label: pii, mask: {kind: 'null'}}
rules:
- {name: read, agents: {groups: [coders, dbt]}, allow: [read], message: only reading}
row_filters:
- {name: own, tables: [p.d.t], where: n > 2}
connections:
- {name: conn, agents: {groups: [a]}, connection: two}
detectors:
- {name: text, find: [ssn, card]}
"""
    assert told(OLD, after) == [
        '~ label `pii` (`a.yaml` line 3): `columns` +"phone"',
        "+ label `pii.card` (`a.yaml` line 4)",
        '~ mask `pii` (`a.yaml` line 6): `mask.kind` was "email", is "null"',
        "- rule `gone` (`a.yaml` line 8)",
        (
            '~ rule `read` (`a.yaml` line 8): `agents.groups` +"dbt"; `allow` -"write"; '
            '`message` is now "only reading"'
        ),
        '~ row filter `own` (`a.yaml` line 10): `where` was "n > 1", is "n > 2"',
        '~ connection `conn` (`a.yaml` line 12): `connection` was "one", is "two"',
        '~ detector `text` (`a.yaml` line 14): `find` +"card"',
    ]


def test_no_section_of_a_document_is_left_out() -> None:
    every = {field.name for field in msgspec.structs.fields(Document)} - {"include"}
    assert every == {*yaml.safe_load(OLD)}, "put the new section into OLD and into the test above"
    for section in every:
        assert told(changed(**{section: []}), OLD), section


def test_a_condition_that_is_taken_away_is_told() -> None:
    with_ = changed(rules=[{"name": "read", "allow": ["read"], "when": "agent.name == 'a'"}])
    without = changed(rules=[{"name": "read", "allow": ["read"]}])
    (line,) = told(with_, without)
    assert line.endswith("`when` was \"agent.name == 'a'\", is gone")


def test_layout_order_and_files_mean_nothing() -> None:
    before = {"a.yaml": OLD}
    parts = yaml.safe_load(OLD)
    parts["rules"].reverse()
    parts["rules"][1]["allow"].reverse()
    after = {f"{word}.yaml": yaml.safe_dump({word: part}) for word, part in parts.items()}
    assert differences(before, after) == ()
    assert differences(after, before) == ()


def test_what_a_label_is_put_on_counts_and_not_in_how_many_entries() -> None:
    split = "labels: [{label: a, columns: [x]}, {label: a, columns: [y], policy_tags: [t]}]"
    one = "labels: [{label: a, columns: [y, x], policy_tags: [t]}]"
    assert told(split, one) == []
    (line,) = told(split, one.replace("y, x", "y"))
    assert line == '~ label `a` (`a.yaml` line 1): `columns` -"x"'


def test_a_second_mask_of_a_label_is_a_change() -> None:
    one = changed(masks=[{"label": "pii", "mask": {"kind": "email"}}])
    two = changed(masks=[{"label": "pii", "mask": {"kind": k}} for k in ("email", "null")])
    assert len(told(one, two)) == 1


def test_an_include_is_no_change_of_its_own() -> None:
    one = {"a.yaml": OLD, "b.yaml": "rules: [{name: more, deny: [write]}]"}
    with_ = one | {"a.yaml": f"include: [b.yaml]\n{OLD}"}
    assert differences(one, with_) == ()
    (added,) = differences({"a.yaml": OLD}, with_)
    assert (added.name, added.place.file) == ("more", "b.yaml")


def test_what_is_no_policy_is_refused_with_its_place() -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"`b.yaml` line 1"):
        differences({"a.yaml": OLD}, {"b.yaml": "rules: nonsense"})


NAMES = st.sampled_from(["a", "b", "c"])
RULES = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "deny": st.lists(st.sampled_from(["read", "write"]), min_size=1)},
        optional={"message": st.sampled_from(["", "x"])},
    ),
    unique_by=lambda rule: rule["name"],
)
POLICIES = RULES.map(lambda rules: {"r.yaml": yaml.safe_dump({"rules": rules})})


@given(POLICIES, POLICIES)
def test_whatever_has_another_meaning_is_told(
    before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    found = differences(before, after)
    if compile_policy(before).digest == compile_policy(after).digest:
        assert not found
    back = {(one.kind, one.name) for one in differences(after, before)}
    assert back == {(one.kind, one.name) for one in found}
    meant = [
        {rule["name"]: (frozenset(rule["deny"]), rule.get("message", "")) for rule in rules}
        for rules in (yaml.safe_load(text["r.yaml"])["rules"] for text in (before, after))
    ]
    assert bool(found) == (meant[0] != meant[1])
