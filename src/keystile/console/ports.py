"""What the console needs of others beside the approvals, and no more."""

from __future__ import annotations

from typing import Protocol

from keystile.approvals.machine import Person
from keystile.recording.events import Event


class People(Protocol):
    """One-time links and console sessions, as `identity.people` keeps them."""

    async def sign_in(self, unverified_token: str) -> str:
        """Use a one-time link up and give a session token.

        Raises `UnauthenticatedError` where the link is unknown, used or too old.
        """

    async def signed_in(self, unverified_session: str) -> Person:
        """Give who holds the session. Raises `UnauthenticatedError`."""

    async def sign_out(self, session: str) -> None:
        """End the session everywhere."""


class Recorder(Protocol):
    """Where the console writes what people do, as `recording.log` does it."""

    async def append(self, event: Event) -> object:
        """Make `event` durable. Raises `RecordingUnavailableError`."""
