"""The certified issuer `oidc-provider` as a process: an external issuer for tests, proofs, the demo.

    with oidc_provider({"report-bot": Client(secret="…", groups=["analytics"]), "laptop": Client()}) as issuer:
        issuer.url                                # `issuer` of `identity.issuers`; has discovery and keys
        issuer.token("report-bot", AUDIENCE)      # a JWT access token (RFC 9068) by client credentials
        issuer.lent("laptop", "a-person", AUDIENCE)     # the device flow, both sides of it
        issuer.sign_in(verification_uri_complete, "a-person")   # what the person does in the browser
        issuer.rotate(); issuer.withdraw()        # a new key signs; the old ones are published no more

A client with a secret gets tokens by client credentials; one without is a program on a person's machine,
and uses the device flow (RFC 8628) with `offline_access` for a refresh token. Audiences are resource
indicators (RFC 8707), any absolute URI; a client that asks for the scope `openid` gets an ID token too,
whose audience is the client. Installed from npm as the clients of `script/prove clients` are.
"""  # noqa: E501 - the sample is read as code

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import requests

from prove.clients.catalog import Client as Installed
from prove.clients.environments import environment_of

_PROGRAM = Path(__file__).with_suffix(".cjs")
_NPM = Installed("oidc-provider", "node", ())
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_LENT = "openid offline_access bigquery"
_SECONDS = 30
_PAGES = 8


class Client(NamedTuple):
    """A client of the issuer; `lifetime` is that of its tokens in seconds.

    `may_act` is who may act on its access tokens (RFC 8693 section 4.4).
    """

    secret: str = ""
    groups: tuple[str, ...] = ()
    lifetime: int = 600
    may_act: Mapping[str, str] | None = None


class Issuer:
    """A running issuer."""

    def __init__(self, clients: Mapping[str, Client], process: subprocess.Popen[str]) -> None:
        """Take the process, which has yet to say its first word."""
        self._clients = clients
        self._process = process
        self._to: Any = process.stdin
        self._from: Any = process.stdout
        self.url: str = self._said()["issuer"]

    def token(self, client: str, audience: str, *, scope: str = "bigquery") -> str:
        """Give a client's own access token for an audience."""
        form = {"grant_type": "client_credentials", "resource": audience, "scope": scope}
        secret = (client, self._clients[client].secret)
        reply = requests.post(f"{self.url}/token", form, auth=secret, timeout=_SECONDS)
        reply.raise_for_status()
        token: str = reply.json()["access_token"]
        return token

    def lent(self, client: str, person: str, audience: str) -> dict[str, str]:
        """Go through the device flow as a client and a person, and give the client's tokens.

        They are its `access_token`, `id_token` and `refresh_token`.
        """
        asked = {"client_id": client, "resource": audience, "scope": _LENT}
        device = requests.post(f"{self.url}/device/auth", asked, timeout=_SECONDS).json()
        self.sign_in(device["verification_uri_complete"], person)
        form = {"grant_type": _DEVICE, "client_id": client, "device_code": device["device_code"]}
        reply = requests.post(f"{self.url}/token", form, timeout=_SECONDS)
        reply.raise_for_status()
        tokens: dict[str, str] = reply.json()
        return tokens

    def sign_in(self, address: str, person: str) -> None:
        """Open the address of a device's code as a person, sign in and agree.

        Raises `RuntimeError` where that ends anywhere but in success.
        """
        with requests.Session() as browser:
            page = browser.get(address, timeout=_SECONDS)
            for _ in range(_PAGES):
                form = _Form()
                form.feed(page.text)
                if form.action is None:
                    break
                typed = form.fields | ({"login": person} if "login" in form.fields else {})
                page = browser.post(urljoin(page.url, form.action), typed, timeout=_SECONDS)
        if "Sign-in Success" not in page.text:
            raise RuntimeError(f"signing in ended with {page.status_code} at {page.url}")

    def rotate(self) -> list[str]:
        """Have a new key sign, and give the ids of all published keys, the new one first."""
        return self._told("rotate")

    def withdraw(self) -> list[str]:
        """Publish only the key that signs."""
        return self._told("withdraw")

    def _told(self, command: str) -> list[str]:
        print(command, file=self._to, flush=True)
        keys: list[str] = self._said()["keys"]
        return keys

    def _said(self) -> Any:
        line = self._from.readline()
        if not line:
            raise RuntimeError(f"the issuer ended with {self._process.wait(_SECONDS)}")
        return json.loads(line)


@contextmanager
def oidc_provider(clients: Mapping[str, Client], port: int = 0) -> Iterator[Issuer]:
    """Run an issuer with these clients, by their names, on a port of this machine.

    Raises `AbsentError` where it cannot be had.
    """
    told = {"port": port, "clients": {name: one._asdict() for name, one in clients.items()}}
    command = ("node", str(_PROGRAM), json.dumps(told))
    environment = os.environ | environment_of(_NPM)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Issuer(clients, process)
        finally:
            process.terminate()


class _Form(HTMLParser):
    """The first form of a page: where it goes, and its fields as they stand."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        had = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = had["action"]
        elif tag == "input" and had.get("name"):
            self.fields[str(had["name"])] = had.get("value") or ""
