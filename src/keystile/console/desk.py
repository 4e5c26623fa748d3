"""What every signed-in page shares: who is there, what is pending, what the time is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from keystile.approvals.machine import ApprovalState, Person
from keystile.approvals.requests import Approvals
from keystile.console.guard import check_csrf, csrf_token, form
from keystile.console.pages import render
from keystile.identity.people import SESSION_SECONDS, People
from keystile.model.errors import UnauthenticatedError
from keystile.recording.log import RecordingLog


class Visit(msgspec.Struct, frozen=True):
    """One request of a signed-in person. `session` is their secret; `csrf` goes into forms."""

    person: Person
    session: str
    csrf: str
    now: float


class Desk:
    """Knows the person behind a request and lays the frame around every page."""

    def __init__(
        self,
        *,
        url: str,
        people: People,
        approvals: Approvals,
        recording: RecordingLog,
        clock: Callable[[], float],
    ) -> None:
        """Serve the console that people reach at `url`; `clock` gives UTC epoch seconds."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        # Cookies do not tell ports apart (RFC 6265 section 8.5), so two consoles on one host need
        # two names; under https the `__Host-` prefix keeps sibling domains from setting it.
        self._cookie = "__Host-keystile" if self._secure else f"keystile-{parts.port or 80}"
        self.people = people
        self.approvals = approvals
        self.recording = recording
        self.clock = clock

    async def visit(self, request: Request) -> Visit:
        """Tell who is there. Raises `UnauthenticatedError`; only the cookie counts."""
        session = request.cookies.get(self._cookie, "")
        if not session:
            raise UnauthenticatedError("you are not signed in")
        found = await self.people.signed_in(session)
        person = Person(found.name, found.groups)
        return Visit(person, session, csrf_token(session), self.clock())

    async def change(self, request: Request) -> tuple[Visit, dict[str, str]]:
        """Tell who sends a form and what is in it, once it is proved to be theirs."""
        visit = await self.visit(request)
        fields = await form(request)
        check_csrf(visit.session, fields.get("csrf", ""))
        return visit, fields

    async def page(
        self, visit: Visit, template: str, here: str, status: int = 200, **values: object
    ) -> HTMLResponse:
        """Give a page with the frame: person, pending count, form token, the time."""
        pending = len(await self.approvals.list(ApprovalState.PENDING))
        frame = {"person": visit.person, "csrf": visit.csrf, "now": visit.now}
        return render(template, status, pending=pending, here=here, **frame, **values)

    def sign_in(self, response: Response, session: str) -> None:
        """Hand the session to the browser."""
        response.set_cookie(
            self._cookie,
            session,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )

    def sign_out(self, response: Response) -> None:
        """Take the session back from the browser."""
        response.delete_cookie(self._cookie, httponly=True, samesite="strict", secure=self._secure)


def bare_page(template: str, status: int = 200, /, **values: object) -> HTMLResponse:
    """Give a page for someone who is not signed in, or may not be."""
    return render(template, status, person=None, pending=0, here="", csrf="", **values)


def version_of(values: Iterable[object]) -> str:
    """Name a state of a part of a page, so that its script sees what to replace."""
    return hashlib.sha256(repr(tuple(values)).encode()).hexdigest()[:16]
