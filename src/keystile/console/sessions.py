"""Recorded sessions: the list, and one session's steps to walk through."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keystile.console.desk import Desk, Visit, version_of
from keystile.console.grid import Grid, grid
from keystile.console.integrity import Integrity
from keystile.console.pages import parameter_value
from keystile.model.errors import InvalidRequestError
from keystile.recording.events import Event, EventKind
from keystile.recording.reader import RecordingReader, SessionFilter, SessionSummary
from keystile.recording.replay import Step, steps

ROWS_SHOWN = 100
_VIEW_SECONDS = 600
_VIEWS_KEPT = 1024
_SENT = {"name": "row", "type": "JSON"}
_FAULT = {"name": "problem", "type": "STRING"}
_EFFECTS = ("allow", "require_approval", "deny")


class Sessions:
    """Views on recordings. INVARIANT: nobody sees a session before that they did is on record."""

    def __init__(self, desk: Desk, reader: RecordingReader, integrity: Integrity) -> None:
        """Show what `reader` finds, and what `integrity` says of it."""
        self._desk = desk
        self._reader = reader
        self._integrity = integrity
        self._views: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    @property
    def routes(self) -> list[Route]:
        """Where these pages stand. A session's id may be any text, so it is no part of the path."""
        return [
            Route("/sessions", self.list, methods=["GET"]),
            Route("/session", self.one, methods=["GET"]),
        ]

    async def look(self) -> object:
        """Give a value that differs once anything is recorded."""
        newest = await self._reader.sessions(SessionFilter(), limit=1)
        return newest.sessions

    async def list(self, request: Request) -> Response:
        """List sessions, latest activity first."""
        visit = await self._desk.visit(request)
        query = request.query_params
        effect = query.get("effect", "")
        filters = SessionFilter(
            agent=query.get("agent", "").strip(),
            effect=effect if effect in _EFFECTS else "",
            text=query.get("text", "").strip(),
        )
        page = await self._reader.sessions(filters, cursor=query.get("cursor", ""))
        kept = {name: getattr(filters, name) for name in ("agent", "effect", "text")}
        return await self._desk.page(
            visit,
            "sessions.html",
            "sessions",
            sessions=page.sessions,
            filters=filters,
            filtered=filters != SessionFilter(),
            older=urlencode(kept | {"cursor": page.cursor}) if page.cursor else "",
            session_url=session_url,
            integrity=await self._integrity.state(),
            list_version=version_of(page.sessions),
        )

    async def one(self, request: Request) -> Response:
        """Show one session at one of its steps."""
        visit = await self._desk.visit(request)
        session = request.query_params.get("id", "")
        agent = request.query_params.get("agent", "")
        found = steps(await self._reader.session(session, agent=agent))
        await self._record_view(visit, session, agent)
        number = min(_number(request, "step", 1), max(1, len(found)))
        step = found[number - 1] if found else None
        first = _number(request, "row", 0)
        return await self._desk.page(
            visit,
            "session.html",
            "sessions",
            session=session,
            agent=agent or (step.agent if step else ""),
            steps=found,
            step=step,
            parameters=[parameter(one) for one in step.parameters] if step else [],
            rows=_rows(step, first) if step else None,
            rows_shown=ROWS_SHOWN,
            verdict=verdict,
            link=lambda to, row=0: _step_url(session, agent, to, row),
            integrity=await self._integrity.state(),
            version_of=version_of,
        )

    async def _record_view(self, visit: Visit, session: str, agent: str) -> None:
        """Record that `visit` looks at a session; further pages of one sitting are the same view.

        No agent is named in the event itself, since the view is none of the agent's doings.
        """
        view = (visit.csrf, session, agent)
        if visit.now - self._views.get(view, float("-inf")) < _VIEW_SECONDS:
            return
        body = {"person": visit.person.name, "agent": agent, "via": "console"}
        await self._desk.recording.append(
            Event(EventKind.VIEWED, visit.now, session=session, body=body)
        )
        self._views[view] = visit.now
        self._views.move_to_end(view)
        if len(self._views) > _VIEWS_KEPT:
            self._views.popitem(last=False)


def session_url(session: SessionSummary) -> str:
    """Give the address of a listed session."""
    return f"/session?{urlencode({'id': session.id, 'agent': session.agent})}"


def verdict(step: Step) -> tuple[str, str]:
    """Give in a word how a step stands, and the colour of that word."""
    if step.state == "running":
        waits = any(approval.state == "pending" for approval in step.approvals)
        return ("waiting", "accent") if waits else ("running", "accent")
    if step.state == "done":
        return ("approved", "good") if step.approvers else ("allowed", "good")
    colours = {"refused": "bad", "denied": "bad", "failed": "bad", "expired": "warn"}
    return step.state, colours.get(step.state, "plain")


def rows_of(step: Step, first: int) -> Grid:
    """Lay out some of a step's recorded rows, from the one with index `first` on."""
    indexes = [index for index in sorted(step.rows) if index >= first][:ROWS_SHOWN]
    return grid(step.schema, [(index, step.rows[index]) for index in indexes])


def sent_of(step: Step, first: int) -> Grid:
    """Lay out some of the rows that an agent sent, as it wrote them, with what is wrong with them.

    The first one has index `first`.
    """
    faults = step.faults
    schema = [_SENT, _FAULT] if faults else [_SENT]
    rows = []
    for index, row in enumerate(step.sent[first : first + ROWS_SHOWN], first):
        cells = [{"v": row.json}, {"v": faults.get(index, "")}]
        rows.append((index, {"f": cells[: len(schema)]}))
    return grid(schema, rows)


def _rows(step: Step, first: int) -> Grid | None:
    """Lay out what the agent sent or got, which no step has both of."""
    if step.sent:
        return sent_of(step, first)
    return rows_of(step, first) if step.schema else None


def parameter(recorded: Any) -> tuple[str, str, str]:
    """Give a recorded query parameter as name, type and value, in whichever form it was kept.

    The forms are BigQuery's `QueryParameter` and the model's `Parameter`; another is shown as JSON.
    """
    if not isinstance(recorded, Mapping):
        return "", "", msgspec.json.encode(recorded).decode()
    type_ = recorded.get("parameterType", recorded.get("type", {}))
    value = recorded.get("parameterValue", recorded.get("value", {}))
    return str(recorded.get("name", "")), _type_text(type_), parameter_value(value)


def _type_text(type_: Any) -> str:
    if isinstance(type_, Mapping) and not type_.get("element") and not type_.get("arrayType"):
        return str(type_.get("type", type_.get("kind", "")))
    return type_ if isinstance(type_, str) else msgspec.json.encode(type_).decode()


def _step_url(session: str, agent: str, step: int, row: int) -> str:
    query = {"id": session, "agent": agent, "step": step} | ({"row": row} if row else {})
    return f"/session?{urlencode(query)}"


def _number(request: Request, name: str, least: int) -> int:
    """Read a whole number of the address. Raises `InvalidRequestError`."""
    text = request.query_params.get(name, str(least))
    if not text.isdecimal() or not text.isascii() or len(text) > 9:  # noqa: PLR2004 (fits any step)
        raise InvalidRequestError(f"`{name}` is not a number", hint="open the session anew")
    return max(least, int(text))
