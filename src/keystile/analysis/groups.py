"""The groups under which the engine knows functions."""

from __future__ import annotations

GOOGLESQL = "ZetaSQL"
"""What is part of GoogleSQL: the engine's own word."""

ROUTINE = "routine"
"""A routine whose types are known."""

TEMPLATED = "Templated_SQL_Function"
"""One with arguments of any type: the engine's own word, which makes it resolve the text anew."""

ROUTINE_GROUPS = frozenset({ROUTINE, TEMPLATED})
