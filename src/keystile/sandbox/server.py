"""The HTTP side: BigQuery's paths, answered from the catalog and the jobs."""

from __future__ import annotations

import logging
import zlib

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystile.model.errors import InvalidRequestError, KeystileError
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.dataset_methods import DatasetMethods
from keystile.sandbox.errors import unsupported
from keystile.sandbox.job_methods import JobMethods
from keystile.sandbox.jobs import Jobs
from keystile.sandbox.queries import Catalog
from keystile.sandbox.routine_methods import RoutineMethods
from keystile.sandbox.table_methods import TableMethods
from keystile.sandbox.tokens import TokenCheck
from keystile.sandbox.transfer.running import Transfers
from keystile.sandbox.transfer.storage import Storage
from keystile.sandbox.transfer.uploads import Uploads, is_upload
from keystile.wire import discovery, responses
from keystile.wire.partial import select
from keystile.wire.paths import route
from keystile.wire.responses import Resource
from keystile.wire.streaming import MAX_BYTES

_log = logging.getLogger(__name__)
_GZIP_BITS = 31  # zlib: the largest window, with the header of gzip


class Sandbox:
    """The ASGI application."""

    def __init__(self, catalog: Catalog, tokens: TokenCheck, storage: Storage) -> None:
        """Serve `catalog`, and `storage` to its jobs, to whoever `tokens` accepts."""
        self._rights = catalog.rights
        self._jobs = Jobs(catalog)
        transfers = Transfers(catalog, self._jobs, storage)
        self._uploads = Uploads(transfers)
        self._tokens = tokens
        self._answers: Answers = {
            **JobMethods(self._jobs, transfers).answers,
            **DatasetMethods(catalog).answers,
            **TableMethods(catalog).answers,
            **RoutineMethods(catalog).answers,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except KeystileError as error:
            response = _failure(error)
        except ClientDisconnect:
            return
        except Exception:  # noqa: BLE001  # a client gets Google's shape; the log, the trace
            _log.exception("a request broke the sandbox")
            response = _failure(KeystileError("the sandbox failed on this request"))
        await response(scope, receive, send)

    async def close(self) -> None:
        """End all jobs and uploads."""
        await self._jobs.close()
        self._uploads.close()

    async def _response(self, request: Request) -> Response:
        if request.scope["raw_path"].decode("latin-1") in discovery.PATHS:
            return Response(
                responses.to_bytes(self._description(request)), media_type="application/json"
            )
        account = self._tokens.account(request.headers.get("authorization", ""))
        if is_upload(request.scope["raw_path"].decode("latin-1")):
            return await self._uploads.answered(request, account)
        answered = await self._answered(request, account)
        if answered is None:
            return Response(status_code=204, media_type="application/json")
        text = responses.to_bytes(answered)
        if "prettyPrint=true" in request.scope["query_string"].decode("latin-1").split("&"):
            text = msgspec.json.format(text, indent=2)
        return Response(text, media_type="application/json")

    def _description(self, request: Request) -> Resource:
        """Describe the API to clients that build themselves from that, `bq` among them."""
        about = {"title": "BigQuery API", "description": "The methods that the sandbox serves."}
        url = request.url
        return discovery.document(f"{url.scheme}://{url.netloc}", self._answers.keys()) | about

    async def _answered(self, request: Request, account: str) -> Resource | None:
        body = await _body(request)
        override = request.headers.get("x-http-method-override", "")
        query = (
            body.decode("latin-1") if override == "GET" else request.scope["query_string"].decode()
        )
        path = request.scope["raw_path"].decode("latin-1")
        call = route(request.method, path, query, override=override)
        if call.method not in self._answers:
            raise unsupported(call.method)
        self._rights.check_call(account, call)
        ask = Ask(call, body, account, request.headers.get("if-match", ""))
        answered = await self._answers[call.method](ask)
        return answered if answered is None else select(answered, call.fields)


async def _body(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in {"identity", "gzip"}:
        raise InvalidRequestError("only gzip is read of compressed request bodies")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise InvalidRequestError(f"the request body is larger than {MAX_BYTES} bytes")
    return _unpacked(bytes(body)) if encoding == "gzip" else bytes(body)


def _unpacked(body: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=_GZIP_BITS)
    try:
        data = unpacking.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise InvalidRequestError("the request body is not gzip") from error
    if len(data) > MAX_BYTES or not unpacking.eof:
        raise InvalidRequestError("the request body is cut off or too large")
    return data


def _failure(error: KeystileError) -> Response:
    return Response(responses.error_body(error), error.http_status, media_type="application/json")
