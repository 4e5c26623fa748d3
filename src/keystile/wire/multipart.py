"""`multipart/related` of two parts, read as it comes: a job as JSON, then its data (RFC 2387).

Google's clients end lines in either way, with and without a carriage return.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from email.message import Message

from keystile.model.errors import InvalidRequestError
from keystile.wire.jsonbody import MAX_BODY_BYTES

_MAX_HEADERS = 16 << 10
_IDENTITY = (b"", b"7bit", b"8bit", b"binary")
_MAX_REST = 1 << 10


def boundary_of(content_type: str) -> bytes:
    """Read what stands between the parts. Raises `InvalidRequestError` for another type."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/related" or not boundary:
        raise InvalidRequestError("the upload is not `multipart/related` with a boundary")
    return boundary.encode("latin-1", "replace")


async def parted(
    chunks: AsyncIterator[bytes], boundary: bytes
) -> tuple[bytes, AsyncIterator[bytes]]:
    """Give the first part, and the second one as it comes.

    Raises `InvalidRequestError` where there are not two parts; of the second one, while it is read.
    """
    mark = re.escape(b"--" + boundary)
    line, headers = mark + rb"[ \t]*(\r?\n)", rb"((?:[^\r\n]+\r?\n)*)\r?\n"
    both = re.compile(rb"(?:.*\n)??" + line + headers + rb"(.*?)\r?\n" + line + headers, re.DOTALL)
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        found = both.match(buffer)
        if found:
            end, first, job, _, second = found.groups()
            for given in (first, second):
                _check_headers(given)
            rest = bytes(buffer[found.end() :])
            return job, _data(rest, chunks, end + b"--" + boundary)
        if len(buffer) > MAX_BODY_BYTES + _MAX_HEADERS:
            raise InvalidRequestError(f"the job is larger than {MAX_BODY_BYTES} bytes")
    raise _malformed()


async def _data(rest: bytes, chunks: AsyncIterator[bytes], mark: bytes) -> AsyncIterator[bytes]:
    """Give what stands before the mark, which begins with the end of a line."""
    # An end of a line in front of it all lets the mark follow at once, where there is no data.
    ahead = len(mark) - len(mark.lstrip(b"\r\n"))
    buffer, skip = bytearray(mark[:ahead] + rest), ahead
    while True:
        at = buffer.find(mark)
        if at >= 0:
            if at > skip:
                yield bytes(buffer[skip:at])
            await _check_end(bytes(buffer[at + len(mark) :]), chunks)
            return
        safe = len(buffer) - len(mark)
        if safe > skip:
            yield bytes(buffer[skip:safe])
            del buffer[:safe]
            skip = 0
        chunk = await anext(chunks, None)
        if chunk is None:
            raise _malformed()
        buffer += chunk


async def _check_end(rest: bytes, chunks: AsyncIterator[bytes]) -> None:
    """Check that nothing but the end of the last line is left."""
    async for chunk in chunks:
        rest += chunk
        if len(rest) > _MAX_REST:
            break
    if not rest.startswith(b"--") or rest[2:].strip() or len(rest) > _MAX_REST:
        raise _malformed()


def _check_headers(given: bytes) -> None:
    for header in given.splitlines():
        name, _, value = header.lower().partition(b":")
        if name.strip() == b"content-transfer-encoding" and value.strip() not in _IDENTITY:
            raise InvalidRequestError("a part of the upload is encoded", hint="send it as it is")


def _malformed() -> InvalidRequestError:
    return InvalidRequestError("the upload is not a job as JSON and then its data")
