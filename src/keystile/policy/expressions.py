"""Compiling of CEL (https://cel.dev), for conditions of rules and for what issuers' claims mean.

The runtime bounds what an expression may cost by itself: 32 levels when it is parsed and 10,000
steps of loops when it is evaluated; regular expressions are RE2, which takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

from cel_expr_python import cel

BOOL = "true or false"
TEXT = "a text"
TEXTS = "a list of texts"

_NAMES = {
    BOOL: frozenset({"BOOL"}),
    TEXT: frozenset({"STRING"}),
    TEXTS: frozenset({"LIST<STRING>", "LIST<DYN>"}),
}


def compiled(env: Any, text: str, wanted: str, *, dynamic: bool = False) -> Any:
    """Compile `text` to an expression that gives `wanted`, one of the names above.

    With `dynamic`, so may an expression whose type only its evaluation shows. Raises `ValueError`
    with a sentence for its author that lacks a subject.
    """
    try:
        expression = env.compile(text)
    except RuntimeError as error:
        raise ValueError(_first_problem(str(error))) from error
    name = expression.return_type().name()
    if name not in _NAMES[wanted] and not (dynamic and name == "DYN"):
        raise ValueError(f"gives {name}, not {wanted}")
    return expression


def evaluated(expression: Any, known: Mapping[str, Any]) -> Any:
    """Give the value as Python has it; `known` has those of the words that it may ask for.

    Raises `ValueError` in the runtime's words.
    """
    try:
        value = expression.eval(None, known)
        plain = value.plain_value()
        # To ask for the type takes long, and where there is an error the value is a text.
        if isinstance(plain, str) and value.type() == cel.Type.ERROR:
            raise ValueError(plain)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return plain


whole: Callable[[str], str] = methodcaller("replace", "\0", "\N{REPLACEMENT CHARACTER}")
r"""Give a text that the runtime reads to its end: it stops at NUL, so another takes its place.

INVARIANT: else `gs://ours\0…` would be `gs://ours` to a condition, and not to BigQuery.
"""


def _first_problem(report: str) -> str:
    """Take the sentence out of the checker's report, without the drawing under it."""
    problem = report.removeprefix("INVALID_ARGUMENT: ").splitlines()[0]
    problem = re.sub(r"^ERROR: <input>:(\d+):(\d+): ", r"at character \2: ", problem)
    return problem.removesuffix(" (in container '')")
