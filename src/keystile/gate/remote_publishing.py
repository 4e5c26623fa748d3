"""Publishing over the network: who may, what they bring, and what is on record of it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import msgspec

from keystile.gate.policy_source import PolicySource
from keystile.gate.publishing import Published, Publishing, Wanted
from keystile.gate.recorder import Recorder
from keystile.identity.publishers import Presented
from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    StoreUnavailableError,
    UnsafeConfigurationError,
)
from keystile.model.sender import Sender
from keystile.recording.events import Event, EventKind
from keystile.recording.people_events import PolicyRefusedBody
from keystile.wire.publishing import PublishRequest, read_publish_request


class Publishers(Protocol):
    """Who may publish; see `identity.publishers`."""

    async def present(self, unverified_token: str, sender: Sender) -> Presented:
        """Verify a token and say whether its author may publish."""
        ...

    async def use(self, presented: Presented) -> None:
        """Take a token up, once."""
        ...


class RemotePublishing:
    """Takes policies from those whom the settings name.

    INVARIANT: what a verified token brought and was refused is on record before it is told. Tokens
    that are not verified are counted and logged alone: anybody could fill the disk with them.
    """

    def __init__(
        self,
        publishers: Publishers,
        publishing: Publishing,
        source: PolicySource,
        recorder: Recorder,
    ) -> None:
        """`source` says what holds while nothing was published."""
        self._publishers = publishers
        self._publishing = publishing
        self._source = source
        self._recorder = recorder
        self._turn = asyncio.Lock()

    async def admit(self, unverified_token: str, sender: Sender) -> Presented:
        """Say who sends a policy, before it is read.

        Raises `UnauthenticatedError`, and `RefusedError` for who may not.
        """
        presented = await self._publishers.present(unverified_token, sender)
        if presented.refusal is not None:
            await self._refused(presented, None, presented.refusal)
            raise presented.refusal
        return presented

    async def publish(self, presented: Presented, body: bytes) -> Published:
        """Publish what an admitted author sent, or say what it would change.

        Raises `InvalidRequestError` for what is not sound, `PreconditionError` where another
        version holds, and `RefusedError` for a token that has published before.
        """
        request = None
        try:
            request = read_publish_request(body)
            # Compiling takes what queries need: one at a time.
            async with self._turn:
                return await self._publish(presented, request)
        except StoreUnavailableError:
            raise
        except UnsafeConfigurationError as error:
            refusal = InvalidRequestError(error.message, hint=error.hint)
            await self._refused(presented, request, refusal)
            raise refusal from error
        except KeystileError as error:
            await self._refused(presented, request, error)
            raise

    async def _publish(self, presented: Presented, request: PublishRequest) -> Published:
        wanted = Wanted(request.files, presented.author, request.message, "gateway")
        holding = self._source.holding
        folder = None if holding.version else holding.files
        would = await self._publishing.publish(wanted, folder, expect=request.expect, dry_run=True)
        if request.dry_run or not would.differs:
            return would
        await self._publishers.use(presented)
        return await self._publishing.publish(wanted, folder, expect=would.before)

    async def _refused(
        self, presented: Presented, request: PublishRequest | None, refusal: KeystileError
    ) -> None:
        body = PolicyRefusedBody(
            author=presented.author,
            message=request.message if request else "",
            why=str(refusal),
        )
        event = Event(EventKind.POLICY_REFUSED, time.time(), body=msgspec.to_builtins(body))
        await self._recorder.record(event)
