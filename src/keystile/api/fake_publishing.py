"""A stand-in for publishing, for tests of the data port."""

from __future__ import annotations

from keystile.gate.publishing import Published
from keystile.identity.publishers import Presented
from keystile.model.errors import RefusedError, UnauthenticatedError
from keystile.model.sender import Sender


class FakePublishing:
    """Publishes whatever comes with the token `may-publish`, as version 2."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.bodies: list[bytes] = []

    async def admit(self, unverified_token: str, sender: Sender) -> Presented:
        """Know two tokens, one of which may publish."""
        del sender
        if unverified_token == "may-publish":  # noqa: S105 - no real one
            return Presented("ci", "d1", 0.0)
        if unverified_token == "may-not":  # noqa: S105 - the same
            raise RefusedError("the token does not fulfil the condition on who may publish")
        raise UnauthenticatedError("the token is not known")

    async def publish(self, presented: Presented, body: bytes) -> Published:
        """Keep the body."""
        del presented
        self.bodies.append(body)
        return Published(2, 1, "d", published=True, differs=True, changes=())
