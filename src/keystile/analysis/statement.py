"""A SQL text with everything that decides what it means."""

from __future__ import annotations

import msgspec

from keystile.model.schema import Parameter


class Earlier(msgspec.Struct, frozen=True):
    """A text that a session ran before, and that left something there, such as a temporary table.

    `sql` is what the agent wrote and `sent` what BigQuery got; both end where a statement ends.
    `parameters` have no values: what a text means does not depend on them.
    """

    sql: str
    sent: str
    parameters: tuple[Parameter, ...] = ()


class Statement(msgspec.Struct, frozen=True):
    """A query as its client sent it.

    `project` is where unqualified datasets live. `dataset` is the default dataset, as `dataset` or
    `project.dataset`; empty where there is none. `parameters` have declared types; positional ones
    have an empty name. One that is `in_session` goes on from what the `earlier` texts left there.
    """

    sql: str
    project: str
    dataset: str = ""
    parameters: tuple[Parameter, ...] = ()
    in_session: bool = False
    earlier: tuple[Earlier, ...] = ()
