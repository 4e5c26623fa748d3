"""The Storage Read API of the gateway: who calls, what it is told, and what the log says of it.

Only `app.py` imports it, and only where the API is on: gRPC and Arrow take a second to import.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

import msgspec

from keystile.api.http import token_of
from keystile.api.ports import Agents, ReadSessions
from keystile.api.token import count
from keystile.model.errors import KeystileError, RefusedError, UnauthenticatedError
from keystile.model.principal import Principal
from keystile.model.sender import Sender
from keystile.rpc.service import ReadService, Served
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.wire.read_sessions import ReadRequest, ReadSession
from keystile.wire.responses import Row

_log = logger("api")


class OwnReader:
    """Implements `rpc`'s `Reader` for agents."""

    def __init__(self, sessions: ReadSessions, agents: Agents, metrics: Metrics) -> None:
        """Give `sessions` to whom `agents` knows."""
        self._sessions = sessions
        self._agents = agents
        self._metrics = metrics

    async def caller(self, authorization: str, sender: Sender) -> Principal:
        """Verify the gateway token that came with the call, as over HTTP.

        Of no proof and no certificate is anything known here, so a token that is bound to a key is
        refused.
        """
        token, is_dpop = token_of(authorization.encode() or None)
        try:
            shown = msgspec.structs.replace(sender, is_dpop=is_dpop)
            return await self._agents.principal(token, shown)
        except UnauthenticatedError as error:
            count(error, self._metrics)
            raise

    def owner(self, caller: Principal) -> str:
        """Count an agent's calls together, whoever it acts for."""
        return f"{caller.issuer}|{caller.subject}"

    async def create(self, caller: Principal, asked: ReadRequest) -> ReadSession:
        """Open a session."""
        return await self._sessions.create(caller, asked)

    async def session(self, caller: Principal, name: str) -> ReadSession:
        """Give the caller's session."""
        return await self._sessions.session(caller, name)

    async def rows(self, caller: Principal, name: str, start: int) -> Sequence[Row]:
        """Give some rows of a session. One that outlasts its token goes on, but not its agent."""
        await self._agents.current(caller)
        return await self._sessions.rows(caller, name, start)


def read_service(
    sessions: ReadSessions, agents: Agents, metrics: Metrics, proxies: Iterable[str] = ()
) -> ReadService[Principal]:
    """Make the gRPC service of the gateway, behind load balancers with these addresses."""

    def note(served: Served) -> None:
        """Count the call and write its line: never a restriction, a token or an address."""
        method = f"storage.{served.method}"
        metrics.requests.labels(method, served.status).inc()
        caller = served.caller
        _log.info(
            "request",
            method=method,
            status=served.status,
            ms=round(served.seconds * 1000, 3),
            agent=caller.agent if caller else "",
            session=caller.session if caller else "",
        )

    return ReadService(OwnReader(sessions, agents, metrics), _fault, note, proxies)


def _fault(error: Exception) -> KeystileError:
    """Log what nobody expected, and refuse: the client learns an id and nothing else."""
    fault = secrets.token_hex(8)
    _log.error("internal fault", id=fault, exc_info=error)
    return RefusedError(
        f"refused: internal fault `{fault}`", hint="give this id to the gateway's operators"
    )
