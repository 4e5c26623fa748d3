"""Resumable uploads to BigQuery: a session, and its bytes piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import NamedTuple

from keystile.model.errors import KeystileError, RefusedError
from keystile.upstream.errors import from_response
from keystile.upstream.transport import Transport, UploadAnswer
from keystile.upstream.values import UpstreamQuery
from keystile.wire.encode import NewJob, job_body
from keystile.wire.uploads import Piece

_MORE = 308
_DONE = frozenset({200, 201})
_ROOTS = ("/upload/", "/resumable/upload/")


class Taken(NamedTuple):
    """How far an upload has come: `done`, or the number of bytes that BigQuery has."""

    done: bool
    received: int = 0


class UpstreamUploads:
    """Begins and continues uploads under the gateway's own credential.

    Every method raises `RefusedError` on an outage, and else the error that BigQuery's own maps to.
    `send` raises `OverloadedError`, upon which clients send a piece again, where BigQuery has taken
    nothing of it because a key was replaced.
    """

    def __init__(self, transport: Transport, secrets: Collection[str]) -> None:
        """Send by `transport`; `secrets` appear in no error."""
        self._transport = transport
        self._secrets = secrets

    async def begin(self, query: UpstreamQuery, job: str) -> str:
        """Begin the upload for a load job; gives where its bytes go, below the endpoint."""
        body = job_body(
            NewJob(
                project=query.project,
                job_id=job,
                location=query.location,
                labels=query.labels,
                job_timeout_ms=query.timeout_ms,
                transfer=query.transfer,
            )
        )
        path = f"/upload/bigquery/v2/projects/{query.project}/jobs?uploadType=resumable"
        answer = await self._transport.upload("POST", path, {}, body)
        if answer.status not in _DONE:
            raise self._error(answer)
        # INVARIANT: the bytes, and the credential with them, go to the endpoint and nowhere else,
        # whatever host BigQuery names.
        target = answer.target
        if not target.startswith(_ROOTS):
            raise RefusedError("BigQuery's answer to the upload is not understood")
        return target

    async def send(self, target: str, piece: Piece, chunks: AsyncIterator[bytes] | bytes) -> Taken:
        """Send a piece, which must have as many bytes as it says, or ask how far it has come."""
        headers = {"Content-Range": piece.header, "Content-Length": str(piece.size)}
        answer = await self._transport.upload("PUT", target, headers, chunks)
        if answer.status in _DONE:
            return Taken(done=True)
        if answer.status == _MORE:
            return Taken(done=False, received=answer.received)
        raise self._error(answer)

    async def drop(self, target: str) -> None:
        """Give an upload up. What BigQuery says to that does not matter: it forgets it anyway."""
        await self._transport.upload("DELETE", target, {"Content-Length": "0"}, b"")

    def _error(self, answer: UploadAnswer) -> KeystileError:
        return from_response(answer.status, answer.body, self._secrets)
