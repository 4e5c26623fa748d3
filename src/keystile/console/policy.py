"""The policy: which version holds, who published it, what it changed, which gateway has it."""

from __future__ import annotations

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keystile.console.desk import Desk, version_of
from keystile.gate.policy_versions import PolicyVersions, Replica, Version
from keystile.model.errors import InvalidRequestError, UnsafeConfigurationError
from keystile.policy.difference import Change, differences

_MOST_SHOWN = 200
_DIGITS = 9  # of a version's number


class PolicyPages:
    """Views on published versions."""

    def __init__(self, desk: Desk, versions: PolicyVersions) -> None:
        """Show the versions of a store."""
        self._desk = desk
        self._versions = versions

    @property
    def routes(self) -> list[Route]:
        """Where these pages stand."""
        return [
            Route("/policy", self.page, methods=["GET"]),
            Route("/policy/version", self.files, methods=["GET"]),
        ]

    async def look(self) -> object:
        """Give a value that differs once something is published, or a gateway takes it."""
        return await self._versions.newest(), [*map(_shown, await self._versions.replicas())]

    async def page(self, request: Request) -> Response:
        """Show what holds, the history, the gateways, and what one version changed of another."""
        visit = await self._desk.visit(request)
        history, gateways = await self._versions.history(), await self._versions.replicas()
        compared = await self._compared(request.query_params, history)
        return await self._desk.page(
            visit,
            "policy.html",
            "policy",
            holds=history[0] if history else None,
            history=history[:_MOST_SHOWN],
            more=len(history) - len(history[:_MOST_SHOWN]),
            gateways=gateways,
            compared=compared,
            history_version=version_of((*history[:1], visit.now // 60)),
            gateways_version=version_of((*map(_shown, gateways), visit.now // 60)),
        )

    async def files(self, request: Request) -> Response:
        """Show what one version says."""
        visit = await self._desk.visit(request)
        number = _number(request.query_params, "number")
        version, files = await self._versions.get(number), await self._versions.files(number)
        return await self._desk.page(
            visit,
            "policy_version.html",
            "policy",
            shown=version,
            files=sorted(files.items()),
            holds=number == await self._versions.newest(),
        )

    async def _compared(
        self, query: QueryParams, history: tuple[Version, ...]
    ) -> tuple[int, int, tuple[Change, ...], str] | None:
        """Give two versions, what differs, and why that cannot be told; None without a second."""
        if "before" in query or "after" in query:
            before, after = _number(query, "before"), _number(query, "after")
        elif len(history) > 1:
            before, after = history[1].version, history[0].version
        else:
            return None
        files = await self._versions.files(before), await self._versions.files(after)
        try:
            return before, after, differences(*files), ""
        except UnsafeConfigurationError as error:
            return before, after, (), str(error)


def _shown(gateway: Replica) -> tuple[object, ...]:
    return gateway.replica, gateway.version, gateway.digest, gateway.problem


def _number(query: QueryParams, word: str) -> int:
    text = query.get(word, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise InvalidRequestError(f"`{text}` is no number of a version", hint="choose one")
    return int(text)
