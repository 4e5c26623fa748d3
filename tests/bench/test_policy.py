"""The benchmark runs; how long anything takes is not asserted."""

from __future__ import annotations

from bench import policy


def test_it_measures_decisions_on_real_facts() -> None:
    figures = policy.measure(queries=4, rules=60, labels=200)
    assert (figures["queries"], figures["rules"], figures["labels"]) == (4, 60, 200)
    assert 0 < figures["first_decision_p50_us"] <= figures["first_decision_p99_us"]
    assert figures["second_decision_p50_us"] > 0


def test_its_policy_has_as_many_rules_and_labels_as_it_says() -> None:
    files = policy.documents(300, 500)
    assert files["rules.yaml"].count("name: rule-") == 300
    assert files["labels.yaml"].count("label: data.") == 500
