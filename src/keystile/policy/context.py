"""What a decision depends on beyond who asks and what the query does."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Context(msgspec.Struct, frozen=True):
    """The request around the query.

    `project` is the project that the request is addressed to. `time` is when it came, with its
    time zone; it is handed in so that a decision can be replayed. `bytes` is what BigQuery's dry
    run says that the query reads, None where nobody knows.
    """

    project: str
    time: datetime
    dry_run: bool = False
    bytes: int | None = None
