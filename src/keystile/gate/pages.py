"""Pages of results: where each one starts, and a few kept ready for the client about to ask."""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict

import msgspec

from keystile.gate.jobs import Job
from keystile.model.errors import InvalidRequestError

_KEPT = 64
_KEPT_BYTES = 1 << 20

Rows = tuple[msgspec.Raw, ...]


class _Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    job: str
    start: int


class PageCache:
    """The newest first pages, each at most 1 MiB. Only a saving: BigQuery holds the rows."""

    def __init__(self) -> None:
        """Start empty."""
        self._pages: OrderedDict[tuple[str, int], Rows] = OrderedDict()

    def keep(self, job: Job, start: int, rows: Rows) -> None:
        """Keep a page whose times are whole microseconds, if it is small."""
        if sum(len(row) for row in rows) > _KEPT_BYTES:
            return
        self._pages[job.id, start] = rows
        if len(self._pages) > _KEPT:
            self._pages.popitem(last=False)

    def get(self, job: Job, start: int) -> Rows | None:
        """Give a kept page."""
        return self._pages.get((job.id, start))


def token_for(job: Job, start: int) -> str:
    """Make the token of the page that starts at row `start`.

    It holds no secret and grants nothing: whoever uses it must own the job.
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(job.id, start))).decode()


def start_of(job: Job, token: str) -> int:
    """Read a token. Raises `InvalidRequestError` for one of another job or of nobody's making."""
    try:
        read = msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=_Token)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise InvalidRequestError("`pageToken` is not one of this gateway's") from error
    if read.job != job.id or read.start < 0:
        raise InvalidRequestError("`pageToken` belongs to another job")
    return read.start
