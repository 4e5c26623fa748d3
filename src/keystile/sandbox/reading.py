"""The Storage Read API on the sandbox's tables."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from uuid import uuid4

import msgspec

from keystile.model.errors import InvalidRequestError, KeystileError, NotFoundError
from keystile.model.schema import Field
from keystile.model.sender import Sender
from keystile.rpc.service import ReadService, Served
from keystile.sandbox.binding import Question
from keystile.sandbox.data import Stored
from keystile.sandbox.errors import unsupported
from keystile.sandbox.pages import PAGE_ROWS
from keystile.sandbox.queries import Catalog
from keystile.sandbox.rows import Rows
from keystile.sandbox.store import LOCATION
from keystile.sandbox.tokens import TokenCheck
from keystile.wire.read_sessions import SESSION_SECONDS, ReadRequest, ReadSession
from keystile.wire.responses import Row

_KEPT = 64

_log = logging.getLogger(__name__)


class _Open(msgspec.Struct, frozen=True):
    owner: str
    session: ReadSession
    rows: Sequence[Row]


class ReadSessions:
    """Sessions, each with its rows as they were when it was opened. Implements `rpc`'s `Reader`."""

    def __init__(self, catalog: Catalog, tokens: TokenCheck) -> None:
        """Read `catalog` for whoever `tokens` accepts."""
        self._catalog = catalog
        self._tokens = tokens
        self._open: OrderedDict[str, _Open] = OrderedDict()

    async def caller(self, authorization: str, sender: Sender) -> str:
        """Give the service account's e-mail."""
        del sender  # as BigQuery, which asks for the token alone
        return self._tokens.account(authorization)

    def owner(self, caller: str) -> str:
        """Give the account: BigQuery has such limits, too."""
        return caller

    async def create(self, caller: str, asked: ReadRequest) -> ReadSession:
        """Open a session. Raises as a query of the table does."""
        self._catalog.rights.check_query(caller, asked.table)
        stored = self._catalog.store.table(asked.table)
        if stored.view_query:
            raise InvalidRequestError(f"Cannot read a table of type {stored.kind.value}.")
        fields = _selected(stored, asked.selected)
        rows = await self._rows(stored, fields, asked)
        session = ReadSession(
            f"projects/{asked.project}/locations/{_location(self._catalog, stored)}"
            f"/sessions/{uuid4().hex}",
            fields,
            len(rows),
            time.time() + SESSION_SECONDS,
        )
        self._open[session.name] = _Open(caller, session, rows)
        if len(self._open) > _KEPT:
            self._open.popitem(last=False)
        return session

    async def session(self, caller: str, name: str) -> ReadSession:
        """Give the caller's session."""
        return self._found(caller, name).session

    async def rows(self, caller: str, name: str, start: int) -> Sequence[Row]:
        """Give some rows of a session."""
        return self._found(caller, name).rows[start : start + PAGE_ROWS]

    def _found(self, caller: str, name: str) -> _Open:
        found = self._open.get(name)
        if found is None or found.owner != caller or found.session.expires < time.time():
            raise NotFoundError(f"Not found: read session `{name[:200]}`")
        return found

    async def _rows(
        self, stored: Stored, fields: Sequence[Field], asked: ReadRequest
    ) -> Sequence[Row]:
        names = ", ".join(f"`{field.name}`" for field in fields)
        sql = f"SELECT {names} FROM `{stored.id}`"  # noqa: S608 - the sandbox's own data
        if asked.restriction:
            sql = f"{sql} WHERE ({asked.restriction}\n)"
        plan = await self._catalog.plan(Question(sql, asked.project))
        if plan.statement != "SELECT" or len(plan.bound.ids) != 1:
            raise unsupported("a `row_restriction` that is more than one condition")
        return Rows(fields, (await self._catalog.evaluated(plan)).content)


def _selected(stored: Stored, names: Sequence[str]) -> tuple[Field, ...]:
    known = {field.name.lower() for field in stored.fields}
    for name in names:
        if "." in name:
            raise unsupported("nested fields in `selected_fields`")
        if name.lower() not in known:
            raise InvalidRequestError(
                f"request failed: The following selected fields do not exist in the table schema: "
                f"{name[:100]}"
            )
    wanted = set(map(str.lower, names)) or known
    return tuple(field for field in stored.fields if field.name.lower() in wanted)


def _location(catalog: Catalog, stored: Stored) -> str:
    return (catalog.store.location(stored.id) or LOCATION).lower()


def read_service(catalog: Catalog, tokens: TokenCheck) -> ReadService[str]:
    """Make the gRPC service of the sandbox's tables."""
    return ReadService(ReadSessions(catalog, tokens), _fault, _note)


def _fault(error: Exception) -> KeystileError:
    _log.error("a call broke the sandbox", exc_info=error)
    return unsupported("this call, which broke it")


def _note(_served: Served) -> None:
    """Say nothing: the sandbox keeps no log of requests."""
