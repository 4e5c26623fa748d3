from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.api import http
from keystile.model.errors import InvalidRequestError, UnauthenticatedError
from keystile.model.sender import Sender

Headers = list[tuple[bytes, bytes]]


def request(headers: Headers | None = None, *chunks: bytes) -> http.Request:
    messages: list[http.Message] = [
        {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks or (b"",))
    ]

    async def receive() -> http.Message:
        return messages.pop(0)

    scope = {"method": "POST", "raw_path": b"/", "query_string": b"", "headers": headers or []}
    return http.Request(scope, receive)


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ([b"gl-python/3.11"], "gl-python/3.11"),
        ([b"a" * 300], "a" * 256),
        ([b"one", b"two"], ""),
        ([b"\xff"], "\N{REPLACEMENT CHARACTER}"),
        ([], ""),
    ],
)
def test_what_a_client_says_of_itself_is_bounded(said: list[bytes], client: str) -> None:
    headers = [(b"user-agent", value) for value in said]
    assert request(headers).sender("").client == client


def packed(*chunks: bytes) -> http.Request:
    return request([(b"content-encoding", b"gzip")], *chunks)


async def test_a_body_comes_in_chunks() -> None:
    assert await request(None, b"ab", b"", b"cd").body() == b"abcd"


async def test_a_body_at_the_bound_passes_and_one_byte_more_does_not() -> None:
    assert len(await request(None, b"x" * http.MAX_BODY_BYTES).body()) == http.MAX_BODY_BYTES
    with pytest.raises(InvalidRequestError, match="larger than 1048576"):
        await request(None, b"x" * http.MAX_BODY_BYTES, b"x").body()


async def test_a_request_of_rows_may_be_larger() -> None:
    rows = b"x" * (http.MAX_BODY_BYTES + 1)
    assert len(await request(None, rows).body(len(rows))) == len(rows)
    assert len(await packed(gzip.compress(rows)).body(len(rows))) == len(rows)
    for one in (request(None, rows, b"x"), packed(gzip.compress(rows + b"x"))):
        with pytest.raises(InvalidRequestError, match=f"larger than {len(rows)}"):
            await one.body(len(rows))


async def test_no_more_is_drained_than_the_bound_says() -> None:
    chunk = bytes(1 << 20)
    endless = request([(b"transfer-encoding", b"chunked")], *[chunk] * 20)

    await endless.drain()

    left = 0
    with contextlib.suppress(IndexError):
        while True:
            await endless._chunk()
            left += 1
    assert left == 20 - (http._DRAINED_BYTES >> 20)


async def test_what_was_read_or_never_came_is_not_waited_for() -> None:
    for headers in ([], [(b"content-length", b"0")], [(b"content-length", b"0" * 30)]):
        await request(headers).drain()
    read = request([(b"content-length", b"2")], b"ab")
    assert await read.body() == b"ab"
    await read.drain()


async def test_a_stated_length_beyond_the_bound_is_refused_unread() -> None:
    with pytest.raises(InvalidRequestError, match="larger"):
        await request([(b"content-length", b"1048577")]).body()


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"", b"0x10", b"9" * 40, "٣".encode()])
async def test_a_length_that_is_no_number_is_refused(length: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not a number"):
        await request([(b"content-length", length)]).body()


async def test_gzip_is_decoded() -> None:
    whole = gzip.compress(b'{"query": "SELECT 1"}')
    assert await packed(whole[:9], whole[9:]).body() == b'{"query": "SELECT 1"}'


async def test_a_gzip_bomb_is_refused_in_bounded_memory() -> None:
    bomb = gzip.compress(bytes(200 << 20), compresslevel=9)
    assert len(bomb) < http.MAX_BODY_BYTES
    tracemalloc.start()
    with pytest.raises(InvalidRequestError, match="larger"):
        await packed(bomb).body()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        zlib.compress(b"zlib"),
        gzip.compress(b"cut", mtime=0)[:-1],
        gzip.compress(b"two", mtime=0) + gzip.compress(b"members", mtime=0),
        gzip.compress(b"tail", mtime=0) + b"x",
    ],
)
async def test_what_is_not_one_gzip_member_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="gzip"):
        await packed(body).body()


@given(st.binary(max_size=200))
def test_any_bytes_called_gzip_give_a_body_or_a_clear_error(body: bytes) -> None:
    with contextlib.suppress(InvalidRequestError):
        asyncio.run(packed(body).body())


@pytest.mark.parametrize("encoding", [b"br", b"deflate", b"gzip, gzip", b"\xff<script>"])
async def test_other_encodings_are_refused(encoding: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="content encoding"):
        await request([(b"content-encoding", encoding)], b"x").body()


@pytest.mark.parametrize("name", [b"content-encoding", b"content-length", b"authorization"])
async def test_a_header_given_twice_is_refused(name: bytes) -> None:
    twice = request([(name, b"gzip"), (name, b"gzip")])
    with pytest.raises(InvalidRequestError, match="2 times"):
        twice.header(name)


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        ([], False),
        ([b"gzip"], True),
        ([b"identity, GZIP;q=0.5"], True),
        ([b"br", b"deflate , gzip ; q=1.0"], True),
        ([b"gzip;q=0"], False),
        ([b"gzip;q=0.000"], False),
        ([b"gzipped, x-gzip"], False),
        ([b"\xff,,;"], False),
    ],
)
def test_an_answer_is_packed_when_the_client_says_so(accepted: list[bytes], wanted: bool) -> None:  # noqa: FBT001
    assert request([(b"accept-encoding", one) for one in accepted]).accepts_gzip == wanted


@pytest.mark.parametrize("size", [1 << 10, 1 << 20])
async def test_a_packed_answer_is_smaller_and_says_so(size: int) -> None:
    answer = http.Answer(200, b"x" * size, headers=((b"a", b"b"),))
    sent = await http.packed(answer)
    assert gzip.decompress(sent.body) == answer.body
    assert len(sent.body) < size / 10
    assert set(sent.headers) > {(b"a", b"b"), (b"content-encoding", b"gzip")}
    small = http.Answer(200, b"x" * 1023)
    assert await http.packed(small) is small


async def test_a_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BODY_SECONDS", 0.01)

    async def never() -> http.Message:
        await asyncio.sleep(60)
        raise AssertionError

    scope = {"method": "POST", "raw_path": b"/", "query_string": b"", "headers": []}
    with pytest.raises(InvalidRequestError, match="did not arrive"):
        await http.Request(scope, never).body()


async def test_a_client_that_leaves_is_no_error_of_ours() -> None:
    async def gone() -> http.Message:
        return {"type": "http.disconnect"}

    scope = {"method": "POST", "raw_path": b"/", "query_string": b"", "headers": []}
    with pytest.raises(http.ClientLeftError):
        await http.Request(scope, gone).body()


@pytest.mark.parametrize(
    "value", [b"Bearer abc.DEF-1_~+/==", b"bearer  abc.DEF-1_~+/==", b"DPoP abc.DEF-1_~+/=="]
)
def test_a_token_is_read(value: bytes) -> None:
    assert request([(b"authorization", value)]).caller("") == (
        "abc.DEF-1_~+/==",
        Sender(method="POST", url="/", is_dpop=value.lower().startswith(b"dpop")),
    )


@pytest.mark.parametrize(
    "value",
    [b"", b"Bearer", b"Bearer ", b"Basic abc", b"Bearer a b", b"Bearer a,Bearer b", b"abc",
     b"Bearer a\n", b"Bearer \xff", b"Bearer =", b"Bearer " + b"a" * 17_000],
)  # fmt: skip
def test_anything_else_is_unauthenticated_and_not_quoted(value: bytes) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        request([(b"authorization", value)]).caller("")
    assert "abc" not in str(caught.value)


def test_no_token_is_unauthenticated() -> None:
    with pytest.raises(UnauthenticatedError, match="no gateway token"):
        request().caller("")
