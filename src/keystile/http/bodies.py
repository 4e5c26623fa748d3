"""Bodies of answers that are short by their nature, read to their end."""

from __future__ import annotations

import aiohttp

_LARGEST = 64 << 10


async def short_body(response: aiohttp.ClientResponse, largest: int = _LARGEST) -> bytes:
    """Read an answer of at most `largest` bytes whole, in however many pieces it comes.

    INVARIANT: `content.read(n)` would give the first piece alone.
    Raises `aiohttp.ClientError` for one that breaks off or is larger.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > largest:
            raise aiohttp.ClientPayloadError
    return bytes(body)
