"""Rows of a page while it arrives: a page of results is taken apart before its end is there.

INVARIANT: where the rows are cut does not matter to what they are. A piece is given only if it is a
list of whole JSON values by itself, and the end is read only if all around the pieces is one JSON
object: then the pieces in their order are the page's rows, however its texts look.
"""

from __future__ import annotations

import msgspec

from keystile.upstream.answers import ResultsAnswer

Rows = tuple[msgspec.Raw, ...]

_ROWS = b'"rows":['
# Between two rows, as Google writes compact JSON; in a text each of these quotes is escaped.
_BETWEEN = b'},{"f":'
_FIRST_PIECE, _PIECE = 64 << 10, 512 << 10  # bytes
_LARGEST_HEAD = 256 << 10

_raw_rows = msgspec.json.Decoder(Rows).decode
_an_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# Not strict: BigQuery's JSON writes 64-bit integers as strings.
_results = msgspec.json.Decoder(ResultsAnswer, strict=False).decode


class RowSplitter:
    """Takes an answer of jobs.getQueryResults in chunks, and gives its rows in pieces.

    An answer of another layout comes as one piece, at its end.
    """

    def __init__(self) -> None:
        """Begin before the first byte."""
        self._head = b""
        self._rest = bytearray()
        self._inside = False
        self._whole = False
        self._enough = _FIRST_PIECE

    def feed(self, chunk: bytes | bytearray) -> Rows:
        """Take the next bytes; gives the rows of a piece where there are enough for one."""
        self._rest += chunk
        if self._whole or len(self._rest) < self._enough:
            return ()
        if not self._inside:
            self._enter()
        return self._cut() if self._inside else ()

    def end(self) -> ResultsAnswer:
        """Give what is left: the last rows, and all that is said of the page.

        Raises `msgspec.MsgspecError` where it is no such answer.
        """
        return _results(self._head + self._rest)

    def _enter(self) -> None:
        """Pass over what stands before the rows, if they are the answer's own."""
        at = self._rest.find(_ROWS)
        if at < 0:
            self._whole = len(self._rest) > _LARGEST_HEAD
            return
        at += len(_ROWS)
        head = bytes(self._rest[:at])
        try:
            _an_object(head + b"]}")
        except msgspec.MsgspecError:
            self._whole = True
            return
        self._head, self._inside = head, True
        del self._rest[:at]

    def _cut(self) -> Rows:
        at = self._rest.rfind(_BETWEEN)
        if at < 0:
            return ()
        try:
            rows = _raw_rows(b"[" + self._rest[: at + 1] + b"]")
        except msgspec.MsgspecError:
            self._whole = True
            return ()
        del self._rest[: at + 2]
        self._enough = _PIECE
        return rows
