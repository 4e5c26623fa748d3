from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError, KeystileError, NotFoundError, RefusedError
from keystile.wire.uploads import Piece, is_upload, piece_of, upload_call

PATH = "/upload/bigquery/v2/projects/p/jobs"


@pytest.mark.parametrize(
    ("given_", "length", "piece"),
    [
        (None, 5, Piece(0, 5, 5)),
        ("bytes 0-4/5", 5, Piece(0, 5, 5)),
        ("bytes 5-9/*", 5, Piece(5, 5, None)),
        ("bytes */*", 0, Piece(0, 0, None)),
        ("bytes */9", None, Piece(0, 0, 9)),
    ],
)
def test_which_bytes_a_request_brings(given_: str | None, length: int | None, piece: Piece) -> None:
    assert piece_of(given_, length) == piece
    assert piece_of(piece.header, None) == piece


@pytest.mark.parametrize(
    ("given_", "length"),
    [
        (None, None),
        ("bytes 4-0/5", None),
        ("bytes 0-5/5", None),
        ("bytes 0-4/5", 4),
        ("bytes=0-4/5", None),
        ("bytes 0-*/5", None),
        ("bytes 0-4", None),
        ("bytes -4-4/5", None),
        ("", 0),
    ],
)
def test_what_is_no_range_is_refused(given_: str | None, length: int | None) -> None:
    with pytest.raises(InvalidRequestError):
        piece_of(given_, length)


def test_the_last_piece_ends_where_all_does() -> None:
    assert Piece(5, 5, 10).is_last
    assert not any(p.is_last for p in (Piece(5, 4, 10), Piece(5, 5, None), Piece(0, 0, 10)))


@given(st.text(max_size=30))
def test_any_range_is_read_or_refused(text: str) -> None:
    try:
        piece = piece_of(text, None)
    except InvalidRequestError:
        return
    assert piece_of(piece.header, None) == piece


def test_an_address_says_whose_job_and_which_upload() -> None:
    for path in (PATH, f"/resumable{PATH}"):
        assert is_upload(path.encode())
        found = upload_call(path, "uploadType=resumable&upload_id=x&prettyPrint=false")
        assert (found.call.method, found.call.project) == ("jobs.insert", "p")
        assert (found.kind, found.id) == ("resumable", "x")
    assert not is_upload(b"/bigquery/v2/projects/p/jobs")


@pytest.mark.parametrize(
    ("path", "query", "error"),
    [
        (PATH, "uploadType=a&uploadType=b", InvalidRequestError),
        (PATH, "upload_protocol=raw", InvalidRequestError),
        (PATH, "access_token=t", RefusedError),
        ("/upload/bigquery/v2/projects/p/queries", "", InvalidRequestError),
        ("/upload/storage/v1/b/x/o", "", NotFoundError),
    ],
)
def test_other_uploads_are_refused(path: str, query: str, error: type[KeystileError]) -> None:
    with pytest.raises(error):
        upload_call(path, query)
