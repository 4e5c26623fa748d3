"""What masking asks of the SQL engine."""

from __future__ import annotations

from keystile.masking.custom import UNSOUND
from keystile.masking.filters import PROBLEMS
from keystile.masking.moved import MOVE
from keystile.masking.script import CHECK, MASK_TEXTS
from keystile.masking.task import MASK

TASKS = (MASK, MASK_TEXTS, CHECK, PROBLEMS, MOVE, UNSOUND)
"""All of its tasks, which a pool's workers must know."""
