"""Who vouches for the demo's agents: the issuer that the gateway runs, or a server of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from demo.stack import HERE, PROJECT, Stack

AGENTS = ("demo-agent", "support-agent")
_GROUP = "coding-agents"
_SECRET = "not a secret"  # noqa: S105 - gone with the issuer, at the end
_AUDIENCE = "https://bigquery-gateway.example.com"


class Vouching(Protocol):
    """One way for the agents to have an identity; `settings` is the gateway's `identity`."""

    settings: dict[str, Any]

    def register(self, stack: Stack) -> str:
        """Make the agents known where they must be, and say who knows them."""
        ...

    def options(self, stack: Stack, name: str) -> tuple[str, ...]:
        """Say to `keystile run` where an agent's own token comes from."""
        ...

    def token(self, stack: Stack, name: str) -> str:
        """Give an agent's own token."""
        ...

    def to_try(self, sql: str) -> list[str]:
        """Give commands on a query that go with these agents alone."""
        ...


class BuiltIn:
    """The issuer that the gateway runs."""

    settings: dict[str, Any] = {}  # noqa: RUF012 - what is there without any

    def register(self, stack: Stack) -> str:
        """Register them with the gateway."""
        for name in AGENTS:
            extra = ("--attribute", "purpose=support") if name == "support-agent" else ()
            stack.keystile("agent", "create", name, "--group", _GROUP, *extra)
        return "the gateway knows " + ", ".join(_listed(stack))

    def options(self, stack: Stack, name: str) -> tuple[str, ...]:
        """Say nothing: it is made on the spot."""
        del stack, name
        return ()

    def token(self, stack: Stack, name: str) -> str:
        """Have one made, as for an agent that something else starts."""
        folder = stack.folder / "connected"
        stack.keystile("agent", "connect", name, "--folder", str(folder))
        return (folder / "oidc.jwt").read_text(encoding="ascii").strip()

    def to_try(self, sql: str) -> list[str]:
        """Explain the decision."""
        explain = "keystile policy explain --agent demo-agent"
        return [f"{explain} --project {PROJECT} --sql '{sql}'"]


class External:
    """The certified issuer `oidc-provider`, of which the gateway knows its address and claims.

    The agents are clients of it. A program of theirs asks it for a token, which Google's client
    exchanges at the gateway.
    """

    def __init__(self, issuer: Any) -> None:
        """Take the running issuer."""
        self._issuer = issuer
        trusted = {
            "issuer": issuer.url,
            "audiences": [_AUDIENCE],
            "attribute_mapping": {
                "google.groups": "assertion.groups",
                "attribute.purpose": "assertion.sub == 'support-agent' ? 'support' : ''",
            },
        }
        self.settings: dict[str, Any] = {"builtin_issuer": {"enabled": False}, "issuers": [trusted]}

    def register(self, stack: Stack) -> str:
        """Register nobody."""
        return f"{self._issuer.url} knows them, the gateway {len(_listed(stack))}"

    def options(self, stack: Stack, name: str) -> tuple[str, ...]:
        """Name the program, and the gateway by its address: its configuration is not needed."""
        client = stack.folder / f"{name}.json"
        endpoint = f"{self._issuer.url}/token"
        told = {"id": name, "secret": _SECRET, "token_endpoint": endpoint, "audience": _AUDIENCE}
        client.touch(mode=0o600)
        client.write_text(json.dumps(told, indent=2), encoding="utf-8")
        program = f"{sys.executable} {HERE / 'issuer_token.py'} {client}"
        return ("--gateway", stack.gateway, "--token-command", program)

    def token(self, stack: Stack, name: str) -> str:
        """Ask the issuer."""
        del stack
        token: str = self._issuer.token(name, _AUDIENCE)
        return token

    def to_try(self, sql: str) -> list[str]:
        """Give none: `keystile policy explain` is about agents that are registered."""
        del sql
        return []


def _listed(stack: Stack) -> list[str]:
    return [agent["name"] for agent in stack.keystile_json("agent", "list")]


@contextmanager
def vouching(issuer: str) -> Iterator[Vouching]:
    """Give the built-in issuer, or start an `external` one.

    Raises `AbsentError` where that cannot be had.
    """
    if issuer == "builtin":
        yield BuiltIn()
        return
    # Only this needs Node, and the development dependencies with which the proofs run.
    from prove.identity.issuer import Client, oidc_provider  # noqa: PLC0415

    with oidc_provider(dict.fromkeys(AGENTS, Client(_SECRET, (_GROUP,)))) as running:
        yield External(running)
