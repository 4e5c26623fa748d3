"""Uploads as addresses and headers: Google's protocols for multipart and resumable ones.

Source of fact: Google's documents on upload protocols, and what its clients send.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from keystile.model.errors import InvalidRequestError
from keystile.wire.paths import Call, route

UPLOADED = "jobs.insert"
"""The one method that takes an upload."""

_PATH = re.compile(r"(?:/resumable)?/upload(/.*)")
_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")
_MINE = ("uploadType", "upload_id")


class UploadCall(NamedTuple):
    """What an upload's address says. `id` is empty where the upload begins."""

    call: Call
    kind: str
    id: str


class Piece(NamedTuple):
    """Which bytes of an upload a request brings: none where `size` is 0.

    `total` is the size of all of it, None where the client does not know it yet.
    """

    start: int
    size: int
    total: int | None

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.total is not None and bool(self.size) and self.start + self.size == self.total

    @property
    def header(self) -> str:
        """The value of `Content-Range`."""
        total = "*" if self.total is None else str(self.total)
        end = self.start + self.size - 1
        return f"bytes {self.start}-{end}/{total}" if self.size else f"bytes */{total}"


def is_upload(raw_path: bytes) -> bool:
    """Tell whether a path is that of an upload."""
    return _PATH.fullmatch(raw_path.decode("latin-1")) is not None


def upload_call(raw_path: str, query: str) -> UploadCall:
    """Read the address of an upload.

    Raises `InvalidRequestError` for what is not understood, `NotFoundError` for another path.
    """
    found = _PATH.fullmatch(raw_path)
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=64)
    mine = [pair for pair in pairs if pair[0] in _MINE]
    if len(dict(mine)) < len(mine):
        raise InvalidRequestError("a parameter of the upload is there twice")
    others = [pair for pair in pairs if pair[0] not in _MINE]
    call = route("POST", found[1] if found else "", urlencode(others))
    if call.method != UPLOADED:
        raise InvalidRequestError(f"`{call.method}` takes no upload", hint="upload to a load job")
    return UploadCall(call, dict(mine).get("uploadType", ""), dict(mine).get("upload_id", ""))


def piece_of(content_range: str | None, length: int | None) -> Piece:
    """Read which bytes a request brings; without a range it is all of them.

    Raises `InvalidRequestError`.
    """
    if content_range is None:
        if length is None:
            raise InvalidRequestError("the request says neither `Content-Range` nor its length")
        return Piece(0, length, length)
    found = _RANGE.fullmatch(content_range.strip())
    if found is None:
        raise InvalidRequestError(f"`Content-Range: {content_range[:100]}` is not understood")
    total = None if found[3] == "*" else int(found[3])
    if found[1] is None:
        return Piece(0, 0, total)
    start, end = int(found[1]), int(found[2])
    if end < start or (total is not None and end >= total):
        raise InvalidRequestError(f"`Content-Range: {content_range[:100]}` is not a range")
    if length is not None and length != end + 1 - start:
        raise InvalidRequestError("`Content-Range` and the request's length differ")
    return Piece(start, end + 1 - start, total)
