"""Uploads over HTTP: load jobs with their data, in one request or piece by piece."""

from __future__ import annotations

from urllib.parse import urlencode

from keystile.api.http import Answer, Request
from keystile.api.ports import Uploads
from keystile.model.errors import InvalidRequestError, MethodNotAllowedError
from keystile.model.principal import Principal
from keystile.wire.job_bodies import parse_insert
from keystile.wire.job_resources import job_resource
from keystile.wire.multipart import boundary_of, parted
from keystile.wire.responses import JobView, to_bytes
from keystile.wire.uploads import UploadCall, piece_of, upload_call

_CLIENT_CLOSED = 499  # what Google answers where an upload was given up
_GO_ON = 308
_TEXT = b"text/plain; charset=utf-8"  # of answers without a body, as Google's are


async def answer(uploads: Uploads, principal: Principal, request: Request, url: str) -> Answer:
    """Take one request of an upload.

    Raises `KeystileError`; `url` is the gateway's own address, which the client goes on with.
    """
    asked = upload_call(request.raw_path.decode("latin-1"), request.raw_query.decode("latin-1"))
    request.refuse_packed()
    if asked.id:
        return await _continued(uploads, principal, request, asked)
    if request.method != "POST":
        raise MethodNotAllowedError("an upload begins with POST", hint="go on with its `Location`")
    if asked.kind == "resumable":
        return await _begun(uploads, principal, request, asked, url)
    if asked.kind == "multipart":
        return await _whole(uploads, principal, request, asked)
    raise InvalidRequestError("`uploadType` is not one that is served; use multipart or resumable")


async def _begun(
    uploads: Uploads, principal: Principal, request: Request, asked: UploadCall, url: str
) -> Answer:
    job = parse_insert(asked.call.project, await request.body(), upload=True)
    id_ = await uploads.begin(principal, job)
    query = urlencode({"uploadType": "resumable", "upload_id": id_})
    where = f"{url}{request.raw_path.decode('latin-1')}?{query}"
    headers = ((b"location", where.encode()), (b"x-guploader-uploadid", id_.encode()))
    return Answer(200, b"", _TEXT, headers)


async def _whole(
    uploads: Uploads, principal: Principal, request: Request, asked: UploadCall
) -> Answer:
    kind = (request.header(b"content-type") or b"").decode("latin-1")
    job, data = await parted(request.chunks(), boundary_of(kind))
    parsed = parse_insert(asked.call.project, job, upload=True)
    return _job(await uploads.whole(principal, parsed, data))


async def _continued(
    uploads: Uploads, principal: Principal, request: Request, asked: UploadCall
) -> Answer:
    if request.method == "DELETE":
        await uploads.drop(principal, asked.call.project, asked.id)
        return Answer(_CLIENT_CLOSED, b"", _TEXT)
    if request.method not in {"PUT", "POST"}:
        raise MethodNotAllowedError("an upload goes on with PUT", hint="use the verb PUT")
    given = request.header(b"content-range")
    piece = piece_of(given.decode("latin-1") if given else None, request.stated_length())
    progress = await uploads.go_on(principal, asked.call.project, asked.id, piece, request.chunks())
    if progress.job:
        return _job(progress.job)
    there = f"bytes=0-{progress.received - 1}".encode()
    return Answer(_GO_ON, b"", _TEXT, ((b"range", there),) if progress.received else ())


def _job(job: JobView) -> Answer:
    return Answer(200, to_bytes(job_resource(job)))
