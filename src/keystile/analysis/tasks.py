"""The tasks of this room that run beside an engine."""

from __future__ import annotations

from keystile.analysis.outline import Outline, OutlineRequest, outline
from keystile.analysis.resolve import Resolved, ResolveRequest, resolve
from keystile.analysis.views import (
    ExpandedText,
    ExpandRequest,
    ViewRequest,
    ViewText,
    expand,
    view_text,
)
from keystile.googlesql.task import Task

OUTLINE = Task(outline, OutlineRequest, Outline)
"""Parse a text and name what it is."""

RESOLVE = Task(resolve, ResolveRequest, Resolved)
"""Resolve a statement against its schemas and find out what it uses."""

VIEW_TEXT = Task(view_text, ViewRequest, ViewText)
"""Make the text of a view ready to stand in a query."""

EXPAND = Task(expand, ExpandRequest, ExpandedText)
"""Put the texts of views in the place of their names."""
