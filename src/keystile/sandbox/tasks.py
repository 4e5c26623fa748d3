"""What the sandbox asks of the SQL engine."""

from __future__ import annotations

from keystile.sandbox.defining import DEFINE
from keystile.sandbox.describing import DESCRIBE
from keystile.sandbox.evaluating import CONVERT, CONVERT_VALUES, EVALUATE, RECAST
from keystile.sandbox.modifying import COMPOSE
from keystile.sandbox.names import FIND_NAMES
from keystile.sandbox.script_steps import READ_SCRIPT

TASKS = (
    COMPOSE,
    CONVERT,
    CONVERT_VALUES,
    DEFINE,
    DESCRIBE,
    EVALUATE,
    FIND_NAMES,
    READ_SCRIPT,
    RECAST,
)
"""All of its tasks, which a pool's workers must know."""
