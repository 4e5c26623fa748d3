"""Two sandboxes with the same shop, a gateway before one of them, and who may do what.

A client is sent to either by the same variables and the same kind of credential file.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from demo.stack import POLICY, PROJECT, SANDBOX, running
from google.auth import crypt, jwt

from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.identity.agents import Agents
from keystile.identity.builtin import builtin_issuer
from keystile.identity.connection import Connection
from keystile.identity.people import People
from keystile.sandbox.data import STORAGE
from keystile.sandbox.sample import write_sample
from keystile.store.database import Database
from prove.clients.tls import Authority
from prove.names import Certificate, Proxy, certificate, free_port
from prove.sent import strays_of

DOMAIN = "gateway.test"
"""By names of it the gateway has both of its APIs, as clients know Google's."""

WORKER, WAITER = "worker", "waiter"
"""The agent that does the common jobs, and the one whose queries wait for a person."""

_LAB, _BUCKET = "lab", "acme-shop-lab"
_NOT_OURS = ("GOOGLE_", "BIGQUERY_", "CLOUDSDK_", "GCE_")
_LIFETIME = 3600


class Secured(NamedTuple):
    """Where both ways give tokens over TLS, and the variables by which a program trusts that."""

    through: str
    past: str
    trusting: Mapping[str, str]


class Stage(NamedTuple):
    """What stands: the gateway's settings, the addresses of both ways, and what BigQuery got.

    `names` are variables by which a client finds the gateway by its names.
    """

    folder: Path
    settings: Settings
    direct: str
    tokens: str
    secured: Secured
    log: Path
    names: Mapping[str, str]

    def strays(self) -> list[str]:
        """Give all that the gateway sent to BigQuery with no right on record."""
        recordings = self.settings.path(self.settings.recording.folder)
        return [*map(str, asyncio.run(strays_of(recordings, self.log)))]

    def through(self, agent: str, session: str, *, tls: bool = False) -> dict[str, str]:
        """Give the environment of a program that goes through the gateway as an agent.

        With `tls` it takes its tokens over TLS.
        """
        token = builtin_issuer(self.settings).mint(agent, session)
        url, audience = self.settings.gateway_url, self.settings.identity.audience
        place = Connection(self.folder / session, url, audience)
        tokens = f"{self.secured.through if tls else url}/v1/token"
        return self._environment(place, token, tokens, tls=tls)

    def by_name(self, agent: str, session: str) -> dict[str, str]:
        """Give what `through` gives to a program that finds the Storage API too."""
        environment = self.through(agent, session)
        file = Path(environment["GOOGLE_APPLICATION_CREDENTIALS"])
        credential = {**json.loads(file.read_text()), "universe_domain": DOMAIN}
        file.write_text(json.dumps(credential, indent=2))
        return {**environment, **self.names}

    def past(self, session: str, *, tls: bool = False) -> dict[str, str]:
        """Give the environment of a program that goes straight to BigQuery."""
        place = Connection(self.folder / session, self.direct, "//google/itself")
        tokens = self.secured.past if tls else self.tokens
        return self._environment(place, "whoever asks", f"{tokens}/token", tls=tls)

    def _environment(
        self, place: Connection, token: str, tokens: str, *, tls: bool
    ) -> dict[str, str]:
        place.write(token)
        variables = place.environment(PROJECT)
        file = Path(variables["GOOGLE_APPLICATION_CREDENTIALS"])
        credential = {**json.loads(file.read_text()), "token_url": tokens}
        file.write_text(json.dumps(credential, indent=2))
        home = place.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_NOT_OURS) and not name.lower().endswith("_proxy")
        }
        trusting = self.secured.trusting if tls else {}
        return {**kept, "HOME": str(home), **variables, **trusting}


@contextmanager
def standing(folder: Path, policy: Mapping[str, str]) -> Iterator[Stage]:
    """Start everything; the gateway's policy is these files."""
    (folder / "policy").mkdir(parents=True)
    for name, text in policy.items():
        (folder / "policy" / name).write_text(text)
    identity = {"token_lifetime": _LIFETIME, "builtin_issuer": {"token_lifetime": _LIFETIME}}
    shown = certificate(folder, [f"bigquery.{DOMAIN}", f"bigquerystorage.{DOMAIN}"])
    storage = {
        "port": free_port(),
        "certificate_file": str(shown.certificate),
        "key_file": str(shown.key),
    }
    settings = {"engine": {"workers": 1}, "identity": identity, "storage": storage}
    for home in (folder / "bigquery", folder / "direct"):
        write_sample(home)
        (home / PROJECT / _LAB).mkdir()
        (home / STORAGE / _BUCKET).mkdir(parents=True)
    with ExitStack() as stack:
        files, log = folder / "policy", folder / "requests.ndjson"
        sandbox = (*SANDBOX, "--log", str(log))
        up = stack.enter_context(running(folder, policy=files, settings=settings, sandbox=sandbox))
        found = load(up.config)
        asyncio.run(_register(found))
        direct = stack.enter_context(_sandbox(folder / "direct", folder / "public.pem"))
        tokens = stack.enter_context(_google_tokens(folder / "service-account.json"))
        authority = Authority(folder)
        secured = Secured(
            stack.enter_context(authority.before(found.gateway_url)),
            stack.enter_context(authority.before(tokens)),
            authority.trusting,
        )
        names = stack.enter_context(_named(found, shown))
        yield Stage(folder / "agents", found, direct, tokens, secured, log, names)


@contextmanager
def _named(settings: Settings, shown: Certificate) -> Iterator[dict[str, str]]:
    """Lead the gateway's names to its ports, and give the variables by which clients go there."""
    plain = {f"bigquery.{DOMAIN}": settings.gateway.port}
    with Proxy(shown, plain, {f"bigquerystorage.{DOMAIN}": settings.storage.port}) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        yield {
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": DOMAIN,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(shown.root),
            "REQUESTS_CA_BUNDLE": str(shown.root),
            "HTTPS_PROXY": address,
            "https_proxy": address,
        }


async def _register(settings: Settings) -> None:
    database = Database(settings.database_url)
    await database.open()
    try:
        agents = Agents(database)
        await agents.create(WORKER, ["clients"], {}, "the proof")
        await agents.create(WAITER, ["clients"], {"waits": "yes"}, "the proof")
        await People(database).create("operator", ["data-stewards"])
    finally:
        await database.close()


def shop_policy(expires: float) -> dict[str, str]:
    """Give a policy under which the shop is masked, and a waiter's query expires so soon.

    `expires` is in seconds.
    """
    shop = [f"{PROJECT}.shop", f"{PROJECT}.analytics"]
    lab = [f"{PROJECT}.{_LAB}*"]
    clients = {"groups": ["clients"]}
    waits = {"agents": {"attributes": {"waits": "yes"}}}
    asks = {"from": ["data-stewards"], "count": 1}
    raw = {**asks, "expires": "30m", "unmask": ["pii.ssn"]}
    soon = {**asks, "expires": f"{expires:.0f}s", "unmask": ["pii.phone"]}
    everything = ["read", "write", "schema_change", "export", "external", "routine"]
    rules = [
        {
            "name": "shop",
            "agents": clients,
            "resources": {"datasets": shop},
            "allow": ["read", "export"],
        },
        {"name": "lab", "agents": clients, "resources": {"datasets": lab}, "allow": everything},
        {"name": "scripts", "agents": clients, "allow": ["script", "session"]},
        {**waits, "name": "ssn", "when": 'query.touches("pii.ssn")', "require_approval": raw},
        {**waits, "name": "phone", "when": 'query.touches("pii.phone")', "require_approval": soon},
    ]
    labels = (POLICY / "labels.yaml").read_text()
    return {"labels.yaml": labels, "rules.yaml": json.dumps({"rules": rules})}


@contextmanager
def _sandbox(data: Path, public_key: Path) -> Iterator[str]:
    """Serve the other sandbox, and give its address."""
    options = ("--data", str(data), "--port", "0", "--public-key", str(public_key))
    command = [*SANDBOX, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line.startswith("sandbox: http://"):
                raise RuntimeError(f"the sandbox did not start: {line}")
            yield line.split()[1]
        finally:
            server.terminate()


@contextmanager
def _google_tokens(key_file: Path) -> Iterator[str]:
    """Serve what Google's token exchange is without a gateway: a token of the account itself."""
    account = json.loads(key_file.read_text())
    signer = crypt.RSASigner.from_service_account_info(account)
    email = account["client_email"]

    class Exchange(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            now = int(time.time())
            claims = {
                "iss": email,
                "sub": email,
                "aud": "https://bigquery.googleapis.com/",
                "iat": now,
                "exp": now + _LIFETIME,
            }
            answer: dict[str, Any] = {
                "access_token": jwt.encode(signer, claims).decode(),
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": _LIFETIME,
            }
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Exchange) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
