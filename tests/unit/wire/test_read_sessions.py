from __future__ import annotations

from typing import Any

import pytest
from google.cloud.bigquery_storage_v1 import types

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.wire import read_messages
from keystile.wire.read_sessions import (
    ReadRequest,
    ReadSession,
    decoded,
    parse_create,
    rows_message,
    session_message,
    session_of,
)

_TABLE = "projects/p/datasets/_d/tables/t"
_FORMAT = types.DataFormat.ARROW


def asked(parent: str = "projects/p", **session: Any) -> bytes:
    """Write a request with Google's own classes."""
    read_session = {"table": _TABLE, "data_format": _FORMAT, **session}
    request = types.CreateReadSessionRequest(parent=parent, read_session=read_session)
    data: bytes = types.CreateReadSessionRequest.serialize(request)
    return data


def test_what_googles_client_writes_is_read() -> None:
    options = {
        "selected_fields": ["b", "a"],
        "row_restriction": "a > 1",
        "arrow_serialization_options": {"buffer_compression": 1},
    }
    read, _ = parse_create(asked("projects/q", read_options=options))
    assert read == ReadRequest("q", TableId("p", "_d", "t"), ("b", "a"), "a > 1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data_format": types.DataFormat.AVRO}, "AVRO is not served"),
        ({"data_format": 0}, "`data_format` is missing"),
        ({"table_modifiers": {"snapshot_time": {"seconds": 1}}}, "FOR SYSTEM_TIME AS OF"),
        ({"read_options": {"sample_percentage": 10.0}}, "TABLESAMPLE"),
        ({"read_options": {"sample_percentage": 0.0}}, "TABLESAMPLE"),
        ({"read_options": {"row_restriction": "x" * ((1 << 20) + 1)}}, "longer than"),
        (
            {"read_options": {"arrow_serialization_options": {"picos_timestamp_precision": 3}}},
            "below microseconds",
        ),
        ({"table": "p.d.t"}, "`read_session.table`"),
        ({"table": "projects/p/datasets/d/tables/t/x"}, "`read_session.table`"),
        ({"table": "projects/p/datasets/d`/tables/t"}, "`read_session.table`"),
        ({"table": "projects/p/datasets/d/tables/t`"}, "`read_session.table`"),
        ({"parent": "p"}, "`parent`"),
        ({"parent": "projects/../q"}, "`parent`"),
    ],
)
def test_what_is_not_served_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        parse_create(asked(**changes))


@pytest.mark.parametrize("at", ["", "read_session", "read_options"])
def test_a_field_that_nobody_knows_is_refused_wherever_it_stands(at: str) -> None:
    unknown = b"\xa0\x06\x01"  # field 100: 1
    session: Any = read_messages.ReadSession(table=_TABLE, data_format=2)
    if at == "read_options":
        session.read_options.MergeFromString(unknown)
    if at == "read_session":
        session.MergeFromString(unknown)
    request = read_messages.CreateReadSessionRequest(parent="projects/p", read_session=session)
    data = request.SerializeToString() + (b"" if at else unknown)
    with pytest.raises(InvalidRequestError, match="field 100"):
        parse_create(data)


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="not a message"):
        decoded(read_messages.ReadRowsRequest, b"\xff\xff")


@pytest.mark.parametrize("name", ["", "s", "s/streams/1", "s/streams/0/x", "/streams"])
def test_only_the_one_stream_of_a_session_has_a_session(name: str) -> None:
    assert session_of("projects/p/x/streams/0") == "projects/p/x"
    with pytest.raises(InvalidRequestError, match="read stream"):
        session_of(name)


def _answer(rows: int) -> Any:
    _, message = parse_create(asked(trace_id="me", read_options={"row_restriction": "a > 1"}))
    session = ReadSession("projects/p/locations/us/sessions/s", (), rows, 1_700_000_000.5)
    written = session_message(session, message, b"schema").SerializeToString()
    return types.ReadSession.deserialize(written)


def test_googles_client_reads_the_session_that_is_written() -> None:
    answer = _answer(3)
    assert [stream.name for stream in answer.streams] == [f"{answer.name}/streams/0"]
    assert answer.arrow_schema.serialized_schema == b"schema"
    assert (answer.table, answer.trace_id, answer.estimated_row_count) == (_TABLE, "me", 3)
    assert answer.read_options.row_restriction == "a > 1"
    assert answer.expire_time.timestamp() == 1_700_000_000
    assert answer.data_format == _FORMAT


def test_a_session_without_rows_has_no_streams_as_at_bigquery() -> None:
    assert not _answer(0).streams


def test_the_size_of_what_was_read_is_not_told() -> None:
    assert _answer(3).estimated_total_bytes_scanned == 0


def test_googles_client_reads_the_rows_that_are_written() -> None:
    written = rows_message(b"batch", 2, 3, 10).SerializeToString()
    answer = types.ReadRowsResponse.deserialize(written)
    assert answer.arrow_record_batch.serialized_record_batch == b"batch"
    assert answer.row_count == answer.arrow_record_batch.row_count == 3
    progress = answer.stats.progress
    assert (progress.at_response_start, progress.at_response_end) == (0.2, 0.5)
