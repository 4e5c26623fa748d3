from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from keystile.wire.methods import METHODS, Access, Method

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "api.md"


def row(name: str, method: Method) -> str:
    """Say one method as the page does."""
    what = (method.checks, method.withheld) if method.served else (method.instead, "")
    cells = (f"`{name}`", f"`{method.verb} {method.path}`", method.access)
    return "| " + " | ".join((*cells, "served" if method.served else "refused", *what)) + " |"


def test_the_page_says_of_every_method_what_the_table_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    wanted = "\n".join(row(name, METHODS[name]) for name in METHODS)
    shown = "\n".join(re.findall(r"^\| `\w+\.\w+` \|.*", page, re.MULTILINE))
    assert shown == wanted, f"put these rows into docs/reference/api.md:\n{wanted}"


def test_the_api_has_47_methods() -> None:
    assert Counter(name.partition(".")[0] for name in METHODS) == {
        "datasets": 7,
        "jobs": 7,
        "models": 4,
        "projects": 2,
        "routines": 8,
        "rowAccessPolicies": 8,
        "tabledata": 2,
        "tables": 9,
    }


@pytest.mark.parametrize("method", METHODS.values())
def test_a_method_is_served_with_checks_or_refused_with_what_to_do_instead(method: Method) -> None:
    assert bool(method.checks) == method.served == (not method.instead)


def test_no_method_that_is_about_rights_is_served() -> None:
    assert not any(method.served for method in METHODS.values() if method.access is Access.RIGHTS)


def test_no_two_methods_have_one_address() -> None:
    assert len({(method.verb, method.path) for method in METHODS.values()}) == len(METHODS)
