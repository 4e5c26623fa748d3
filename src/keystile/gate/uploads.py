"""Uploads: load jobs whose bytes come with the request, whole or piece by piece.

INVARIANT: the decision is made and on record before a byte goes to BigQuery, and made again before
the last one does. The bytes pass through and are kept nowhere here; BigQuery keeps those of an
unfinished upload. An upload is its owner's alone, at any replica.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update

from keystile.gate import records
from keystile.gate.duties import Duties
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job
from keystile.gate.pipeline import Pipeline
from keystile.gate.recorder import Recorder
from keystile.gate.upload_jobs import UploadJobs
from keystile.gate.views import view_of
from keystile.model.errors import (
    DuplicateError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    RefusedError,
    StoppedError,
)
from keystile.model.principal import Principal, agent_of
from keystile.store.database import Database
from keystile.store.tables import uploads
from keystile.upstream.accounts import Accounts
from keystile.upstream.uploads import UpstreamUploads
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError, JobView
from keystile.wire.uploads import Piece

_BLOCK = 8 << 20
"""Bytes of one request to BigQuery where a client sends all at once; its protocol asks for a
multiple of 256 KiB."""

_BLOCKS_AT_ONCE = 8
_MOST_OPEN = 50
# What BigQuery, or policy, makes of all the bytes; an outage says nothing of them.
_ITS_END = (DuplicateError, InvalidRequestError, NotFoundError)
_KEPT_SECONDS = 7 * 24 * 3600  # as long as Google keeps an unfinished upload


class Progress(NamedTuple):
    """How far an upload has come: its job where it is done, else the bytes that are there."""

    job: JobView | None
    received: int = 0


class _Upload(NamedTuple):
    """An upload under way. `target` is where its bytes go at BigQuery; `id` is the client's."""

    job: Job
    target: str
    id: str = ""
    done: bool = False


class Uploads:
    """Implements `api.ports.Uploads`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the rooms that an upload passes through
        self,
        database: Database,
        pipeline: Pipeline,
        duties: Duties,
        jobs: JobStore,
        recorder: Recorder,
        accounts: Accounts,
    ) -> None:
        """Wire the rooms together."""
        self._database = database
        self._upload_jobs = UploadJobs(pipeline.admission, recorder, jobs)
        self._duties = duties
        self._jobs = jobs
        self._recorder = recorder
        self._accounts = accounts
        self._blocks_of = Counter[str]()

    async def begin(self, principal: Principal, request: QueryRequest) -> str:
        """Begin a resumable upload and give its id."""
        await self._refuse_flood(principal)
        upload = await self._begun(principal, request)
        id_ = secrets.token_urlsafe(32)
        row = {
            "id": id_,
            "owner": principal.key,
            "project": request.project,
            "job": msgspec.json.encode(upload.job).decode(),
            "target": upload.target,
            "begun_at": time.time(),
            "done": False,
        }
        async with self._database.begin() as connection:
            await connection.execute(insert(uploads).values(**row))
        return id_

    async def go_on(
        self,
        principal: Principal,
        project: str,
        id_: str,
        piece: Piece,
        chunks: AsyncIterator[bytes],
    ) -> Progress:
        """Take a piece of an upload, or tell how far it has come.

        Raises `NotFoundError` for an upload that is unknown or another's.
        """
        upload = await self._owned(principal, project, id_)
        if upload.done:
            return Progress(view_of(await self._jobs.get(upload.job.id)))
        # BigQuery may have heard of the total before, so that any piece can be the last one.
        await self._check(upload)
        try:
            taken = await self._at(upload.job).send(
                upload.target, piece, _exactly(piece.size, chunks)
            )
        except _ITS_END as error:
            if piece.is_last:
                await self._end(upload, "failed", error)
            raise
        if not taken.done:
            return Progress(None, taken.received)
        job = await self._finish(upload.job)
        async with self._database.begin() as connection:
            await connection.execute(update(uploads).where(uploads.c.id == id_).values(done=True))
        return Progress(view_of(job))

    async def whole(
        self, principal: Principal, request: QueryRequest, chunks: AsyncIterator[bytes]
    ) -> JobView:
        """Take an upload that comes in one request, and give its job."""
        with self._bounded(principal):
            upload = await self._begun(principal, request)
            try:
                await self._send_all(upload, chunks)
            except Exception as error:
                # Whatever it is, a client that left too: nothing of it goes on.
                why = error if isinstance(error, KeystileError) else _broken_off()
                await self._end(upload, "failed", why)
                raise
            return view_of(await self._finish(upload.job))

    async def drop(self, principal: Principal, project: str, id_: str) -> None:
        """Give an upload up. Raises `NotFoundError`."""
        upload = await self._owned(principal, project, id_)
        if not upload.done:
            await self._at(upload.job).drop(upload.target)
            await self._end(upload, "cancelled", StoppedError("the upload was cancelled"))

    async def end_of(self, agents: Collection[str], why: KeystileError) -> None:
        """End what these agents have under way, for whomever it is.

        Raises `RefusedError` for an outage of BigQuery.
        """
        for upload in await _under_way(self._database, agents):
            await self._at(upload.job).drop(upload.target)
            await self._end(upload, "cancelled", why)

    @contextmanager
    def _bounded(self, principal: Principal) -> Iterator[None]:
        """Bound how many blocks one agent can have here in memory."""
        if self._blocks_of[principal.key] >= _BLOCKS_AT_ONCE:
            raise RefusedError(
                f"{_BLOCKS_AT_ONCE} of your uploads come in at this moment already",
                hint="send them one after the other",
            )
        self._blocks_of[principal.key] += 1
        try:
            yield
        finally:
            self._blocks_of[principal.key] -= 1
            self._blocks_of += Counter()  # which drops what is at zero

    def _at(self, job: Job) -> UpstreamUploads:
        return self._accounts.at(job.account).uploads

    async def _check(self, upload: _Upload) -> None:
        try:
            await self._upload_jobs.check(upload.job)
        except RefusedError as error:
            await self._end(upload, "failed", error)
            raise

    async def _send_all(self, upload: _Upload, chunks: AsyncIterator[bytes]) -> None:
        start, bigquery = 0, self._at(upload.job)
        async for block, last in _blocks(chunks):
            if last:
                await self._upload_jobs.check(upload.job)
            total = start + len(block) if last else None
            taken = await bigquery.send(upload.target, Piece(start, len(block), total), block)
            start += len(block)
        if not taken.done:
            raise RefusedError("BigQuery did not take all of the upload", hint="upload it again")

    async def _begun(self, principal: Principal, request: QueryRequest) -> _Upload:
        job, query = await self._upload_jobs.accept(principal, request)
        try:
            target = await self._at(job).begin(query, job.upstream_id)
        except KeystileError as error:
            await self._end(_Upload(job, ""), "failed", error)
            raise
        return _Upload(job, target)

    async def _finish(self, job: Job) -> Job:
        kept = await self._upload_jobs.uploaded(job)
        if kept is job:  # else another request of the client's has brought the same news
            self._duties.carry(kept, None)
        return kept

    async def _end(self, upload: _Upload, state: str, error: KeystileError) -> None:
        """Put the end of what became no job on record, and forget it."""
        ended = records.ended(upload.job, state, JobError.of(error), time.time())
        await self._recorder.record(ended)
        async with self._database.begin() as connection:
            await connection.execute(delete(uploads).where(uploads.c.id == upload.id))

    async def _owned(self, principal: Principal, project: str, id_: str) -> _Upload:
        query = select(uploads).where(
            uploads.c.id == id_, uploads.c.owner == principal.key, uploads.c.project == project
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise NotFoundError("Not found: Upload", hint="begin the upload again")
        upload = _read(row)
        # The agent's claims of now, for an upload may go on for days; on record it is one session.
        now = msgspec.structs.replace(principal, session=upload.job.principal.session)
        return upload._replace(job=msgspec.structs.replace(upload.job, principal=now))

    async def _refuse_flood(self, principal: Principal) -> None:
        """End what Google has forgotten, and bound what one agent may begin."""
        old = uploads.c.begun_at < time.time() - _KEPT_SECONDS
        mine = select(func.count()).where(
            uploads.c.owner == principal.key, uploads.c.done.is_(False)
        )
        async with self._database.read() as connection:
            forgotten = (await connection.execute(select(uploads).where(old))).all()
            count = (await connection.execute(mine)).scalar_one()
        for row in forgotten:
            if not row.done:
                await self._end(_read(row), "expired", _broken_off())
        async with self._database.begin() as connection:
            await connection.execute(delete(uploads).where(old))
        if count >= _MOST_OPEN:
            raise RefusedError(
                f"{_MOST_OPEN} of your uploads are under way already",
                hint="finish them, or give some up with DELETE",
            )


async def _under_way(database: Database, agents: Collection[str]) -> list[_Upload]:
    async with database.read() as connection:
        rows = await connection.execute(select(uploads).where(uploads.c.done.is_(False)))
        return [_read(row) for row in rows if agent_of(row.owner) in agents]


def _read(row: Row[Any]) -> _Upload:
    return _Upload(msgspec.json.decode(row.job, type=Job), row.target, row.id, row.done)


def _broken_off() -> StoppedError:
    return StoppedError("the upload broke off before all of it was there")


async def _exactly(size: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass on so many bytes. Raises `RefusedError` where there are more or fewer."""
    left = size
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise RefusedError("the request has not as many bytes as it says", hint="send them again")


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """Give bytes in blocks of one size, and tell which one is the last."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) > _BLOCK:
            yield bytes(buffer[:_BLOCK]), False
            del buffer[:_BLOCK]
    yield bytes(buffer), True
