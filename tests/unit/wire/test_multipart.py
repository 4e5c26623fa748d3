from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError
from keystile.wire.multipart import boundary_of, parted

JOB = b'{"configuration": {}}'


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


def read(body: bytes, boundary: bytes = b"B", size: int = 7) -> tuple[bytes, bytes]:
    async def both() -> tuple[bytes, bytes]:
        job, data = await parted(cut(body, size), boundary)
        return job, b"".join([chunk async for chunk in data])

    return asyncio.run(both())


def made(data: bytes, boundary: bytes = b"B", end: bytes = b"\r\n", headers: bytes = b"") -> bytes:
    kind = b"content-type: application/json" + end
    parts = [b"--", boundary, end, kind, end, JOB, end, b"--", boundary, end, headers, end]
    return b"".join([*parts, data, end, b"--", boundary, b"--"])


@given(
    st.binary(max_size=60).filter(lambda data: b"--B" not in data),
    st.sampled_from([b"\r\n", b"\n"]),
    st.integers(1, 90),
)
def test_the_data_comes_out_as_it_went_in(data: bytes, end: bytes, size: int) -> None:
    assert read(made(data, end=end), size=size) == (JOB, data)


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\n", b"--B", b"a--B--b", b"\r\n--", b"x\r", b"-"])
def test_what_only_looks_like_an_end_is_data(data: bytes) -> None:
    for size in (1, 1000):
        assert read(made(data, b"Boundary"), b"Boundary", size) == (JOB, data)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--B\r\n\r\n{}",
        b"--B\r\n\r\n{}\r\n--B--",
        made(b"abc")[:-1],
        made(b"abc")[:-5],
        made(b"abc") + b"more",
        made(b"a\r\n--B\r\n\r\nthird"),
        made(b"abc") + b" " * 2000,
    ],
)
def test_what_is_not_two_whole_parts_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not a job as JSON"):
        read(body)


def test_an_encoded_part_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="encoded"):
        read(made(b"YQ==", headers=b"Content-Transfer-Encoding: base64\r\n"))
    assert read(made(b"a", headers=b"Content-Transfer-Encoding: binary\r\n"))[1] == b"a"


def test_a_job_without_end_is_not_kept_in_memory() -> None:
    with pytest.raises(InvalidRequestError, match="larger"):
        read(b"--B\r\n\r\n" + b" " * (2 << 20), size=64 << 10)


def test_the_boundary_is_that_of_the_type() -> None:
    assert boundary_of('multipart/related; boundary="==a b=="') == b"==a b=="
    for kind in ("multipart/form-data; boundary=B", "multipart/related", "", "text/plain"):
        with pytest.raises(InvalidRequestError):
            boundary_of(kind)
