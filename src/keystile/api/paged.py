"""Pages of rows that are sent while they arrive.

INVARIANT: an answer that breaks off is never a whole one: without its last chunk no client takes it
for complete, and what came is no JSON.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from keystile.api.http import Answer
from keystile.wire.partial import select
from keystile.wire.responses import Resource, ResultsView, to_bytes


class Paged(NamedTuple):
    """An answer with rows. The pieces that follow `results` have rows for it too."""

    resource: Resource
    results: ResultsView


async def answer(paged: Paged, fields: str) -> Answer:
    """Write a page as JSON, piece by piece where `fields` lets rows be as they are."""
    resource, results = paged
    if results.rest is None:
        return Answer(200, to_bytes(select(resource, fields)))
    wanted = select(resource, fields)
    if wanted.get("rows") is not resource["rows"]:
        whole = await results.whole()
        resource = resource | {"rows": list(whole.rows)} | _token(whole)
        return Answer(200, to_bytes(select(resource, fields)))
    del wanted["rows"]
    head = to_bytes(wanted)[:-1] + (b"," if wanted else b"") + b'"rows":['
    first = head + _listed(results)
    return Answer(200, first, more=_pieces(results.rest, fields))


async def _pieces(rest: AsyncGenerator[ResultsView], fields: str) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        last = None
        async for piece in rest:
            last = piece
            if piece.rows:
                yield b"," + _listed(piece)
    token = select(_token(last), fields) if last else {}
    yield b"]" + (b"," + to_bytes(token)[1:] if token else b"}")


def _token(last: ResultsView) -> Resource:
    return {"pageToken": last.page_token} if last.page_token else {}


def _listed(piece: ResultsView) -> bytes:
    return msgspec.json.encode(piece.rows)[1:-1]
