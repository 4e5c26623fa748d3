"""The service `google.cloud.bigquery.storage.v1.BigQueryRead`: messages in, a reader's rows out.

INVARIANT: every error has a status and a sentence of ours; a client never sees a trace.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import grpc

from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    MethodNotAllowedError,
    RefusedError,
    TooManyError,
)
from keystile.model.sender import Sender
from keystile.rpc.senders import Senders
from keystile.wire import read_messages as messages
from keystile.wire.arrow import ArrowRows, parts
from keystile.wire.read_sessions import (
    ReadRequest,
    ReadSession,
    check_options,
    decoded,
    parse_create,
    rows_message,
    session_message,
    session_of,
)
from keystile.wire.responses import JobFailedError, Row

CallerT = TypeVar("CallerT")
AnswerT = TypeVar("AnswerT")

_SERVICE = f"/{messages.PACKAGE}.BigQueryRead/"
_SERVER_ERRORS = 500
# Of the calls that the server takes at once (`server.py`): none of them can hold up all others.
CALLS_OF_ONE = 32
_LONGEST_SENTENCE = 2000  # bytes: an error travels in a header, where a byte may take three


class Reader(Protocol[CallerT]):
    """Gives rows to whom they belong. Raises `KeystileError` and `JobFailedError`."""

    async def caller(self, authorization: str, sender: Sender) -> CallerT:
        """Say whose header this is, from whom it came. Raises `UnauthenticatedError`."""
        ...

    def owner(self, caller: CallerT) -> str:
        """Say whose calls these are, where they are counted."""
        ...

    async def create(self, caller: CallerT, asked: ReadRequest) -> ReadSession:
        """Open a session."""
        ...

    async def session(self, caller: CallerT, name: str) -> ReadSession:
        """Give the caller's session. Raises `NotFoundError` for another's, like an absent one."""
        ...

    async def rows(self, caller: CallerT, name: str, start: int) -> Sequence[Row]:
        """Give some rows of a session from row `start` on, with times as whole microseconds."""
        ...


class Served(NamedTuple):
    """What there is to say of a call that has ended. `caller` is None where nobody knows it."""

    method: str
    status: str
    seconds: float
    caller: Any


class ReadService(grpc.GenericRpcHandler, Generic[CallerT]):  # type: ignore[misc]  # Any to mypy
    """Answers every call, also those of services that are not here."""

    def __init__(
        self,
        reader: Reader[CallerT],
        fault: Callable[[Exception], KeystileError],
        note: Callable[[Served], None],
        proxies: Iterable[str] = (),
    ) -> None:
        """Serve `reader`; `fault` makes an error of what nobody expected, `note` hears of calls.

        `proxies` are the addresses and networks of load balancers before it.
        """
        self._senders = Senders(proxies)
        self._reader = reader
        self._fault = fault
        self._note = note
        self._calls: Counter[str] = Counter()
        self._under_way: set[asyncio.Future[Any]] = set()
        self._handlers = {
            f"{_SERVICE}CreateReadSession": grpc.unary_unary_rpc_method_handler(self._create),
            f"{_SERVICE}ReadRows": grpc.unary_stream_rpc_method_handler(self._read),
            f"{_SERVICE}SplitReadStream": grpc.unary_unary_rpc_method_handler(self._split),
        }

    def service(self, handler_call_details: Any) -> Any:
        """Give what answers a method."""
        method: str = handler_call_details.method

        async def refuse(_requests: AsyncIterator[bytes], context: Any) -> bytes:
            """Refuse the method by its name, however many messages it takes and gives."""
            async with self._answering("unknown", context):
                raise _unserved(method)

        return self._handlers.get(method) or grpc.stream_unary_rpc_method_handler(refuse)

    async def _create(self, request: bytes, context: Any) -> bytes:
        async with self._answering("CreateReadSession", context) as caller:
            asked, message = parse_create(request)
            session = await self._unbroken(self._reader.create(caller, asked))
            schema = ArrowRows(session.fields).schema
            return _encoded(session_message(session, message, schema))

    async def _split(self, request: bytes, context: Any) -> bytes:
        """Say that the stream cannot be split, by an answer without streams."""
        async with self._answering("SplitReadStream", context) as caller:
            asked = decoded(messages.SplitReadStreamRequest, request)
            await self._unbroken(self._reader.session(caller, session_of(asked.name)))
            return _encoded(messages.SplitReadStreamResponse())

    async def _read(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Send a session's rows from the asked row on. Where the client is slow, gRPC waits."""
        async with self._answering("ReadRows", context) as caller:
            asked = decoded(messages.ReadRowsRequest, request)
            check_options(asked.arrow_serialization_options)
            name, at = session_of(asked.read_stream), asked.offset
            session = await self._unbroken(self._reader.session(caller, name))
            if not 0 <= at <= session.rows:
                raise InvalidRequestError(f"`offset` is {at}, and there are {session.rows} rows")
            encoder = ArrowRows(session.fields)
            while at < session.rows:
                rows = await self._unbroken(self._reader.rows(caller, name, at))
                if not rows:
                    message = f"the rows end at {at} of {session.rows}"
                    raise RefusedError(message, hint="run the query again")
                for part in parts(rows):
                    # In a thread: a megabyte takes long enough to be noticed by everybody else.
                    batch = await asyncio.to_thread(encoder.batch, part)
                    answer = rows_message(batch, at, len(part), session.rows)
                    if at == asked.offset:  # clients read it from the first answer alone
                        answer.arrow_schema.serialized_schema = encoder.schema
                    at += len(part)
                    yield _encoded(answer)

    @asynccontextmanager
    async def _answering(self, method: str, context: Any) -> AsyncIterator[CallerT]:
        """Find out who calls before anything of the request is looked at; answer every error."""
        started, caller, status = time.perf_counter(), None, "CANCELLED"
        try:
            sender = self._senders.of(context)
            caller = await self._unbroken(self._reader.caller(_authorization(context), sender))
            with self._counted(self._reader.owner(caller)):
                yield caller
            status = "OK"
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            status, sentence = self._said(error)
            await context.abort(grpc.StatusCode[status], sentence)
        finally:
            self._note(Served(method, status, time.perf_counter() - started, caller))

    @contextmanager
    def _counted(self, owner: str) -> Iterator[None]:
        if self._calls[owner] >= CALLS_OF_ONE:
            raise TooManyError(
                f"this agent has {CALLS_OF_ONE} calls of the Storage API under way already",
                hint="read fewer streams at once, and close those that are not read",
            )
        self._calls[owner] += 1
        try:
            yield
        finally:
            self._calls[owner] -= 1
            if not self._calls[owner]:
                del self._calls[owner]

    def _said(self, error: Exception) -> tuple[str, str]:
        """Give the status and the sentence of an error.

        INVARIANT: of a job's own errors none is `UNAVAILABLE`: clients repeat that in silence.
        """
        if isinstance(error, JobFailedError):
            passing = error.error.http_status >= _SERVER_ERRORS
            status, sentence = "" if passing else error.error.status, error.error.message
        else:
            if not isinstance(error, KeystileError) or error.status == KeystileError.status:
                error = self._fault(error)
            status, sentence = error.status, str(error)
        known = status in grpc.StatusCode.__members__ and status != KeystileError.status
        return status if known else "PERMISSION_DENIED", _cut(sentence)

    async def _unbroken(self, work: Awaitable[AnswerT]) -> AnswerT:
        """Do work to its end: a client that leaves must not break off what writes records."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, should nobody wait for it any more


def _cut(sentence: str) -> str:
    return sentence.encode(errors="replace")[:_LONGEST_SENTENCE].decode(errors="ignore")


def _encoded(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _authorization(context: Any) -> str:
    """Give the one `authorization` header, empty where there is none."""
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    if len(found) > 1:
        raise InvalidRequestError(f"the header `authorization` is given {len(found)} times")
    return str(found[0]) if found else ""


def _unserved(method: str) -> KeystileError:
    name = method.removeprefix("/").removeprefix("google.cloud.bigquery.storage.")[:200]
    hint = "read by `v1.BigQueryRead`, and write by queries, `tabledata.insertAll` or load jobs"
    return MethodNotAllowedError(f"the method `{name}` is not served", hint=hint)
