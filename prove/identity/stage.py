"""What the proof stands on: an external issuer, a gateway that trusts it, and a sandbox behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from demo.stack import Stack, running

from prove.identity.issuer import Client, Issuer, oidc_provider

AUDIENCE = "https://bigquery-gateway.example.com"
AGENT, BRIEF, LAPTOP = "report-bot", "brief-bot", "laptop"
"""Clients of the issuer: an agent, one whose tokens end at once, and a person's program."""

_GROUP = "coding-agents"
_CLIENTS = {
    AGENT: Client("not a secret", (_GROUP,)),
    BRIEF: Client("not a secret", (_GROUP,), lifetime=1),
    LAPTOP: Client(groups=(_GROUP,)),
}


class Stage(NamedTuple):
    """The gateway and the sandbox, and the issuer."""

    stack: Stack
    issuer: Issuer

    @property
    def token_url(self) -> str:
        """Where tokens are exchanged."""
        return f"{self.stack.gateway}/v1/token"


@contextmanager
def standing(folder: Path) -> Iterator[Stage]:
    """Start everything in a folder. Raises `AbsentError` where the issuer cannot be had."""
    with oidc_provider(_CLIENTS) as issuer:
        trusted = {
            "issuer": issuer.url,
            "audiences": [AUDIENCE, LAPTOP],
            # An ID token has no groups; what a person lends is for the same rules.
            "attribute_mapping": {
                "google.groups": f"has(assertion.groups) ? assertion.groups : ['{_GROUP}']"
            },
        }
        identity = {"clock_skew": 0, "issuers": [trusted]}
        settings = {"engine": {"workers": 1}, "identity": identity}
        with running(folder, settings=settings) as stack:
            yield Stage(stack, issuer)
