"""`multipart/related` of two parts: a job as JSON, then the data (RFC 2387)."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from keystile.model.errors import InvalidRequestError
from keystile.wire.jsonbody import MAX_BODY_BYTES

_COPIED_BYTES = 1 << 20
_REST_OF_LINE = re.compile(rb"(?:--)?[ \t]*(?=\r?\n|\Z)")
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_MAX_HEADERS = 16_384
_IDENTITY = (b"", b"7bit", b"8bit", b"binary")


def boundary_of(content_type: str) -> bytes:
    """Read what stands between the parts. Raises `InvalidRequestError` for another type."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/related" or not boundary:
        raise InvalidRequestError("the upload is not `multipart/related` with a boundary")
    return boundary.encode()


def parted(body: Path, boundary: bytes, data: Path) -> bytes:
    """Write the second part of a body to a file of its own and give the first.

    Raises `InvalidRequestError` where there are not two parts.
    """
    if not body.stat().st_size:
        raise _malformed()
    with body.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        places = list(_places(text, boundary))
        # The job, the data, and the line that ends it.
        if len(places) != 3:  # noqa: PLR2004
            raise _malformed()
        (_, job_from), (job_to, data_from), (data_to, _) = places
        job_from, data_from = _content(text, job_from), _content(text, data_from)
        if job_to - job_from > MAX_BODY_BYTES:
            raise InvalidRequestError(f"the job is larger than {MAX_BODY_BYTES} bytes")
        with data.open("wb") as written:
            for at in range(data_from, data_to, _COPIED_BYTES):
                written.write(text[at : min(at + _COPIED_BYTES, data_to)])
        return bytes(text[job_from:job_to])


def _places(text: mmap.mmap, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Give where each line of the boundary begins, with the line end before it, and ends."""
    mark = b"--" + boundary
    at = text.find(mark)  # a regular expression takes half a minute for 200 MB
    while at >= 0:
        rest = _REST_OF_LINE.match(text, at + len(mark))
        before = text[max(at - 2, 0) : at]
        if rest and (not before or before.endswith(b"\n")):
            yield at - (2 if before == b"\r\n" else len(before[-1:])), rest.end()
        at = text.find(mark, at + 1)


def _content(text: mmap.mmap, start: int) -> int:
    """Give where a part's content starts, behind its headers."""
    found = _HEADERS_END.search(text, start, start + _MAX_HEADERS)
    if found is None:
        raise _malformed()
    for header in text[start : found.start()].splitlines():
        name, _, value = header.lower().partition(b":")
        if name.strip() == b"content-transfer-encoding" and value.strip() not in _IDENTITY:
            raise InvalidRequestError("a part of the upload is encoded; send it as it is")
    return found.end()


def _malformed() -> InvalidRequestError:
    return InvalidRequestError("the upload is not a job as JSON and then the data")
