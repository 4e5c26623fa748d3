"""Put the console together: an ASGI app on its own port, for people in a browser only."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from keystile.approvals.requests import Approvals
from keystile.console.agents import AgentPages, Fleet
from keystile.console.connections import ConnectionPages
from keystile.console.desk import Desk, bare_page
from keystile.console.guard import Guard
from keystile.console.inbox import Inbox
from keystile.console.integrity import Integrity
from keystile.console.live import Live
from keystile.console.pages import render
from keystile.console.policy import PolicyPages
from keystile.console.sessions import Sessions
from keystile.console.sign_in import SignIn
from keystile.gate.policy_versions import PolicyVersions
from keystile.identity.people import People
from keystile.model.errors import KeystileError, UnauthenticatedError
from keystile.recording.log import RecordingLog
from keystile.recording.reader import RecordingReader
from keystile.upstream.listing import Listing


def console_app(  # noqa: PLR0913 - one for each thing that it shows
    *,
    url: str,
    people: People,
    approvals: Approvals,
    recording: RecordingLog,
    recordings: Path,
    fleet: Fleet,
    versions: PolicyVersions,
    listing: Listing,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Make the console that people reach at `url`; `recordings` is the recording folder.

    `fleet` is what is known of agents, `versions` are those of the policy, and `listing` lists
    connections to BigQuery; `recording` takes what people do here (sign-ins, viewings).
    Serve the app with its lifespan on and a short graceful timeout: event streams stay open until
    the server stops.
    """
    desk = Desk(url=url, people=people, approvals=approvals, recording=recording, clock=clock)
    inbox = Inbox(desk)
    sessions = Sessions(desk, RecordingReader(recordings), Integrity(recordings, clock))
    agents = AgentPages(desk, fleet)
    policy = PolicyPages(desk, versions)
    connections = ConnectionPages(desk, listing, recordings)
    looks = {
        "approvals": inbox.look,
        "sessions": sessions.look,
        "agents": agents.look,
        "connections": connections.look,
        "policy": policy.look,
    }
    live = Live(desk, looks)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        """Watch for changes as long as the console is served."""
        async with live.running():
            yield

    return Starlette(
        routes=[
            Route("/", _start, methods=["GET"]),
            *SignIn(desk).routes,
            *inbox.routes,
            *sessions.routes,
            *agents.routes,
            *connections.routes,
            *policy.routes,
            *live.routes,
            Mount("/static", StaticFiles(packages=[("keystile.console", "static")])),
        ],
        middleware=[Middleware(Guard, url=url)],
        exception_handlers={
            UnauthenticatedError: _not_signed_in,
            KeystileError: _known_error,
            HTTPException: _http_error,
            Exception: _unknown_error,
        },
        lifespan=lifespan,
    )


async def _start(_: Request) -> Response:
    return RedirectResponse("/approvals", HTTPStatus.SEE_OTHER)


async def _not_signed_in(request: Request, _: Exception) -> Response:
    """Explain how to sign in.

    A link from another site arrives without our SameSite=Strict cookie even if its reader is
    signed in, so such a page first asks for itself once more, from here.
    """
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        return render("again.html")
    return bare_page(
        "sign_in.html",
        HTTPStatus.UNAUTHORIZED,
        deep=request.url.path not in {"/", "/approvals"},
        notice="",
    )


async def _known_error(_: Request, error: Exception) -> Response:
    status = HTTPStatus(getattr(error, "http_status", 500))
    return _error_page(status, getattr(error, "message", ""), getattr(error, "hint", ""))


async def _http_error(_: Request, error: Exception) -> Response:
    status = HTTPStatus(getattr(error, "status_code", 500))
    return _error_page(status, status.description or status.phrase, "")


async def _unknown_error(_: Request, _error: Exception) -> Response:
    """Say nothing of what went wrong inside; the server's log has it."""
    return _error_page(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "something went wrong in the console",
        "try again; whoever runs this gateway finds the cause in its log",
    )


def _error_page(status: HTTPStatus, message: str, hint: str) -> Response:
    return bare_page(
        "error.html", status, status=status.value, heading=status.phrase, message=message, hint=hint
    )
