"""The gateway's identities at BigQuery: how old their keys are, and what was done to them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keystile.console.desk import Desk, version_of
from keystile.model.errors import KeystileError
from keystile.recording.connection_changes import connection_changes
from keystile.recording.people_events import ConnectionChangedBody
from keystile.upstream.connections import OLD_SECONDS
from keystile.upstream.listing import Listed, Listing

_MOST_SHOWN = 200


class Shown(NamedTuple):
    """A row of the list.

    `token_ends` is when the last token of this gateway does, None before the first; `refused` is
    how many Google has not taken, of the whole connection.
    """

    listed: Listed
    token_ends: float | None
    refused: int


class History(NamedTuple):
    """What is on record, newest first, or why that cannot be told."""

    changes: tuple[ConnectionChangedBody, ...]
    problem: KeystileError | None = None


class ConnectionPages:
    """The one view on connections. INVARIANT: it shows ids of keys, never a key or a token."""

    def __init__(self, desk: Desk, listing: Listing, recordings: Path) -> None:
        """Show what `listing` lists, and its history from the recording folder."""
        self._desk = desk
        self._listing = listing
        self._recordings = recordings

    @property
    def routes(self) -> list[Route]:
        """Where it stands."""
        return [Route("/connections", self.page, methods=["GET"])]

    async def look(self) -> object:
        """Give a value that differs once a connection or key comes, goes, or is on record."""
        history = await self._history(1)
        return await self._listing.list(), history.changes

    async def page(self, request: Request) -> Response:
        """Show connections with their keys, and the events of all of them."""
        visit = await self._desk.visit(request)
        shown, history = await self._shown(), await self._history(_MOST_SHOWN + 1)
        changes, minute = history.changes[:_MOST_SHOWN], visit.now // 60
        return await self._desk.page(
            visit,
            "connections.html",
            "connections",
            shown=shown,
            old=OLD_SECONDS,
            changes=changes,
            more=len(history.changes) > len(changes),
            problem=history.problem,
            list_version=version_of((*shown, minute)),
            history_version=version_of((*changes[:1], str(history.problem), minute)),
        )

    async def _shown(self) -> list[Shown]:
        ages = {(one.connection, one.key): one for one in self._listing.connections.ages()}
        rows = []
        for one in await self._listing.list():
            known = ages.get((one.connection, one.key))
            rows.append(Shown(one, known and known.expires, known.rejections if known else 0))
        return rows

    async def _history(self, limit: int) -> History:
        try:
            found = await connection_changes(self._recordings, limit)
        except KeystileError as error:  # a record was altered: the list is worth showing still
            return History((), error)
        bodies = (msgspec.convert(one.event.body, ConnectionChangedBody) for one in found)
        return History(tuple(bodies))
