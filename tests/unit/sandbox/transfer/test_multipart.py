from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError
from keystile.sandbox.transfer.multipart import boundary_of, parted

_PIECES = st.lists(st.sampled_from([b"\r\n", b"\n", b"--", b"=b=", b"x", b"\0", b"--=b=x"]))


def _parted(body: bytes, boundary: bytes = b"=b=") -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        whole, data = Path(folder) / "whole", Path(folder) / "data"
        whole.write_bytes(body)
        return parted(whole, boundary, data), data.read_bytes()


@settings(deadline=None)  # it writes files
@given(_PIECES.map(b"".join), st.sampled_from([b"\r\n", b"\n"]))
def test_the_data_is_what_was_put_in(data: bytes, end: bytes) -> None:
    # A client picks a boundary that stands on no line of its data.
    lines = data.replace(b"\r", b"").split(b"\n")
    if any(line in (b"--=b=", b"--=b=--") for line in lines):
        return
    head = b"content-type: application/json" + end * 2
    body = b"--=b=" + end + head + b"{}" + end + b"--=b=" + end
    body += b"content-type: */*" + end * 2 + data + end + b"--=b=--" + end
    assert _parted(body) == (b"{}", data)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--=b=\r\n\r\n{}\r\n--=b=--",
        b"--=b=\r\n\r\n{}\r\n--=b=\r\n\r\nx\r\n--=b=\r\n\r\ny\r\n--=b=--",
        b"--=b=\r\n\r\n{}\r\n--=b=\r\n\r\nno end",
        b"--=b=\r\nA: b\r\n--=b=\r\nB: c\r\n--=b=--",
    ],
)
def test_other_than_two_parts_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="a job as JSON and then the data"):
        _parted(body)


def test_an_encoded_part_is_refused() -> None:
    head = b"Content-Transfer-Encoding: base64\r\n\r\n"
    with pytest.raises(InvalidRequestError, match="encoded"):
        _parted(b"--=b=\r\n\r\n{}\r\n--=b=\r\n" + head + b"eA==\r\n--=b=--")


@pytest.mark.parametrize(
    ("given_type", "boundary"),
    [
        ('multipart/related; boundary="==a b=="', b"==a b=="),
        ("multipart/related; boundary===x==", b"==x=="),
        ("Multipart/Related;boundary=x;type=y", b"x"),
    ],
)
def test_the_boundary_is_read(given_type: str, boundary: bytes) -> None:
    assert boundary_of(given_type) == boundary


@pytest.mark.parametrize("given_type", ["", "application/json", "multipart/related"])
def test_no_boundary_is_refused(given_type: str) -> None:
    with pytest.raises(InvalidRequestError):
        boundary_of(given_type)
