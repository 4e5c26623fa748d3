"""What a statement is found to be before it runs, and the result of one that has run."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from keystile.model.errors import BytesBilledError
from keystile.model.schema import Field, TableId
from keystile.sandbox.binding import Question
from keystile.sandbox.bound import Bound
from keystile.sandbox.describing import Described
from keystile.sandbox.names import Names

_MEBIBYTE = 1 << 20
_LEAST_BILLED = 10

# BigQuery's `statementType` where it is not the engine's own name of the statement.
_KINDS = {
    "Query": "SELECT",
    "Truncate": "TRUNCATE_TABLE",
    "ExecuteImmediate": "SCRIPT",
    "Begin": "BEGIN_TRANSACTION",
    "Commit": "COMMIT_TRANSACTION",
    "Rollback": "ROLLBACK_TRANSACTION",
    "AuxLoadData": "LOAD_DATA",
    "AlterTableSetOptions": "ALTER_TABLE",
}


class Plan(msgspec.Struct, frozen=True):
    """What a dry run says, and what running it needs.

    `tables` are all that are referenced, `scanned` says how many bytes of each are read.
    """

    question: Question
    statement: str
    names: Names
    described: Described | None
    bound: Bound
    fields: tuple[Field, ...] = ()
    tables: tuple[TableId, ...] = ()
    scanned: dict[TableId, int] = {}

    @property
    def bytes_processed(self) -> int:
        """All bytes that are read."""
        return sum(self.scanned.values())

    @property
    def bytes_billed(self) -> int:
        """What BigQuery bills for it: whole mebibytes of each table, and ten at least."""
        return sum(max(_LEAST_BILLED, -(-read // _MEBIBYTE)) for read in self.scanned.values()) * (
            _MEBIBYTE
        )

    def refuse_beyond(self, most: int | None) -> None:
        """Raise `BytesBilledError` where more would be billed; None is no bound."""
        if most is not None and self.bytes_billed > most:
            raise BytesBilledError(
                f"Query exceeded limit for bytes billed: {most}. {self.bytes_billed} or higher"
                " required."
            )

    def as_script(self, script: Plan) -> Plan:
        """Say of a script, of which this is the plan of its only query, what is known of this."""
        return msgspec.structs.replace(self, question=script.question, names=script.names)


class Answer(msgspec.Struct, frozen=True):
    """A result: its rows with timestamps as microseconds."""

    rows: list[dict[str, Any]] = []
    content: bytes = b""


def statement_type(kind: str) -> str:
    """Give BigQuery's `statementType` of a statement that the engine names."""
    return _KINDS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).upper()
