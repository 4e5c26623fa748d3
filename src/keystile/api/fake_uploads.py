"""A stand-in for uploads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from keystile.model.errors import NotFoundError
from keystile.model.principal import Principal
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobView
from keystile.wire.uploads import Piece


class Progress(NamedTuple):
    """How far an upload has come."""

    job: JobView | None
    received: int


class FakeUploads:
    """Takes the bytes of every upload into memory; an id is `upload-` and its number."""

    def __init__(self) -> None:
        """Start with none."""
        self.begun: list[QueryRequest] = []
        self.bytes = bytearray()
        self.dropped: list[str] = []

    async def begin(self, _principal: Principal, request: QueryRequest) -> str:
        """Begin one."""
        self.begun.append(request)
        return f"upload-{len(self.begun)}"

    async def go_on(
        self,
        principal: Principal,
        project: str,
        id_: str,
        piece: Piece,
        chunks: AsyncIterator[bytes],
    ) -> Progress:
        """Take a piece; the last one makes the job."""
        if id_ != f"upload-{len(self.begun)}":
            raise NotFoundError("Not found: Upload")
        async for chunk in chunks:
            self.bytes += chunk
        job = self._job(principal, project) if piece.is_last else None
        return Progress(job, len(self.bytes))

    async def whole(
        self, principal: Principal, request: QueryRequest, chunks: AsyncIterator[bytes]
    ) -> JobView:
        """Take all of one."""
        self.begun.append(request)
        async for chunk in chunks:
            self.bytes += chunk
        return self._job(principal, request.project)

    async def drop(self, _principal: Principal, _project: str, id_: str) -> None:
        """Note it."""
        self.dropped.append(id_)

    def _job(self, principal: Principal, project: str) -> JobView:
        return JobView(project, "job-1", "US", principal.agent, "RUNNING", "", time.time())
