"""The approvals inbox and the page on which one request is decided."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from keystile.approvals.machine import ApprovalRequest, ApprovalState, Person, Vote, cast
from keystile.console.desk import Desk, Visit, version_of
from keystile.console.pages import parameter_value
from keystile.console.sign_in import SEE_OTHER
from keystile.model.errors import InvalidRequestError, KeystileError, RefusedError

VIA = "console"
MAX_COMMENT = 2000
_MOST_SHOWN = 200
_DECISIONS = {"approve": True, "deny": False}


class Filters(msgspec.Struct, frozen=True):
    """What the inbox's address narrows it to."""

    agent: str = ""
    label: str = ""
    state: str = ""
    mine: bool = False

    @classmethod
    def of(cls, request: Request) -> Filters:
        """Read them from the address; words that are not known are ignored."""
        query = request.query_params
        return cls(
            agent=query.get("agent", ""),
            label=query.get("label", ""),
            state=query.get("state", ""),
            mine=query.get("mine") == "1",
        )

    @property
    def any(self) -> bool:
        """Tell whether they narrow at all."""
        return self != Filters()

    def fits(self, request: ApprovalRequest, groups: Sequence[str]) -> bool:
        """Tell whether `request` belongs on the list of someone who is in `groups`."""
        return (
            (not self.agent or request.principal.agent == self.agent)
            and (not self.label or self.label in labels_of(request))
            and (not self.state or request.state == self.state)
            and (not self.mine or not set(groups).isdisjoint(request.demand.approvers))
        )


def labels_of(request: ApprovalRequest) -> list[str]:
    """Give the labels of every column that the query reads."""
    return sorted({label for touched in request.summary.columns for label in touched.labels})


def why_not(person: Person, request: ApprovalRequest, now: float) -> dict[bool, str]:
    """Say why `person` may not approve (True) and may not deny (False); empty where they may."""
    reasons = {}
    for approve in (True, False):
        try:
            cast(request, person, Vote(person.name, approve, "", VIA, now))
        except RefusedError as error:
            reasons[approve] = str(error)
        else:
            reasons[approve] = ""
    if any(vote.person == person.name and vote.approve for vote in request.votes):
        reasons[True] = reasons[True] or "you have approved; someone else must approve too"
    return reasons


class Inbox:
    """Views on approval requests."""

    def __init__(self, desk: Desk) -> None:
        """Read and decide through the approvals of `desk`."""
        self._desk = desk

    @property
    def routes(self) -> list[Route]:
        """Where these pages stand."""
        return [
            Route("/approvals", self.inbox, methods=["GET"]),
            Route("/approvals/{id}", self.one, methods=["GET"]),
            Route("/approvals/{id}", self.decide, methods=["POST"]),
        ]

    async def look(self) -> object:
        """Give a value that differs once any request is opened, voted on or closed."""
        pending = await self._desk.approvals.list(ApprovalState.PENDING)
        return [(request.id, len(request.votes)) for request in pending]

    async def inbox(self, request: Request) -> Response:
        """List what waits, oldest first, or what is closed, latest first."""
        visit = await self._desk.visit(request)
        closed = request.query_params.get("tab") == "closed"
        filters = Filters.of(request)
        everything = await self._requests(closed=closed)
        fitting = [one for one in everything if filters.fits(one, visit.person.groups)]
        shown = fitting[:_MOST_SHOWN]
        return await self._desk.page(
            visit,
            "inbox.html",
            "approvals",
            tab="closed" if closed else "pending",
            filters=filters,
            agents=sorted({one.principal.agent for one in everything}),
            label_names=sorted({label for one in everything for label in labels_of(one)}),
            requests=shown,
            labels_of=labels_of,
            more=len(fitting) > len(shown),
            list_version=version_of((one.id, one.state, len(one.votes)) for one in shown),
        )

    async def one(self, request: Request) -> Response:
        """Show one request, whole."""
        visit = await self._desk.visit(request)
        found = await self._desk.approvals.get(request.path_params["id"])
        return await self._show(visit, found)

    async def decide(self, request: Request) -> Response:
        """Take a vote; what cannot be taken is said beside the form, with the comment kept."""
        visit, fields = await self._desk.change(request)
        found = await self._desk.approvals.get(request.path_params["id"])
        comment = fields.get("comment", "").replace("\r\n", "\n").strip()
        try:
            approve = _decision(found, fields, comment)
            await self._desk.approvals.vote(
                found.id,
                visit.person,
                approve=approve,
                comment=comment,
                via=VIA,
                now=visit.now,
            )
        except KeystileError as error:
            found = await self._desk.approvals.get(found.id)
            return await self._show(visit, found, error.http_status, error=error, comment=comment)
        return RedirectResponse(f"/approvals/{found.id}", SEE_OTHER)

    async def _show(
        self,
        visit: Visit,
        found: ApprovalRequest,
        status: int = 200,
        *,
        error: KeystileError | None = None,
        comment: str = "",
    ) -> Response:
        blocked = why_not(visit.person, found, visit.now)
        sql = found.summary.sql
        return await self._desk.page(
            visit,
            "request.html",
            "approvals",
            status,
            request=found,
            demand=found.demand,
            columns=found.summary.columns,
            parameters=[
                (one.name, str(one.type), parameter_value(one.value))
                for one in found.summary.parameters
            ],
            claims=sorted((found.principal.attributes | found.summary.claims).items()),
            sql_lines=sql.count("\n") + 1,
            request_version=version_of((found.state, len(found.votes), str(error))),
            error=error,
            comment=comment,
            blocked=blocked[True],
            deny_blocked=blocked[False],
            max_comment=MAX_COMMENT,
        )

    async def _requests(self, *, closed: bool) -> list[ApprovalRequest]:
        if not closed:
            return list(await self._desk.approvals.list(ApprovalState.PENDING))
        everything = await self._desk.approvals.list()
        return sorted(
            (one for one in everything if one.state is not ApprovalState.PENDING),
            key=lambda one: one.closed_at or one.expires_at,
            reverse=True,
        )


def _decision(found: ApprovalRequest, fields: dict[str, str], comment: str) -> bool:
    """Read what the form decides. Raises `InvalidRequestError`."""
    approve = _DECISIONS.get(fields.get("decision", ""))
    if approve is None:
        raise InvalidRequestError("choose to approve or to deny")
    if len(comment) > MAX_COMMENT:
        raise InvalidRequestError(f"the comment is longer than {MAX_COMMENT} characters")
    if not approve and not comment:
        raise InvalidRequestError("to deny needs a reason", hint="the agent sees it")
    # INVARIANT: a person approves what they saw; a query planned anew has another digest.
    if fields.get("digest") != found.digest:
        raise InvalidRequestError(
            "the request has changed since you opened it", hint="read it again, then decide"
        )
    return approve
