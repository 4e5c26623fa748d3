from __future__ import annotations

import re

import pytest

from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import compile_policy

RULES = "rules: [{name: r, allow: [read]}]"


def test_an_include_changes_nothing_of_what_a_policy_says() -> None:
    files = {"main.yaml": "include: [teams, ./common.yaml]", "common.yaml": "", "teams/a.yaml": ""}
    included = compile_policy({**files, "teams/a.yaml": "include: [../common.yaml]\n" + RULES})
    assert compile_policy({"a.yaml": "include: [.]", "b.yaml": RULES}).digest == included.digest
    assert included.digest == compile_policy({"one.yaml": RULES}).digest


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a.yaml": "include:\n- b.yaml"},
            "`a.yaml` line 2: `b.yaml` is no file of this policy; look at its name",
        ),
        (
            {"x/a.yaml": "include:\n- b.yaml", "x/b.yaml": "include: [../../c.yaml]"},
            "`x/b.yaml` line 1: `../../c.yaml` is outside of the policy's folder; move it there",
        ),
        ({"a.yaml": "include: [/etc/x.yaml]"}, "`/etc/x.yaml` is outside of the policy's folder"),
        ({"a.yaml": "include: [a.yaml]"}, "`a.yaml` includes `a.yaml`, which includes it"),
        (
            {"x/a.yaml": "include: [b.yaml]", "x/b.yaml": "include: [../y]", "y/c.yaml":
             "include: [../x]"},
            "`x/a.yaml` line 1: `x/b.yaml` includes `x/a.yaml`, which includes it; leave one",
        ),
        ({"a.yaml": "include: [b.yam]", "b.yaml": ""}, "`b.yam` is no file of this policy"),
    ],
)  # fmt: skip
def test_what_is_refused(files: dict[str, str], message: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match=re.escape(message)):
        compile_policy(files)
