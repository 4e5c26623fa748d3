"""gRPC calls as tests need them."""

from __future__ import annotations

from typing import Any

import grpc
import pyarrow as pa


class WithMetadata(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]  # Any to mypy
    """Sends more headers with every call: a plain channel takes no credentials."""

    def __init__(self, more: tuple[tuple[str, str], ...]) -> None:
        """Send these."""
        self._more = more

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Call with them."""
        return continuation(self._with(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """Call with them."""
        return continuation(self._with(details), request)

    def _with(self, details: Any) -> Any:
        return details._replace(metadata=(*(details.metadata or ()), *self._more))


def read_all(reader: Any, session: Any, offset: int = 0) -> pa.Table:
    """Read the one stream of a session with Google's client, from a row on."""
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    batches = []
    for answer in reader.read_rows(session.streams[0].name, offset=offset):
        if not batches:
            assert answer.arrow_schema == session.arrow_schema
        data = pa.py_buffer(answer.arrow_record_batch.serialized_record_batch)
        batches.append(pa.ipc.read_record_batch(data, schema))
        assert batches[-1].num_rows == answer.row_count
    return pa.Table.from_batches(batches, schema)
