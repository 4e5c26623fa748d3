"""Uploads: load jobs whose data comes with the request, whole or in pieces.

Source of fact: Google's protocols for multipart and resumable uploads. What has come of a piece
that breaks off is kept, and the client asks how much that is.
"""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response

from keystile.model.errors import InvalidRequestError, NotFoundError, OverloadedError
from keystile.sandbox import resources
from keystile.sandbox.job import Job
from keystile.sandbox.transfer.multipart import boundary_of, parted
from keystile.sandbox.transfer.requests import Load, Transfer, parse_transfer
from keystile.sandbox.transfer.running import Transfers
from keystile.sandbox.transfer.storage import Source
from keystile.wire import responses
from keystile.wire.jsonbody import MAX_BODY_BYTES, parse_object
from keystile.wire.paths import route

MAX_UPLOAD_BYTES = 256 << 20
STALE_SECONDS = 3600.0
"""After so long without a word from its client an upload is dropped."""

_MAX_SESSIONS = 100
_MIN_CHUNK = 256 << 10
_PATH = re.compile(r"(?:/resumable)?/upload(/.*)")
_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18}|\*)|\*)/(\d{1,18}|\*)")


def is_upload(raw_path: str) -> bool:
    """Tell whether a path is that of an upload."""
    return _PATH.fullmatch(raw_path) is not None


class _Session:
    """A resumable upload and how much of it is here. The last request to write has the turn."""

    def __init__(self, owner: str, transfer: Transfer, file: Path, total: int | None) -> None:
        self.owner, self.transfer, self.file, self.total = owner, transfer, file, total
        self.received = 0
        self.turn = 0
        self.touched = time.monotonic()
        self.job: Job | None = None


class Uploads:
    """All uploads under way, with their files."""

    def __init__(self, transfers: Transfers) -> None:
        """Start with none, in a folder that goes when the server does."""
        self._transfers = transfers
        self._folder = tempfile.TemporaryDirectory(prefix="keystile-uploads-")
        self._sessions: dict[str, _Session] = {}

    def close(self) -> None:
        """Drop all."""
        self._folder.cleanup()

    async def answered(self, request: Request, owner: str) -> Response:
        """Take a part of an upload.

        Raises `InvalidRequestError`, `NotFoundError`, `DuplicateError`, `OverloadedError`.
        """
        project, kind, id_ = _address(request)
        self._drop_stale()
        if request.headers.get("content-encoding", "identity") != "identity":
            raise InvalidRequestError("compressed uploads are not read here")
        if id_:
            return await self._continued(request, owner, id_)
        if request.method == "POST" and kind == "multipart":
            return await self._whole(request, owner, project)
        if request.method == "POST" and kind == "resumable":
            return await self._begun(request, owner, project)
        raise InvalidRequestError("`uploadType` must be `multipart` or `resumable`")

    async def _whole(self, request: Request, owner: str, project: str) -> Response:
        boundary = boundary_of(request.headers.get("content-type", ""))
        body, data = self._new_file(), self._new_file()
        try:
            with body.open("wb") as file:
                size = 0
                async for chunk in request.stream():
                    size += len(chunk)
                    _check_size(size)
                    file.write(chunk)
            transfer = _transfer(project, parted(body, boundary, data))
            return _job_response(self._transfers.start(transfer, owner, Source(data)))
        except BaseException:
            data.unlink(missing_ok=True)
            raise
        finally:
            body.unlink(missing_ok=True)

    async def _begun(self, request: Request, owner: str, project: str) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise InvalidRequestError(f"the job is larger than {MAX_BODY_BYTES} bytes")
        transfer = _transfer(project, bytes(body))
        self._transfers.location(transfer)  # before all the data comes
        if len(self._sessions) >= _MAX_SESSIONS:
            raise OverloadedError("too many uploads are under way", hint="try again later")
        given = request.headers.get("x-upload-content-length", "")
        total = int(given) if given.isdecimal() else None
        _check_size(total or 0)
        id_ = secrets.token_urlsafe(32)
        self._sessions[id_] = _Session(owner, transfer, self._new_file(), total)
        query = urlencode({"uploadType": "resumable", "upload_id": id_})
        # What the client reached us by, so that it reaches us again.
        where = f"{request.scope['scheme']}://{request.headers.get('host', '')}{request.url.path}"
        headers = {"location": f"{where}?{query}", "x-guploader-uploadid": id_}
        return Response(headers=headers)

    async def _continued(self, request: Request, owner: str, id_: str) -> Response:
        session = self._sessions.get(id_)
        if session is None or session.owner != owner:
            raise NotFoundError("Not found: Upload")
        session.touched = time.monotonic()
        if request.method == "DELETE":
            self._drop(id_)
            return Response(status_code=499)
        if request.method not in ("PUT", "POST"):
            raise InvalidRequestError("an upload goes on with PUT")
        if session.job:
            return _job_response(session.job)
        complete = await _received(request, session)
        if not complete:
            shown = f"bytes=0-{session.received - 1}"
            return Response(status_code=308, headers={"range": shown} if session.received else {})
        try:
            session.job = self._transfers.start(session.transfer, owner, Source(session.file))
        except BaseException:
            self._drop(id_)
            raise
        return _job_response(session.job)

    def _new_file(self) -> Path:
        file = Path(self._folder.name) / secrets.token_hex(16)
        file.touch(mode=0o600)
        return file

    def _drop(self, id_: str) -> None:
        session = self._sessions.pop(id_)
        session.turn += 1
        if session.job is None or session.job.view.done:  # else the job reads it, and drops it then
            session.file.unlink(missing_ok=True)

    def _drop_stale(self) -> None:
        before = time.monotonic() - STALE_SECONDS
        for id_ in [id_ for id_, it in self._sessions.items() if it.touched < before]:
            self._drop(id_)


def _address(request: Request) -> tuple[str, str, str]:
    """Give project, kind of upload and its id. Raises for a path or a parameter not known."""
    found = _PATH.fullmatch(request.scope["raw_path"].decode("latin-1"))
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    mine = dict(pairs)
    others = [(name, value) for name, value in pairs if name not in ("uploadType", "upload_id")]
    call = route("POST", found[1] if found else "", urlencode(others))
    if call.method != "jobs.insert":
        raise InvalidRequestError(f"`{call.method}` takes no upload")
    return call.project, mine.get("uploadType", ""), mine.get("upload_id", "")


def _transfer(project: str, body: bytes) -> Transfer:
    transfer = parse_transfer(project, parse_object(body))
    if transfer is None or not isinstance(transfer.asked, Load):
        raise InvalidRequestError("an upload is for a load job")
    if transfer.asked.source_uris:
        raise InvalidRequestError("`sourceUris` and an upload exclude each other")
    return transfer


async def _received(request: Request, session: _Session) -> bool:
    """Keep the bytes of a request; tell whether these were the last.

    Raises `InvalidRequestError` for bytes that do not follow those that are here.
    """
    start, end, total = _content_range(request.headers.get("content-range"))
    if total is not None:
        if session.total not in (None, total):
            raise InvalidRequestError("`Content-Range` has another total than the upload has")
        session.total = total
    _check_size(max(session.total or 0, (end or 0) + 1))
    if start is None:
        return session.received == session.total
    if start > session.received:
        raise InvalidRequestError(
            f"Invalid request. According to the Content-Range header, the upload offset is {start} "
            f"byte(s), which exceeds already uploaded size of {session.received} byte(s)."
        )
    last = end is None or (session.total is not None and end + 1 == session.total)
    if end is not None and not last and end + 1 - start < _MIN_CHUNK:
        raise InvalidRequestError(
            "Invalid request. The number of bytes uploaded is required to be equal or greater "
            f"than {_MIN_CHUNK}, except for the final request (it's recommended to be the exact "
            f"multiple of {_MIN_CHUNK}). The received request contained {end + 1 - start} bytes, "
            "which does not meet this requirement."
        )
    await _append(request, session, start, end)
    if end is None:
        return session.total in (None, session.received)
    return last and session.received == session.total


async def _append(request: Request, session: _Session, start: int, end: int | None) -> None:
    session.turn += 1
    turn, at = session.turn, start
    with session.file.open("r+b") as file:
        async for chunk in request.stream():
            if session.turn != turn:
                raise InvalidRequestError("another request goes on with this upload")
            if end is not None and at + len(chunk) > end + 1:
                raise InvalidRequestError("the request has more bytes than `Content-Range` says")
            _check_size(at + len(chunk))
            new = chunk[max(session.received - at, 0) :]
            file.seek(session.received)
            file.write(new)
            file.flush()
            session.received += len(new)
            at += len(chunk)
            session.touched = time.monotonic()


def _content_range(given: str | None) -> tuple[int | None, int | None, int | None]:
    """Read first byte, last byte and total; the first is None for a question about the state."""
    if given is None:
        return 0, None, None
    found = _RANGE.fullmatch(given.strip())
    if found is None:
        raise InvalidRequestError(f"`Content-Range: {given[:100]}` is not understood")
    start, end, total = (int(part) if part and part != "*" else None for part in found.groups())
    if start is not None and end is not None and (end < start or (total or end + 1) <= end):
        raise InvalidRequestError(f"`Content-Range: {given[:100]}` is not a range")
    return start, end, total


def _check_size(size: int) -> None:
    if size > MAX_UPLOAD_BYTES:
        raise InvalidRequestError(
            f"the upload is larger than {MAX_UPLOAD_BYTES} bytes, which is the sandbox's limit"
        )


def _job_response(job: Job) -> Response:
    body = responses.to_bytes(resources.job_resource(job))
    return Response(body, media_type="application/json")
