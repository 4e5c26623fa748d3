from __future__ import annotations

from typing import Any

import pytest
from cel_expr_python import cel

from keystile.policy.expressions import BOOL, TEXT, TEXTS, compiled, evaluated, whole

ENV = cel.NewEnv(
    variables={"name": cel.Type.STRING, "any": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}
)
KNOWN = {"name": "demo", "any": {"name": "x", "list": ["a"], "flag": True, "many": ["x"] * 2000}}


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("name == 'demo'", BOOL, True),
        ("name + '!'", TEXT, "demo!"),
        ("[name]", TEXTS, ["demo"]),
        ("[]", TEXTS, []),
        ("any.list.filter(x, x != 'a')", TEXTS, []),
    ],
)
def test_an_expression_gives_what_is_wanted(text: str, wanted: str, value: Any) -> None:
    assert evaluated(compiled(ENV, text, wanted), KNOWN) == value


@pytest.mark.parametrize(
    ("text", "wanted", "message"),
    [
        ("name", BOOL, "gives STRING, not true or false"),
        ("true", TEXT, "gives BOOL, not a text"),
        ("name", TEXTS, "gives STRING, not a list of texts"),
        ("[1]", TEXTS, "gives LIST<INT>, not a list of texts"),
        ("any.name", TEXT, "gives DYN, not a text"),
        ("nme", TEXT, "at character 1: undeclared reference to 'nme'"),
    ],
)
def test_an_expression_that_gives_something_else_is_refused(
    text: str, wanted: str, message: str
) -> None:
    with pytest.raises(ValueError, match="^" + message + "$"):
        compiled(ENV, text, wanted)


def test_a_type_that_only_evaluation_shows_is_taken_where_it_may_be() -> None:
    assert evaluated(compiled(ENV, "any.name", TEXT, dynamic=True), KNOWN) == "x"


@pytest.mark.parametrize(
    "text", ["any.gone", "any.many.all(x, any.many.all(y, x == y))", "any.name.matches('(')"]
)
def test_what_cannot_be_evaluated_within_bounds_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        evaluated(compiled(ENV, text + " == true", BOOL), KNOWN)


def test_a_text_is_read_to_its_end() -> None:
    expression = compiled(ENV, "name.endsWith('end')", BOOL)
    assert evaluated(expression, KNOWN | {"name": whole("a\0end")})
