"""The service on a reader of the test's own, over real gRPC on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio
from grpc import aio

from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    OverloadedError,
    RefusedError,
    UnauthenticatedError,
)
from keystile.model.schema import Field
from keystile.model.sender import Sender
from keystile.rpc.server import RpcServer
from keystile.rpc.service import CALLS_OF_ONE, ReadService, Served
from keystile.wire import read_messages as messages
from keystile.wire.read_sessions import ReadRequest, ReadSession
from keystile.wire.responses import JobError, JobFailedError, Row

_SERVICE = "/google.cloud.bigquery.storage.v1.BigQueryRead/"
_FIELDS = (Field("s", "STRING"),)
_ROW: Row = {"f": [{"v": "x" * 300_000}]}
_SESSION = ReadSession("projects/p/locations/us/sessions/1", _FIELDS, 10, 1e10)


class FakeReader:
    """Gives ten long rows, four at a time, to whoever says `Bearer me`."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.session_rows = _SESSION.rows
        self.holds = asyncio.Event()
        self.holds.set()
        self.asked: list[ReadRequest] = []
        self.senders: list[Sender] = []
        self.starts: list[int] = []
        self.came, self.written = asyncio.Event(), asyncio.Event()

    async def caller(self, authorization: str, sender: Sender) -> str:
        self.senders.append(sender)
        if authorization not in {"Bearer me", "Bearer another"}:
            raise UnauthenticatedError("no token")
        return authorization.removeprefix("Bearer ")

    def owner(self, caller: str) -> str:
        return caller

    async def create(self, _caller: str, asked: ReadRequest) -> ReadSession:
        self.asked.append(asked)
        self.came.set()
        await self.holds.wait()
        if self.failure:
            raise self.failure
        self.written.set()
        return _SESSION

    async def session(self, caller: str, name: str) -> ReadSession:
        if (caller, name) != ("me", _SESSION.name):
            raise NotFoundError("no such session")
        return msgspec.structs.replace(_SESSION, rows=self.session_rows)

    async def rows(self, _caller: str, _name: str, start: int) -> Sequence[Row]:
        self.starts.append(start)
        return [_ROW] * min(4, self.session_rows - start)


class Running:
    def __init__(self, reader: FakeReader) -> None:
        self.reader = reader
        self.faults: list[Exception] = []
        self.served: list[Served] = []
        self.ended = asyncio.Event()
        self.service = ReadService(reader, self._fault, self._note)
        self.channel: Any = None

    def _fault(self, error: Exception) -> KeystileError:
        self.faults.append(error)
        return RefusedError("internal fault `1`")

    async def noted(self) -> Served:
        """Give what was noted last, which a client may be told before."""
        await asyncio.wait_for(self.ended.wait(), 5)
        return self.served[-1]

    def _note(self, served: Served) -> None:
        self.served.append(served)
        self.ended.set()

    async def call(
        self, method: str, request: Any, authorization: str | None = "Bearer me"
    ) -> bytes:
        headers = (("authorization", authorization),) if authorization is not None else ()
        answer = self.channel.unary_unary(f"{_SERVICE}{method}")(
            request if isinstance(request, bytes) else request.SerializeToString(),
            metadata=headers,
        )
        data: bytes = await answer
        return data

    async def read(self, offset: int = 0) -> list[Any]:
        request = messages.ReadRowsRequest(read_stream=_SESSION.stream, offset=offset)
        stream = self.channel.unary_stream(f"{_SERVICE}ReadRows")(
            request.SerializeToString(), metadata=(("authorization", "Bearer me"),)
        )
        return [messages.ReadRowsResponse.FromString(data) async for data in stream]


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    running = Running(FakeReader())
    server = await RpcServer.listening(running.service, "127.0.0.1", 0, None)
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as running.channel:
        yield running
    await server.close()


def _create(**options: Any) -> Any:
    session = messages.ReadSession(table="projects/p/datasets/d/tables/t", data_format=2)
    return messages.CreateReadSessionRequest(parent="projects/p", read_session=session, **options)


async def _failed(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_all_rows_come_and_the_schema_comes_first_and_once(running: Running) -> None:
    answers = await running.read()
    assert sum(answer.row_count for answer in answers) == 10
    assert [answer.HasField("arrow_schema") for answer in answers[1:]] == [False] * (
        len(answers) - 1
    )
    assert answers[0].arrow_schema.serialized_schema
    assert all(len(answer.SerializeToString()) < 4 << 20 for answer in answers)


async def test_rows_are_fetched_as_the_client_takes_them(running: Running) -> None:
    """A client that stops reading stops the fetching: of 300 MB, little piles up."""
    running.reader.session_rows = 1000
    request = messages.ReadRowsRequest(read_stream=_SESSION.stream).SerializeToString()
    stream = running.channel.unary_stream(f"{_SERVICE}ReadRows")(
        request, metadata=(("authorization", "Bearer me"),)
    )
    await stream.read()
    await asyncio.sleep(1)
    assert len(running.reader.starts) < 50
    stream.cancel()


async def test_a_stream_goes_on_from_its_offset(running: Running) -> None:
    assert sum(answer.row_count for answer in await running.read(9)) == 1
    assert await running.read(10) == []
    code, said = await _failed(running.read(11))
    assert (code, "`offset` is 11" in said) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    code, _ = await _failed(running.read(-1))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("authorization", [None, "", "Bearer you"])
async def test_nothing_is_looked_at_before_the_caller_is_known(
    running: Running, authorization: str | None
) -> None:
    code, _ = await _failed(running.call("CreateReadSession", b"\xff\xff", authorization))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    code, _ = await _failed(running.call("NoSuchMethod", b"\xff\xff", authorization))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert not running.reader.asked


async def test_a_reader_hears_where_a_call_comes_from_and_by_which_client(
    running: Running,
) -> None:
    headers = (("authorization", "Bearer me"), ("x-forwarded-for", "10.9.9.9"))
    call = running.channel.unary_unary(f"{_SERVICE}CreateReadSession")
    await call(_create().SerializeToString(), metadata=headers)
    [sender] = running.reader.senders
    assert sender.address == "127.0.0.1"  # nobody vouches for what the call says of its way
    assert sender.client.startswith("grpc-python-asyncio/")


async def test_two_tokens_in_one_call_are_refused(running: Running) -> None:
    twice = (("authorization", "Bearer me"), ("authorization", "Bearer me"))
    call = running.channel.unary_unary(f"{_SERVICE}CreateReadSession")(b"", metadata=twice)
    code, said = await _failed(call)
    assert (code, "2 times" in said) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (RefusedError("no"), "PERMISSION_DENIED"),
        (NotFoundError("no"), "NOT_FOUND"),
        (InvalidRequestError("no"), "INVALID_ARGUMENT"),
        (OverloadedError("no"), "UNAVAILABLE"),
        (JobFailedError(JobError(400, "invalidQuery", "INVALID_ARGUMENT", "no")), None),
        (JobFailedError(JobError(503, "backendError", "UNAVAILABLE", "no")), "PERMISSION_DENIED"),
        (JobFailedError(JobError(500, "x", "INTERNAL", "no")), "PERMISSION_DENIED"),
        (JobFailedError(JobError(400, "x", "unheard of", "no")), "PERMISSION_DENIED"),
    ],
)
async def test_errors_have_the_status_that_they_have_over_http(
    running: Running, failure: Exception, code: str | None
) -> None:
    running.reader.failure = failure
    found, said = await _failed(running.call("CreateReadSession", _create()))
    assert (found.name, said) == (code or "INVALID_ARGUMENT", "no")
    assert (await running.noted()).status == found.name


@pytest.mark.parametrize("failure", [RuntimeError("s3cret"), KeystileError("s3cret")])
async def test_what_nobody_expected_is_a_number_to_the_client(
    running: Running, failure: Exception
) -> None:
    running.reader.failure = failure
    code, said = await _failed(running.call("CreateReadSession", _create()))
    assert (code, said) == (grpc.StatusCode.PERMISSION_DENIED, "internal fault `1`")
    assert running.faults == [failure]


@pytest.mark.parametrize(("letter", "length"), [("x", 2000), ("é", 1000), ("界", 666)])
async def test_a_very_long_error_still_arrives(running: Running, letter: str, length: int) -> None:
    running.reader.failure = RefusedError(letter * 100_000)
    code, said = await _failed(running.call("CreateReadSession", _create()))
    assert (code, said) == (grpc.StatusCode.PERMISSION_DENIED, letter * length)


@pytest.mark.parametrize(
    "method",
    [
        "google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows",
        "google.cloud.bigquery.storage.v1beta2.BigQueryRead/CreateReadSession",
        "google.cloud.bigquery.storage.v1.BigQueryRead/NoSuchMethod",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
async def test_other_methods_are_refused_by_their_names(running: Running, method: str) -> None:
    call = running.channel.unary_unary(f"/{method}")(
        b"anything", metadata=(("authorization", "Bearer me"),)
    )
    code, said = await _failed(call)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert f"`{method.removeprefix('google.cloud.bigquery.storage.')}` is not served" in said


async def test_only_an_own_stream_may_be_split_and_is_not(running: Running) -> None:
    asked = messages.SplitReadStreamRequest(name=_SESSION.stream, fraction=0.5)
    assert await running.call("SplitReadStream", asked) == b""
    asked = messages.SplitReadStreamRequest(name="projects/p/sessions/2/streams/0")
    code, _ = await _failed(running.call("SplitReadStream", asked))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_client_that_leaves_does_not_break_off_what_writes_records(
    running: Running,
) -> None:
    running.reader.holds.clear()
    call = running.channel.unary_unary(f"{_SERVICE}CreateReadSession")(
        _create().SerializeToString(), metadata=(("authorization", "Bearer me"),)
    )
    await asyncio.wait_for(running.reader.came.wait(), 5)
    call.cancel()
    await asyncio.wait_for(running.ended.wait(), 5)
    assert (await running.noted()).status == "CANCELLED"
    running.reader.holds.set()
    await asyncio.wait_for(running.reader.written.wait(), 5)


async def test_one_agents_calls_leave_room_for_all_others(running: Running) -> None:
    running.reader.holds.clear()
    held = [
        asyncio.ensure_future(running.call("CreateReadSession", _create()))
        for _ in range(CALLS_OF_ONE)
    ]
    async with asyncio.timeout(10):
        while len(running.reader.asked) < CALLS_OF_ONE:  # noqa: ASYNC110 - over real gRPC
            await asyncio.sleep(0.01)
    code, said = await _failed(running.call("CreateReadSession", _create()))
    assert (code.name, said.partition(";")[0]) == (
        "RESOURCE_EXHAUSTED",
        "this agent has 32 calls of the Storage API under way already",
    )
    other = asyncio.ensure_future(running.call("CreateReadSession", _create(), "Bearer another"))
    running.reader.holds.set()
    await asyncio.gather(*held, other)
    await running.call("CreateReadSession", _create())
    assert running.service._calls == {}


async def test_streams_that_nobody_reads_count_until_they_are_left(running: Running) -> None:
    running.reader.session_rows = 1000
    request = messages.ReadRowsRequest(read_stream=_SESSION.stream).SerializeToString()
    method = running.channel.unary_stream(f"{_SERVICE}ReadRows")
    me = (("authorization", "Bearer me"),)
    streams = [method(request, metadata=me) for _ in range(CALLS_OF_ONE)]
    await asyncio.gather(*(stream.read() for stream in streams))
    code, _ = await _failed(running.read())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    for stream in streams:
        stream.cancel()
    async with asyncio.timeout(10):
        while running.service._calls:  # noqa: ASYNC110 - over real gRPC
            await asyncio.sleep(0.01)
    running.reader.session_rows = 10
    assert await running.read()


async def test_each_call_is_told_with_its_caller(running: Running) -> None:
    await running.call("CreateReadSession", _create())
    served = await running.noted()
    assert (served.method, served.status, served.caller) == ("CreateReadSession", "OK", "me")
