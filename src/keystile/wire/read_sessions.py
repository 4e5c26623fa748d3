"""Read sessions of the Storage Read API as typed data: what is asked for, and what is answered."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, TableId
from keystile.wire import read_messages as messages
from keystile.wire.paths import NAMES

SESSION_SECONDS = 6 * 3600
"""How long a read session may be read, as at BigQuery."""

MAX_RESTRICTION = 1 << 20
"""BigQuery's own bound on the length of `row_restriction`, in bytes."""

AVRO, ARROW = 1, 2

_TABLE = re.compile(r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)")
_PARENT = re.compile(r"projects/([^/]+)")
_MICROSECONDS = frozenset((0, 1))
_CODECS = frozenset((0, 1, 2))


class ReadRequest(msgspec.Struct, frozen=True):
    """What CreateReadSession asks for. `project` is the one that the read is a job of.

    `selected` are columns, none for all of them; `restriction` is an SQL expression or empty.
    """

    project: str
    table: TableId
    selected: tuple[str, ...] = ()
    restriction: str = ""


class ReadSession(msgspec.Struct, frozen=True):
    """A session that is open, with the one stream that it has unless it has no rows.

    `expires` is in seconds since 1970.
    """

    name: str
    fields: tuple[Field, ...]
    rows: int
    expires: float

    @property
    def stream(self) -> str:
        """The name of its one stream."""
        return f"{self.name}/streams/0"


def session_of(stream: str) -> str:
    """Give the name of a stream's session. Raises `InvalidRequestError`."""
    session, streams, _ = stream.rpartition("/streams/0")
    if not streams or session + streams != stream:
        raise InvalidRequestError(f"`{stream[:200]}` is not the name of a read stream")
    return session


def decoded(type_: Any, data: bytes) -> Any:
    """Read a message. Raises `InvalidRequestError`, for fields that are not known too."""
    try:
        message = type_.FromString(data)
    except DecodeError as error:
        raise InvalidRequestError("the request is not a message of this method") from error
    _refuse_unknown(message)
    return message


def _refuse_unknown(message: Any) -> None:
    name = message.DESCRIPTOR.name
    unknown: Any = UnknownFieldSet(message)
    for one in unknown:
        raise InvalidRequestError(f"field {one.field_number} of `{name}` is not understood")
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                _refuse_unknown(inner)


def parse_create(data: bytes) -> tuple[ReadRequest, Any]:
    """Read a CreateReadSessionRequest, and give its `ReadSession` message too.

    Raises `InvalidRequestError` naming the field that is malformed or not served.
    """
    request = decoded(messages.CreateReadSessionRequest, data)
    asked = request.read_session
    parent, table = _PARENT.fullmatch(request.parent), _TABLE.fullmatch(asked.table)
    if parent is None or NAMES["project"].fullmatch(parent[1]) is None:
        raise _malformed("parent", request.parent, "write `projects/PROJECT`")
    if table is None or not _is_table(*table.groups()):
        hint = "write `projects/PROJECT/datasets/DATASET/tables/TABLE`"
        raise _malformed("read_session.table", asked.table, hint)
    if request.max_stream_count < 0:
        raise InvalidRequestError("`max_stream_count` is negative")
    _refuse_unserved(asked)
    options = asked.read_options
    read = ReadRequest(
        parent[1], TableId(*table.groups()), tuple(options.selected_fields), options.row_restriction
    )
    return read, asked


def _is_table(project: str, dataset: str, table: str) -> bool:
    parts = {"project": project, "dataset": dataset, "table": table}
    return all(NAMES[kind].fullmatch(name) for kind, name in parts.items())


def _malformed(field: str, value: str, hint: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{field}` is `{value[:200]}`, which is no such name", hint=hint)


def _refuse_unserved(asked: Any) -> None:
    options = asked.read_options
    if asked.data_format != ARROW:
        what = "AVRO is not served" if asked.data_format == AVRO else "`data_format` is missing"
        raise InvalidRequestError(what, hint="ask for the data format ARROW")
    if asked.table_modifiers.HasField("snapshot_time"):
        hint = "query the table with FOR SYSTEM_TIME AS OF instead"
        raise InvalidRequestError("`snapshot_time` is not served", hint=hint)
    if options.HasField("sample_percentage"):
        hint = "query the table with TABLESAMPLE instead"
        raise InvalidRequestError("`sample_percentage` is not served", hint=hint)
    if len(options.row_restriction.encode()) > MAX_RESTRICTION:
        raise InvalidRequestError(f"`row_restriction` is longer than {MAX_RESTRICTION} bytes")
    check_options(options.arrow_serialization_options)


def check_options(options: Any) -> None:
    """Raise `InvalidRequestError` for an Arrow that is not written here.

    Buffers may be compressed where the client can read that, and are not.
    """
    if options.picos_timestamp_precision not in _MICROSECONDS:
        hint = "ask for microseconds, or cast the column in a query"
        raise InvalidRequestError("timestamps below microseconds are not served", hint=hint)
    if options.buffer_compression not in _CODECS:
        raise InvalidRequestError("`buffer_compression` is not understood")


def session_message(session: ReadSession, asked: Any, schema: bytes) -> Any:
    """Write the answer of CreateReadSession to what was `asked`, the request's own message."""
    answer = messages.ReadSession(
        name=session.name,
        data_format=ARROW,
        table=asked.table,
        trace_id=asked.trace_id,
        estimated_row_count=session.rows,
    )
    answer.expire_time.seconds = int(session.expires)
    answer.arrow_schema.serialized_schema = schema
    answer.read_options.CopyFrom(asked.read_options)
    if session.rows:  # BigQuery gives no streams where there are no rows
        answer.streams.add(name=session.stream)
    return answer


def rows_message(batch: bytes, start: int, count: int, total: int) -> Any:
    """Write an answer of ReadRows: `count` rows from row `start` of `total`."""
    answer = messages.ReadRowsResponse(row_count=count)
    answer.arrow_record_batch.serialized_record_batch = batch
    answer.arrow_record_batch.row_count = count
    answer.stats.progress.at_response_start = start / total
    answer.stats.progress.at_response_end = (start + count) / total
    return answer
