"""Who vouches for the demo's agents: the issuer that the gateway runs, or a server of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from demo.stack import HERE, PROJECT, Stack

AGENTS = ("demo-agent", "support-agent")
_AGENT = HERE / "agent.py"
_GROUP = "coding-agents"
_SECRET = "not a secret"  # noqa: S105 - gone with the issuer, at the end
_AUDIENCE = "https://bigquery-gateway.example.com"


class Vouching(Protocol):
    """One way for the agents to have an identity; `settings` is the gateway's `identity`."""

    settings: dict[str, Any]

    def register(self, stack: Stack) -> str:
        """Make the agents known where they must be, and say who knows them."""
        ...

    def start(self, stack: Stack, name: str, *queries: str) -> subprocess.Popen[str]:
        """Start the sample agent; it prints one JSON line a query."""
        ...

    def token(self, stack: Stack, name: str) -> str:
        """Give an agent's own token."""
        ...

    def to_try(self, stack: Stack, sql: str) -> list[str]:
        """Give the commands by which a person asks a query as an agent."""
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

    def start(self, stack: Stack, name: str, *queries: str) -> subprocess.Popen[str]:
        """Start it under `keystile run`."""
        return stack.agent(name, *queries)

    def token(self, stack: Stack, name: str) -> str:
        """Have one made, as for an agent that something else starts."""
        folder = stack.folder / "connected"
        stack.keystile("agent", "connect", name, "--folder", str(folder))
        return (folder / "oidc.jwt").read_text(encoding="ascii").strip()

    def to_try(self, stack: Stack, sql: str) -> list[str]:
        """Explain the decision, and run."""
        del stack
        run = f"keystile run --agent demo-agent --project {PROJECT} -- python {_AGENT} '{sql}'"
        explain = "keystile policy explain --agent demo-agent"
        return [f"{explain} --project {PROJECT} --sql '{sql}'", run]


class External:
    """The certified issuer `oidc-provider`, of which the gateway knows nothing but its address.

    The agents are its clients. Each has a credential file of its own, by which Google's client asks
    the issuer for a token and exchanges it at the gateway; no `keystile` command has a part in it.
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

    def start(self, stack: Stack, name: str, *queries: str) -> subprocess.Popen[str]:
        """Start it with its credential file."""
        return subprocess.Popen(
            (sys.executable, str(_AGENT), *queries),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | self._environment(stack, name),
        )

    def token(self, stack: Stack, name: str) -> str:
        """Ask the issuer."""
        del stack
        token: str = self._issuer.token(name, _AUDIENCE)
        return token

    def to_try(self, stack: Stack, sql: str) -> list[str]:
        """Look at the credential file, and run with it."""
        environment = self._environment(stack, "demo-agent")
        variables = " ".join(f"{name}={value}" for name, value in environment.items())
        file = environment["GOOGLE_APPLICATION_CREDENTIALS"]
        return [f"cat {file}", f"{variables} python {_AGENT} '{sql}'"]

    def _environment(self, stack: Stack, name: str) -> dict[str, str]:
        folder = stack.folder / name
        folder.mkdir(exist_ok=True, mode=0o700)
        client, file = folder / "client.json", folder / "credential.json"
        secret = {"id": name, "secret": _SECRET, "audience": _AUDIENCE}
        client.write_text(json.dumps({"token_endpoint": f"{self._issuer.url}/token", **secret}))
        program = f"{sys.executable} {HERE / 'issuer_token.py'} {client}"
        credential = {
            "type": "external_account",
            "audience": "//keystile/agents",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{stack.gateway}/v1/token",
            "credential_source": {"executable": {"command": program, "timeout_millis": 30_000}},
        }
        file.write_text(json.dumps(credential, indent=2))
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(file),
            "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "BIGQUERY_EMULATOR_HOST": stack.gateway,
        }


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
