"""Everything that an agent can see of an answer, less what differs by nature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

BY_NATURE = {
    "jobId": "the gateway draws it where the agent does not choose one",
    "id": "the job's id is part of it",
    "parentJobId": "it is the id of a job",
    "pageToken": "it names the job",
    "destinationTable": "the table of a result is named after the job",
    "etag": "it is a digest of the resource, ids and times included",
    "creationTime": "the clock",
    "lastModifiedTime": "the clock",
    "startTime": "the clock",
    "endTime": "the clock",
}
"""What may differ in an answer's JSON between worlds, by its key, and why. All else must be equal.

No key of these is a word of an agent's: rows are lists of `f` and `v`, schemas lists of names.
That a result has a table or none must be equal; how it is called need not.
"""

_RESULT = re.compile(r"_[0-9a-f]{40}`?\.`?anon[0-9a-f]{32}")

HEADERS_BY_NATURE = {
    "date": "the clock",
    "x-keystile-request-id": "each request has its own",
}
"""The same of headers."""


class Seen(NamedTuple):
    """An answer: `visible` is what must be equal in both worlds, `raw` the JSON as it came."""

    status: int
    visible: bytes
    raw: dict[str, Any]

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes) -> Seen:
        """Take an answer apart."""
        raw = msgspec.json.decode(body)
        sent = sorted((name.lower(), value) for name, value in headers.items())
        kept = [(name, value) for name, value in sent if name not in HEADERS_BY_NATURE]
        return cls(status, msgspec.json.encode((status, kept, _plain(raw))), raw)


def _unnamed(message: Any) -> Any:
    """Take the names of results out of an error's words: each is named after a job."""
    return _RESULT.sub("RESULT", message) if isinstance(message, str) else _plain(message)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "" if key in BY_NATURE else _unnamed(inner) if key == "message" else _plain(inner)
            for key, inner in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value
