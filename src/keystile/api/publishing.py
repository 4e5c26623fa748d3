"""`POST /v1/policy`: publish the policy, with a token of a CI job.

INVARIANT: nothing of a body is read before its sender may publish.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from keystile.api.http import Answer, Request
from keystile.gate.publishing import Published
from keystile.identity.publishers import Presented
from keystile.model.errors import MethodNotAllowedError, StoreUnavailableError
from keystile.model.sender import Sender
from keystile.telemetry.policy_metrics import PolicyMetrics, Publication
from keystile.wire.publishing import MAX_BYTES
from keystile.wire.publishing import PATH as _PATH

PATH = _PATH.encode()


class Publishing(Protocol):
    """Takes policies from those who may publish."""

    async def admit(self, unverified_token: str, sender: Sender) -> Presented:
        """Say who sends a policy. Raises `UnauthenticatedError` and `RefusedError`."""
        ...

    async def publish(self, presented: Presented, body: bytes) -> Published:
        """Publish what they sent. Raises `KeystileError`."""
        ...


async def answer(
    request: Request, url: str, publishing: Publishing, metrics: PolicyMetrics
) -> Answer:
    """Take one policy. Raises `KeystileError`; whatever comes of it is counted."""
    outcome = Publication.REFUSED
    try:
        if request.method != "POST":
            raise MethodNotAllowedError("a policy is published with POST")
        presented = await publishing.admit(*request.caller(url))
        done = await publishing.publish(presented, await request.body(MAX_BYTES))
        outcome = _outcome(done)
        return Answer(200, msgspec.json.encode(done))
    except StoreUnavailableError:
        outcome = Publication.FAILED
        raise
    finally:
        metrics.publications.labels(outcome).inc()


def _outcome(done: Published) -> Publication:
    if done.published:
        return Publication.PUBLISHED
    return Publication.TRIED if done.differs else Publication.SAME
