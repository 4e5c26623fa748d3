"""What the proof stands on: issuers that are trusted, and two gateways over one store and BigQuery.

One of the issuers is a server of its own; of the others only the keys are there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import requests
from demo.stack import POLICY, PROGRAM, PROJECT, Stack, running

from keystile.config.load import load
from keystile.config.settings import Settings
from prove.identity import forging, presets
from prove.identity.issuer import Client, Issuer, oidc_provider
from prove.names import free_port

AUDIENCE = presets.AUDIENCE
AGENT, LEDGER, BRIEF, DISMISSED, KILLED, LAPTOP = (
    "report-bot",
    "ledger-bot",
    "brief-bot",
    "dismissed-bot",
    "runaway-bot",
    "laptop",
)
"""Clients of the issuer: an agent, one that has a connection of its own to BigQuery, one whose
tokens end at once, two to be disabled, and a program of a person's."""

CONNECTION = "ledger"
"""The connection of that agent, which is to be added by command."""

SQL, MASKED = "SELECT ssn FROM shop.customers ORDER BY id LIMIT 1", "XXX-XX-XXXX"

_GROUP = "coding-agents"
_SECRET = "not a secret"  # noqa: S105 - as it says
_CLIENTS = {
    **dict.fromkeys((AGENT, LEDGER, DISMISSED, KILLED), Client(_SECRET, (_GROUP,))),
    BRIEF: Client(_SECRET, (_GROUP,), lifetime=1),
    LAPTOP: Client(groups=(_GROUP,)),
}
_COUNTED = re.compile(r'^(keystile_token_\w+)_total\{\w+="(\w+)"\} (\d+)', re.MULTILINE)
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_SECONDS = 60


class Gateway(NamedTuple):
    """One of the gateways."""

    url: str

    @property
    def token_url(self) -> str:
        """Where tokens are exchanged."""
        return f"{self.url}/v1/token"

    def exchange(self, token: str, proof: str = "", **more: str) -> requests.Response:
        """Exchange a token as Google's libraries do, or with more parameters and a DPoP proof."""
        form = {
            "grant_type": _GRANT,
            "audience": forging.OURS,
            "subject_token": token,
            "subject_token_type": _JWT,
            **more,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if proof:
            headers["dpop"] = proof
        return requests.post(self.token_url, urlencode(form), headers=headers, timeout=_SECONDS)

    def delegate(self, person: str, agent: str) -> requests.Response:
        """Exchange a person's token by an agent that acts for them."""
        return self.exchange(person, actor_token=agent, actor_token_type=_JWT)

    def bearer(self, token: str) -> str:
        """Exchange a token that is good, and give the gateway's own."""
        reply = self.exchange(token)
        if not reply.ok:
            raise RuntimeError(f"the token is refused: {reply.text}")
        issued: str = reply.json()["access_token"]
        return issued

    def query(self, bearer: str, sql: str = SQL) -> requests.Response:
        """Ask a query and wait for its rows."""
        return self._post(bearer, "queries", {"query": sql, "useLegacySql": False})

    def start(self, bearer: str, sql: str) -> requests.Response:
        """Begin a query's job."""
        query = {"query": sql, "useLegacySql": False}
        return self._post(bearer, "jobs", {"configuration": {"query": query}})

    def datasets(self, token: str, scheme: str = "Bearer", proof: str = "") -> requests.Response:
        """List the datasets."""
        headers = {"authorization": f"{scheme} {token}"} | ({"dpop": proof} if proof else {})
        return requests.get(self.method("datasets"), headers=headers, timeout=_SECONDS)

    def _post(self, bearer: str, method: str, body: Mapping[str, Any]) -> requests.Response:
        headers = {"authorization": f"Bearer {bearer}"}
        return requests.post(self.method(method), json=body, headers=headers, timeout=_SECONDS)

    def method(self, name: str) -> str:
        """Give the address of a method of BigQuery."""
        return f"{self.url}/bigquery/v2/projects/{PROJECT}/{name}"

    def counts(self, metric: str) -> dict[str, int]:
        """Give a metric of the token endpoint, by its label."""
        text = requests.get(f"{self.url}/metrics", timeout=_SECONDS).text
        return {
            label: int(count)
            for name, label, count in _COUNTED.findall(text)
            if name == f"keystile_token_{metric}"
        }


class Stage(NamedTuple):
    """Everything that stands; both gateways are one to their agents."""

    stack: Stack
    settings: Settings
    issuer: Issuer
    gateways: tuple[Gateway, Gateway]


@contextmanager
def standing(folder: Path) -> Iterator[Stage]:
    """Start everything in a folder. Raises `AbsentError` where the issuer cannot be had."""
    keys = folder / "keys"
    keys.mkdir()
    with oidc_provider(_CLIENTS) as issuer:
        trusted = {
            "issuer": issuer.url,
            "audiences": [AUDIENCE, LAPTOP],
            # An ID token has no groups; what a person lends is for the same rules.
            "attribute_mapping": {
                "google.groups": f"has(assertion.groups) ? assertion.groups : ['{_GROUP}']"
            },
        }
        others = [presets.trusted(one, keys) for one in presets.EXAMPLES]
        many = 1_000_000  # this proof is no flood
        identity = {
            "clock_skew": 0,
            "issuers": [trusted, *others, *forging.issuers(keys)],
            "limits": {"per_address": many, "per_agent": many, "failed_per_address": many},
        }
        settings = {"engine": {"workers": 1}, "identity": identity}
        with (
            running(folder, policy=_policy(folder), settings=settings) as stack,
            _replica(stack) as replica,
        ):
            gateways = Gateway(stack.gateway), Gateway(replica)
            yield Stage(stack, load(stack.config), issuer, gateways)


def _policy(folder: Path) -> Path:
    """Let each preset's agent read, if it is the one that the preset should make of its claims.

    One of the others has a connection of its own.
    """
    made = folder / "policy"
    shutil.copytree(POLICY, made)
    rules = [
        {
            "name": f"{one.preset}-reads",
            "agents": {
                "names": [one.principal["agent"]],
                "subjects": [one.principal["subject"]],
                "issuers": [one.issuer or one.claims["iss"]],
            },
            "resources": {"datasets": [f"{PROJECT}.shop"]},
            "allow": ["read"],
        }
        for one in presets.EXAMPLES
    ]
    own = {"name": "own-connection", "agents": {"names": [LEDGER]}, "connection": CONNECTION}
    (made / "proof.yaml").write_text(json.dumps({"rules": rules, "connections": [own]}))
    return made


@contextmanager
def _replica(stack: Stack) -> Iterator[str]:
    """Start a second gateway on the same store and recordings, and give its address."""
    port = free_port()
    document = json.loads(stack.config.read_text())
    # Both are one gateway to agents: one address, and so one issuer.
    document |= {
        "gateway": {"port": port},
        "console": {"port": free_port()},
        "public_url": stack.gateway,
    }
    file, url = stack.folder / "replica.yaml", f"http://127.0.0.1:{port}"
    file.write_text(json.dumps(document))
    log = stack.folder / "replica.log"
    with (
        log.open("ab") as said,
        subprocess.Popen(
            (*PROGRAM, "serve", "--config", str(file)),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        ) as process,
    ):
        try:
            _wait(url, process, log)
            yield url
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/readyz", timeout=_SECONDS).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the second gateway did not start:\n{log.read_text()[-2000:]}")
