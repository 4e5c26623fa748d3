"""Sandbox and gateway as real processes on free ports, with real clients and every byte they got.

The sandbox plays BigQuery. Its service-account key is thrown away with the folder.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import requests
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, identity_pool, jwt
from google.cloud import bigquery
from joserfc import jwt as jose
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from prove.sent import strays_of
from tests.support.forked import OURS, Forked, ran, start
from tests.support.google import write_key_file
from tests.support.stopping import hold

from keystile.approvals.requests import ApprovalRequest, Approvals, ApprovalState, Person
from keystile.config.load import load
from keystile.identity.agents import Agents
from keystile.identity.builtin import builtin_issuer
from keystile.identity.claims import session_id
from keystile.identity.connection import Connection
from keystile.identity.disabling import Disabled, Disablings, Target
from keystile.identity.people import People
from keystile.recording.reader import RecordingReader, SessionFilter
from keystile.recording.replay import Step, steps
from keystile.store.database import Database

ROOT = Path(__file__).parents[2]
PROJECT = "acme-shop"
AGENTS = {
    "reader": "",
    "stranger": "",
    "support": "support",
    "hurried": "hurry",
    "modest": "modest",
}
"""Every agent, all in the group `coding-agents`, and its attribute `purpose`."""

ResultT = TypeVar("ResultT")
_START_SECONDS = 60.0
_PORTS = range(12_000, 32_000)
_JWT = re.compile(rb"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")


class Seen(NamedTuple):
    """One exchange as a client had it; `text` is the whole body of the answer."""

    method: str
    path: str
    status: int
    text: str


class Client(bigquery.Client):  # type: ignore[misc]
    """The real client, unchanged, which also writes down what it got."""

    seen: list[Seen]
    session: str
    oidc_token: str


@contextmanager
def standing(stack: Stack) -> Iterator[Stack]:
    """Start a stack and stop it; nothing may have reached BigQuery meanwhile beside the record."""
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
    assert stack.strays() == []


class Stack:
    """A folder with everything, and the processes that stand on it."""

    def __init__(
        self,
        folder: Path,
        engine: Mapping[str, int] | None = None,
        planted: str = "",
        storage: Mapping[str, str] | None = None,
        rules: str = "",
    ) -> None:
        """Make keys and configuration, of the `engine` too; nothing runs yet.

        `planted` is a program that stands for `keystile` when the gateway is started. With
        `storage`, even an empty one, the Storage Read API is on, at `storage_port`. `rules` take
        the place of the demo's, whose labels and masks stay.
        """
        self.folder = folder
        self._planted = ("-c", planted) if planted else ("-m", "keystile")
        self.sandbox_port, self.port, self.console_port, self.storage_port = _free_ports(4)
        reads = {} if storage is None else {"storage": {"port": self.storage_port, **storage}}
        self.sandbox_url = f"http://127.0.0.1:{self.sandbox_port}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "keystile.yaml"
        self.data = folder / "data"
        self.recordings = folder / "recordings"
        self.log = folder / "gateway.log"
        self.sandbox_log = folder / "requests.ndjson"
        self.seen: list[Seen] = []
        self.accounts: dict[str, str] = {}
        self.key_file = folder / "key.json"
        self._processes: dict[str, Forked | subprocess.Popen[bytes]] = {}
        self._pem = _write_key(self.key_file, folder / "public.pem")
        self._write_policy()
        if rules:
            (folder / "policy" / "tests.yaml").unlink()
            (folder / "policy" / "rules.yaml").write_text(rules)
        self.config.write_text(
            yaml.safe_dump(
                {
                    "gateway": {"port": self.port},
                    "console": {"port": self.console_port},
                    "data": str(self.data),
                    "policy": "policy",
                    "upstream": {
                        "endpoint": self.sandbox_url,
                        "service_account_file": str(self.key_file),
                    },
                    "engine": {"workers": 1, **(engine or {})},
                    "recording": {"folder": str(self.recordings)},
                    **reads,
                }
            )
        )
        self.settings = load(self.config)
        self.with_store(self._register)

    def configure(self, **sections: Any) -> None:
        """Change settings before anything is started; what is in a section and not named stays."""
        document = yaml.safe_load(self.config.read_text())
        for name, given in sections.items():
            mixed = isinstance(given, dict) and isinstance(document.get(name), dict)
            document[name] = {**document[name], **given} if mixed else given
        self.config.write_text(yaml.safe_dump(document))
        self.settings = load(self.config)

    def account(self, name: str, email: str) -> None:
        """Give the gateway another connection, of an account that BigQuery knows by its own key.

        Both are there from the next start on.
        """
        key = write_key_file(self.folder / f"{name}.json", email, f"{name}-key")
        public = self.folder / f"{name}.pem"
        public.write_bytes(
            key.raw_value.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        self.accounts[email] = str(public)
        added = self.run("connection", "add", name, "--key-file", str(self.folder / f"{name}.json"))
        assert added.returncode == 0, added.stderr

    def start(self) -> None:
        """Start both processes side by side and wait until both answer."""
        self._spawn_gateway()
        self.start_sandbox()
        self._wait_until(self._gateway_ready)

    def start_sandbox(self) -> None:
        """Start the sandbox on its sample data."""
        sample = ("--sample",) if not (self.folder / "sandbox").exists() else ()
        self._spawn(
            "sandbox",
            *("-m", "keystile", "sandbox", "--log", str(self.sandbox_log)),
            *("--data", str(self.folder / "sandbox"), "--port", str(self.sandbox_port)),
            *("--public-key", str(self.folder / "public.pem"), *sample),
            *(word for one in self.accounts.items() for word in ("--account", "=".join(one))),
        )
        self._wait_until(lambda: requests.get(self.sandbox_url, timeout=30).status_code > 0)

    def start_gateway(self) -> None:
        """Start the gateway and wait until `/readyz` agrees."""
        self._spawn_gateway()
        self._wait_until(self._gateway_ready)

    def pid(self, name: str) -> int:
        """Give the number of a process."""
        return self._processes[name].pid

    def kill(self, name: str = "gateway") -> None:
        """Send SIGKILL: the process has no last word."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def pause(self, name: str) -> None:
        """Hold a process still; its connections stay open and nothing is answered."""
        hold(self._processes[name])

    def resume(self, name: str) -> None:
        """Let a held process go on."""
        self._processes[name].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End both processes."""
        for process in self._processes.values():
            process.terminate()
        for name, process in [*self._processes.items()]:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill(name)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `keystile` command with this stack's configuration."""
        command = ["-m", "keystile", *words, "--config", str(self.config)]
        with TemporaryDirectory() as folder:
            return ran(command, _environment(), Path(folder), timeout=60)

    def json(self, *words: str) -> Any:
        """Run a command that must succeed, and read its JSON."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start_replica(self) -> str:
        """Start a second gateway on the same store and recordings, and give its address."""
        port, console = _free_ports(2)
        document = yaml.safe_load(self.config.read_text())
        document |= {"gateway": {"port": port}, "console": {"port": console}}
        document.pop("storage", None)  # its port is taken
        file = self.folder / "replica.yaml"
        # Both are one gateway to agents: one address, and so one issuer.
        file.write_text(yaml.safe_dump(document | {"public_url": self.url}))
        self._spawn("replica", "-m", "keystile", "serve", "--config", str(file))
        url = f"http://127.0.0.1:{port}"
        self._wait_until(lambda: requests.get(f"{url}/readyz", timeout=30).ok)
        return url

    def client(
        self, agent: str, *, token: str = "", audience: str = "", endpoint: str = ""
    ) -> Client:
        """Connect as an agent does: by environment and credential file, with the real exchange.

        Give `token` or `audience` to connect wrongly, `endpoint` to connect to a replica.
        """
        word = uuid4().hex
        place = Connection(
            self.folder / "agents" / word, self.url, audience or self.settings.identity.audience
        )
        place.write(token or builtin_issuer(self.settings).mint(agent, word))
        environment = place.environment(PROJECT)
        credentials = identity_pool.Credentials.from_file(
            environment["GOOGLE_APPLICATION_CREDENTIALS"]
        )
        client = Client(
            project=PROJECT,
            credentials=credentials,
            client_options={"api_endpoint": endpoint or environment["BIGQUERY_EMULATOR_HOST"]},
        )
        client.session, client.seen = session_id(f"{self.url}/issuer", agent, word), []
        client.oidc_token = (place.folder / "oidc.jwt").read_text()
        client._http.hooks["response"].append(self._keeper(client))
        return client

    def token(self, **changes: Any) -> str:
        """Sign a token with the built-in issuer's own key; a claim of None is left out."""
        key = ECKey.import_key((self.data / "issuer-key.pem").read_bytes())
        now = int(time.time())
        claims = {
            "iss": f"{self.url}/issuer",
            "sub": "reader",
            "aud": self.settings.identity.audience,
            "iat": now,
            "exp": now + 600,
            "jti": uuid4().hex,
            "sid": uuid4().hex,
        } | changes
        header = {"alg": "ES256", "kid": key.thumbprint()}
        left = {name: value for name, value in claims.items() if value is not None}
        return jose.encode(header, left, key, algorithms=["ES256"])

    def waiting(self, session: str = "") -> list[ApprovalRequest]:
        """List what waits for a person, of one session or of all."""

        async def listed(database: Database) -> tuple[ApprovalRequest, ...]:
            return await Approvals(database).list(ApprovalState.PENDING)

        return [one for one in self.with_store(listed) if session in {"", one.session}]

    def approve(self, id_: str) -> None:
        """Vote as `keystile approvals approve` does, without the time that a command takes."""
        person = Person("operator", ("data-stewards",))

        async def voted(database: Database) -> ApprovalRequest:
            return await Approvals(database).vote(
                id_, person, approve=True, comment="", via="cli", now=time.time()
            )

        self.with_store(voted)

    def disable(self, agent: str) -> float:
        """Disable as `keystile agent disable` does; gives the moment, by the monotonic clock."""

        async def disabled(database: Database) -> Disabled:
            return await Disablings(database).disable(Target(agent), "operator", "cli")

        self.with_store(disabled)
        return time.monotonic()

    def with_store(self, work: Callable[[Database], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Do something with the control store, beside the processes that have it open."""

        async def opened() -> ResultT:
            database = Database(self.settings.database_url)
            await database.open()
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(opened())

    def steps(self, session: str) -> tuple[Step, ...]:
        """Read a session from the recordings."""
        reader = RecordingReader(self.recordings)
        return steps(asyncio.run(_ran(reader.session(session))))

    def sessions(self) -> list[str]:
        """List every recorded session."""
        page = asyncio.run(_ran(RecordingReader(self.recordings).sessions(SessionFilter())))
        return [session.id for session in page.sessions]

    def upstream(
        self, path: str, token: str = "", method: str = "GET", body: object = None
    ) -> requests.Response:
        """Ask the sandbox directly, as the service account or with another token."""
        bearer = {"Authorization": f"Bearer {token or self.bearer()}"}
        url = f"{self.sandbox_url}/bigquery/v2/projects/{PROJECT}/{path}"
        return requests.request(method, url, headers=bearer, json=body, timeout=30)

    def upstream_jobs(self) -> list[Any]:
        """List every job that BigQuery has, by its own account."""
        jobs: list[Any] = self.upstream("jobs?projection=full&allUsers=true").json()["jobs"]
        return jobs

    def strays(self) -> list[str]:
        """Name all that reached BigQuery, but for what tests asked it, with no right on record."""
        return [*map(str, asyncio.run(strays_of(self.recordings, self.sandbox_log)))]

    def left_behind(self) -> Iterator[tuple[str, bytes]]:
        """Yield all that the gateway wrote to disk: store, recordings and log, by name."""
        for root in (self.data, self.recordings):
            for file in sorted(root.rglob("*")):
                # The issuer's key and the masking key have their place here, and only here; so have
                # keys that commands add.
                is_key = file.name in {"masking-key", "issuer-key.pem"}
                if file.is_file() and not is_key and file.parent.parent.name != "connections":
                    yield str(file.relative_to(self.folder)), file.read_bytes()
        yield self.log.name, self.log.read_bytes()

    def answers(self) -> Iterator[tuple[str, bytes]]:
        """Yield every answer that any client of this stack has had, headers aside."""
        for seen in self.seen:
            yield f"{seen.method} {seen.path}", seen.text.encode()

    def upstream_secrets(self, content: bytes) -> list[str]:
        """Name what `content` has of the upstream credential or of the masking key."""
        found = []
        lines = self._pem.strip().splitlines()[1:-1]
        if any(line.encode() in content for line in lines):
            found.append("a line of the private key")
        masking = self.data / "masking-key"  # not there where another place is configured for it
        if masking.exists():
            spelled = _spellings(masking.read_bytes().strip())
            found += ["the masking key"] * any(one in content for one in spelled)
        public = RSAKey.import_key((self.folder / "public.pem").read_bytes())
        for token in set(_JWT.findall(content)):
            try:
                jose.decode(token.decode(), public, algorithms=["RS256"])
            except (JoseError, ValueError):
                continue
            found.append("a token signed by the service account")
        return found

    def _gateway_ready(self) -> bool:
        return requests.get(f"{self.url}/readyz", timeout=30).ok

    def _spawn_gateway(self) -> None:
        self._spawn("gateway", *self._planted, "serve", "--config", str(self.config))

    def _spawn(self, name: str, *words: str) -> None:
        log = self.folder / f"{name}.log"
        self._processes[name] = start(words, _environment(), log, log)

    def _wait_until(self, holds: Any) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise AssertionError((self.folder / f"{name}.log").read_text())
            try:
                if holds():
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
        raise AssertionError("not ready in time")

    def _keeper(self, client: Client) -> Any:
        def keep(response: requests.Response, *_: object, **__: object) -> None:
            method = str(response.request.method)
            seen = Seen(method, response.request.path_url, response.status_code, response.text)
            client.seen.append(seen)
            self.seen.append(seen)

        return keep

    def bearer(self) -> str:
        """Sign a token as the service account does, which BigQuery accepts."""
        info = json.loads(self.key_file.read_text())
        signer = crypt.RSASigner.from_service_account_info(info)
        now, who = int(time.time()), info["client_email"]
        aud = "https://bigquery.googleapis.com/"
        claims = {"iss": who, "sub": who, "aud": aud, "iat": now, "exp": now + 600}
        token: bytes = jwt.encode(signer, claims)
        return token.decode()

    def _write_policy(self) -> None:
        shutil.copytree(ROOT / "examples" / "policy", self.folder / "policy")
        hurried = {
            "name": "raw-ssn-in-a-hurry",
            "agents": {"attributes": {"purpose": "hurry"}},
            "when": 'query.touches("pii.ssn")',
            "require_approval": {
                "from": ["data-stewards"],
                "count": 1,
                "expires": "2s",
                "unmask": ["pii.ssn"],
            },
        }
        modest = {
            "name": "no-ssn-for-the-modest",
            "agents": {"attributes": {"purpose": "modest"}},
            "when": 'query.touches("pii.ssn")',
            "deny": ["read"],
        }
        scripts = {
            "name": "coding-agents-run-scripts",
            "agents": {"groups": ["coding-agents"]},
            "allow": ["script", "session"],
        }
        text = yaml.safe_dump({"rules": [hurried, modest, scripts]})
        (self.folder / "policy" / "tests.yaml").write_text(text)

    async def _register(self, database: Database) -> None:
        agents = Agents(database)
        for name, purpose in AGENTS.items():
            attributes: Mapping[str, str] = {"purpose": purpose} if purpose else {}
            await agents.create(name, ["coding-agents"], attributes, "tests")
        await People(database).create("operator", ["data-stewards"])


async def _ran(work: Coroutine[Any, Any, Any]) -> Any:
    return await work


def _environment() -> dict[str, str]:
    return {**os.environ, **OURS}


def _free_ports(count: int) -> list[int]:
    """Choose free ports below those that the system gives to connections by itself.

    A port that was bound only to be found free can be given to the next connection, or to the tests
    that run beside, before its server binds it; chosen at random, two of a kind are rare.
    """
    ports = set[int]()
    while len(ports) < count:
        port = secrets.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return [*ports]


def _write_key(key_file: Path, public_file: Path) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "client_email": "keystile@acme-shop.iam.gserviceaccount.com",
        "private_key_id": "key-1",
        "private_key": pem,
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    key_file.write_text(json.dumps(account))
    key_file.chmod(0o600)
    public_file.write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return pem


def _spellings(key: bytes) -> set[bytes]:
    """Give every way to write a key of HMAC, and what the gateway makes of it (RFC 2104)."""
    padded = key.ljust(64, b"\0")
    values = (key, *(bytes(byte ^ pad for byte in padded) for pad in (0x36, 0x5C)))
    found: set[bytes] = set()
    for value in values:
        escaped = "".join(f"\\x{byte:02x}" for byte in value).encode()
        encoded = base64.b64encode(value)
        found |= {value, value.hex().encode(), value.hex().upper().encode(), escaped}
        # As it stands in JSON that escapes slashes, and in an address.
        found |= {encoded, encoded.replace(b"/", b"\\/"), base64.urlsafe_b64encode(value)}
    return found
