"""The tasks of this room that run beside an engine."""

from __future__ import annotations

from keystile.analysis.outline import Outline, OutlineRequest, outline
from keystile.analysis.resolve import Resolved, ResolveRequest, resolve
from keystile.googlesql.task import Task

OUTLINE = Task(outline, OutlineRequest, Outline)
"""Parse a text and name what it is."""

RESOLVE = Task(resolve, ResolveRequest, Resolved)
"""Resolve a statement against its schemas and find out what it uses."""
