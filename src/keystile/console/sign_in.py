"""Sign in with a one-time link, and sign out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from keystile.console.desk import Desk, bare_page
from keystile.console.guard import RateLimit, form
from keystile.model.errors import UnauthenticatedError
from keystile.recording.events import Event, EventKind

_TRIES, _SECONDS = 10, 60.0
SEE_OTHER = 303


class SignIn:
    """The pages that need no session."""

    def __init__(self, desk: Desk) -> None:
        """Sign people in at `desk`."""
        self._desk = desk
        self._limit = RateLimit(_TRIES, _SECONDS)

    @property
    def routes(self) -> list[Route]:
        """Where these pages stand."""
        return [
            Route("/sign-in", self.explain, methods=["GET"]),
            Route("/sign-in", self.redeem, methods=["POST"]),
            Route("/link/{token}", self.link, methods=["GET"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]

    async def explain(self, _: Request) -> HTMLResponse:
        """Say how to get a link."""
        return bare_page("sign_in.html", deep=False, notice="")

    async def link(self, request: Request) -> HTMLResponse:
        """Show a button. A link preview or a scanner that opens this page uses nothing up."""
        return bare_page("link.html", token=request.path_params["token"])

    async def redeem(self, request: Request) -> Response:
        """Use the link up and start a session."""
        address = request.client.host if request.client else ""
        if not self._limit.allows(address):
            text = "too many tries from your address; wait a minute and press the button again"
            return bare_page("sign_in.html", 429, deep=False, notice=text)
        fields = await form(request)
        try:
            session = await self._desk.people.sign_in(fields.get("token", ""))
            person = await self._desk.people.signed_in(session)
        except UnauthenticatedError as error:
            self._limit.failed(address)
            return bare_page("sign_in.html", 401, deep=False, notice=str(error))
        body = {"person": person.name, "via": "console", "address": address}
        await self._desk.recording.append(Event(EventKind.SIGNED_IN, self._desk.clock(), body=body))
        response = RedirectResponse("/approvals", SEE_OTHER)
        self._desk.sign_in(response, session)
        return response

    async def leave(self, request: Request) -> Response:
        """End the session, here and in the store."""
        visit, _ = await self._desk.change(request)
        await self._desk.people.sign_out(visit.session)
        response = RedirectResponse("/sign-in", SEE_OTHER)
        self._desk.sign_out(response)
        return response
