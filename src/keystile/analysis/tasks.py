"""The tasks of this room that run beside an engine."""

from __future__ import annotations

from keystile.analysis.made_routines import (
    Enclosed,
    EnclosedRequest,
    MadeRoutine,
    enclosed,
    made_routine,
)
from keystile.analysis.outline import outline
from keystile.analysis.outlined import Outline, OutlineRequest
from keystile.analysis.resolve import Resolved, ResolveRequest, resolve
from keystile.analysis.scripts.alone import Alone, AloneRequest, alone
from keystile.analysis.scripts.columns import MadeColumns, made_columns
from keystile.analysis.scripts.parts import Script
from keystile.analysis.scripts.split import split
from keystile.analysis.views import (
    ExpandedText,
    ExpandRequest,
    ViewRequest,
    ViewText,
    expand,
    view_text,
)
from keystile.analysis.without import WithoutRequest, WithoutText, without
from keystile.googlesql.task import Task

OUTLINE = Task(outline, OutlineRequest, Outline)
"""Parse a text and name what it is."""

RESOLVE = Task(resolve, ResolveRequest, Resolved)
"""Resolve a statement against its schemas and find out what it uses."""

VIEW_TEXT = Task(view_text, ViewRequest, ViewText)
"""Make the text of a view ready to stand in a query."""

EXPAND = Task(expand, ExpandRequest, ExpandedText)
"""Put the texts of views in the place of their names."""

SPLIT = Task(split, OutlineRequest, Script)
"""Take a script apart."""

ALONE = Task(alone, AloneRequest, Alone)
"""Look at a text alone, before it is put behind others."""

WITHOUT = Task(without, WithoutRequest, WithoutText)
"""Leave columns out of a query."""

MADE_ROUTINE = Task(made_routine, ResolveRequest, MadeRoutine)
"""Find the types of what CREATE TEMP FUNCTION makes."""

ENCLOSED = Task(enclosed, EnclosedRequest, Enclosed)
"""Check that the text of a function ends where it shall."""

MADE_COLUMNS = Task(made_columns, ResolveRequest, MadeColumns)
"""Find the columns that CREATE TABLE gives a table."""

TASKS = (
    OUTLINE,
    RESOLVE,
    VIEW_TEXT,
    EXPAND,
    SPLIT,
    ALONE,
    WITHOUT,
    MADE_ROUTINE,
    ENCLOSED,
    MADE_COLUMNS,
)
"""All of them, which a pool's workers must know."""
