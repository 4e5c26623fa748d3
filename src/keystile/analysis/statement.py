"""A SQL text with everything that decides what it means."""

from __future__ import annotations

import msgspec

from keystile.model.schema import Parameter


class Statement(msgspec.Struct, frozen=True):
    """A query as its client sent it.

    `project` is where unqualified datasets live. `dataset` is the default dataset, as `dataset` or
    `project.dataset`; empty where there is none. `parameters` have declared types; positional ones
    have an empty name.
    """

    sql: str
    project: str
    dataset: str = ""
    parameters: tuple[Parameter, ...] = ()
