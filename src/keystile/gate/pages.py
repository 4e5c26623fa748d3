"""Pages of results: where each one starts, and a few kept ready for the client about to ask."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import msgspec

from keystile.gate.jobs import Job
from keystile.model.errors import InvalidRequestError
from keystile.wire.requests import PageRequest

_KEPT = 64
_KEPT_BYTES = 1 << 20
_LISTED = 10_000

ItemT = TypeVar("ItemT")
TokenT = TypeVar("TokenT")

Rows = tuple[msgspec.Raw, ...]


class _Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    job: str
    start: int


class _ListToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    of: str
    start: int


class PageCache:
    """The newest first rows, at most 1 MiB of each job's. Only a saving: BigQuery has them all."""

    def __init__(self) -> None:
        """Start empty."""
        self._pages: OrderedDict[tuple[str, int], Rows] = OrderedDict()

    def keep(self, job: Job, start: int, rows: Rows) -> None:
        """Keep rows whose times are whole microseconds, as many as are not too large."""
        sizes = accumulate(map(len, rows))
        self._pages[job.id, start] = rows[: bisect_right([*sizes], _KEPT_BYTES)]
        if len(self._pages) > _KEPT:
            self._pages.popitem(last=False)

    def get(self, job: Job, start: int) -> Rows:
        """Give what is kept of the rows from `start` on."""
        return self._pages.get((job.id, start), ())


def token_for(job: Job, start: int) -> str:
    """Make the token of the page that starts at row `start`.

    It holds no secret and grants nothing: whoever uses it must own the job.
    """
    return _written(_Token(job.id, start))


def job_of_token(token: str) -> str:
    """Give our own id of the job that a token is about, unverified: its reader must own the job.

    Raises `InvalidRequestError` for one of nobody's making.
    """
    return _read(token, _Token).job


def start_of(job: Job, token: str) -> int:
    """Read a token. Raises `InvalidRequestError` for one of another job or of nobody's making."""
    read = _read(token, _Token)
    if read.job != job.id or read.start < 0:
        raise InvalidRequestError("`pageToken` belongs to another job")
    return read.start


def page_of_list(items: Sequence[ItemT], page: PageRequest, of: str) -> tuple[Sequence[ItemT], str]:
    """Cut a page out of the list named `of`; give the next one's token too, empty at the end.

    Raises `InvalidRequestError` for a token of another list.
    """
    start = 0
    if page.page_token:
        token = _read(page.page_token, _ListToken)
        if token.of != of or token.start < 0:
            raise InvalidRequestError("`pageToken` belongs to another list")
        start = token.start
    end = start + min(page.max_results or _LISTED, _LISTED)
    return items[start:end], _written(_ListToken(of, end)) if end < len(items) else ""


def _written(token: _Token | _ListToken) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def _read(token: str, type_: type[TokenT]) -> TokenT:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=type_)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise InvalidRequestError("`pageToken` is not one of this gateway's") from error
