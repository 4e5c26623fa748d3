"""Secrets are planted wherever one can stand, and looked for in all that is shown or kept."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import requests
import yaml
from aiohttp import web
from google.api_core import exceptions
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.support.authority import Authority
from tests.support.connect_proxy import connect_proxy
from tests.support.google import Google, Provider
from tests.support.played import Played
from tests.support.stack import PROJECT, Stack
from tests.support.vault import Vault

from keystile.identity.builtin import builtin_issuer

MASKING_KEY = "planted-masking-key-0123456789abcdef-fedcba"
PROXY_PASSWORD = "planted-at-the-proxy-8675309-jenny"
OTHERS = {
    "hurried": "impersonating",
    "modest": "federated",
    "stranger": "attached",
    "added": "added",
}
"""Which agent's queries run under which of the other connections."""

RAW = "SELECT ssn FROM shop.customers WHERE id < 4 ORDER BY id"

# Stands for `keystile`, and breaks with all secrets in its messages and its variables wherever
# something can break: in an answer, a callback, a task, a thread, and at the end of the process.
BREAKS = """
import asyncio, gc, os, threading
from keystile import cli
from keystile.gate.duties import Duties
from keystile.gate.metadata import Metadata

planted = open(os.environ["PLANTED_FILE"]).read()
stop = Duties.stop

async def models(self, *_):
    def broken():
        raise RuntimeError(planted)
    async def task():
        raise RuntimeError(planted)
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    asyncio.get_running_loop().call_soon(broken)
    asyncio.ensure_future(task())
    await asyncio.sleep(0.1)
    gc.collect()
    try:
        raise ValueError(planted)
    except ValueError as error:
        raise RuntimeError(planted, error) from error

async def stopped(self):
    await stop(self)
    raise RuntimeError(planted)

Metadata.models, Duties.stop = models, stopped
cli.main()
"""

# Stands for several runs of `keystile`, which take most of their time to start.
SEVERAL = """
import json, sys
from keystile import cli

codes = []
for sys.argv[1:] in json.loads(sys.argv[1]):
    try:
        cli.main()
    except SystemExit as end:
        codes.append(end.code or 0)
print()
print(json.dumps(codes))
"""


class Planted:
    """A stack with secrets in it, by what they are."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.secrets: dict[str, set[str]] = {}

    def plant(self, name: str, text: str) -> str:
        """Remember a secret: a PEM by its lines, any other text by itself and both of its ends."""
        if "-----BEGIN" in text:
            parts = {line for line in text.splitlines() if "-----" not in line and len(line) > 30}
        else:
            parts = {text, text[:20], text[-20:]}
        spelled = {part for one in parts for part in spellings(one)}
        self.secrets.setdefault(name, set()).update(spelled)
        return text

    def found(self, content: bytes) -> list[str]:
        """Name the secrets of which `content` has something."""
        text = content.decode("utf-8", "replace")
        named = [name for name, all_ in self.secrets.items() if any(one in text for one in all_)]
        return [*named, *self.stack.upstream_secrets(content)]


def spellings(text: str) -> set[str]:
    raw = text.encode()
    found = {text, json.dumps(text)[1:-1], quote(text, safe=""), raw.hex()}
    for start in range(3):  # base64 of what it may stand in
        encoded = base64.b64encode(b" " * start + raw).decode()
        whole = encoded[4 if start else 0 : len(encoded) // 4 * 4 - 4]
        found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return found


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with Vault(tmp_path_factory.mktemp("vault")) as server:
        yield server


@pytest.fixture
def front(tmp_path: Path) -> Iterator[tuple[Played, Authority, Stack]]:
    """BigQuery behind TLS that demands a certificate, and the stack that is to reach it."""
    authority = Authority(tmp_path)
    shown, key = authority.write("server")
    stack = Stack(
        tmp_path,
        planted=BREAKS,
        storage={"certificate_file": str(shown), "key_file": str(key)},
    )

    async def forward(request: web.Request) -> web.Response:
        url = stack.sandbox_url + request.raw_path
        kept = {"Authorization", "Content-Type", "If-None-Match"}
        headers = {name: value for name, value in request.headers.items() if name in kept}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, url, headers=headers, data=await request.read()
            ) as answer,
        ):
            body = await answer.read()
            return web.Response(status=answer.status, body=body, content_type="application/json")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.root)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(shown, key)
    with Played(forward, tls=context) as played:
        yield played, authority, stack


@pytest.fixture
def to_bigquery(front: tuple[Played, Authority, Stack]) -> Iterator[str]:
    """Give the address of a proxy that BigQuery is behind, which asks who comes."""
    played, authority, _ = front
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.write("proxy"))
    port = int(played.url.rpartition(":")[2])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def done(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    running = connect_proxy(port, "gateway", PROXY_PASSWORD, tls)
    proxy = done(running.__aenter__())
    yield proxy.url
    assert proxy.heads
    done(running.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def google() -> Iterator[Google]:
    with Google() as google:
        yield google


def more_accounts(
    planted: Planted, google: Google, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Give settings of connections whose tokens are of IAM, STS and the metadata server.

    BigQuery does not know them, so that their queries end in errors. One more is added by command.
    """
    stack, reports = planted.stack, "reports@acme-shop.iam.gserviceaccount.com"
    stack.account("added", "added@acme-shop.iam.gserviceaccount.com")
    file = stack.folder / "impersonator.json"
    google.account(file, "impersonator@acme-shop.iam.gserviceaccount.com")
    google.impersonators[reports] = {"impersonator@acme-shop.iam.gserviceaccount.com"}
    for one in (file, stack.folder / "added.json"):
        planted.plant(f"the key of {one.stem}", json.loads(one.read_text())["private_key"])
    google.attached = "attached@acme-shop.iam.gserviceaccount.com"
    monkeypatch.setenv("GCE_METADATA_HOST", google.metadata_host)
    issuer = RSAKey.generate_key(2048, {"kid": "k"})
    pool = "projects/1/locations/global/workloadIdentityPools/pool"
    audience = f"//iam.googleapis.com/{pool}/providers/cluster"
    google.providers[audience] = Provider("https://issuer.example", {"k": issuer})
    now = int(time.time())
    claims = {"iss": "https://issuer.example", "sub": "pod", "iat": now, "exp": now + 3600}
    claims["aud"] = f"https:{audience}"
    subject = jwt.encode({"alg": "RS256", "kid": "k"}, claims, issuer)
    (stack.folder / "subject.jwt").write_text(planted.plant("the subject token", subject))
    federated = {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{google.url}/v1/token",
        "credential_source": {"file": str(stack.folder / "subject.jwt")},
    }
    (stack.folder / "federated.json").write_text(json.dumps(federated))
    (stack.folder / "federated.json").chmod(0o600)
    entries = [
        {"name": f"as-{name}", "agents": {"names": [agent]}, "connection": name}
        for agent, name in OTHERS.items()
    ]
    (stack.folder / "policy" / "connections.yaml").write_text(
        yaml.safe_dump({"connections": entries})
    )
    return {
        "impersonating": {"service_account": {"file": str(file)}, "impersonate": reports},
        "federated": {"external_account_file": str(stack.folder / "federated.json")},
        "attached": {"metadata_server": True},
    }


@pytest.fixture
def planted(
    front: tuple[Played, Authority, Stack],
    vault: Vault,
    google: Google,
    to_bigquery: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Planted]:
    played, authority, stack = front
    planted = Planted(stack)
    shown, key = authority.write("gateway", "client")
    planted.plant("the client certificate's key", key.read_text())
    planted.plant("the server certificate's key", (stack.folder / "server-key.pem").read_text())
    planted.plant("the service account's key", stack._pem)
    vault.policy("gateway", "secret/data/gateway")
    vault.put(
        "gateway",
        masking=planted.plant("the masking key", MASKING_KEY),
        google=stack.key_file.read_text(),
    )
    token = planted.plant("Vault's token", vault.token("gateway"))
    planted.plant("Vault's root token", vault.root)
    monkeypatch.setenv("PLANTED_VAULT_TOKEN", token)
    monkeypatch.setenv(
        "PLANTED_BESIDE", planted.plant("the environment", "planted-in-the-environment-5309")
    )
    monkeypatch.setenv("PLANTED_FILE", str(stack.folder / "planted"))
    monkeypatch.setenv(
        "PLANTED_PROXY_PASSWORD", planted.plant("the proxy's password", PROXY_PASSWORD)
    )
    connections = more_accounts(planted, google, monkeypatch)
    stack.configure(
        masking_key=in_vault("masking"),
        vault={
            "address": vault.url,
            "ca_file": str(vault.ca_file),
            "token": {"environment": "PLANTED_VAULT_TOKEN"},
        },
        upstream={
            "service_account_file": "",
            "connections": {"default": {"service_account": in_vault("google")}, **connections},
            "iam_endpoint": google.url,
            "endpoint": played.url.replace("127.0.0.1", "localhost"),
            "ca_file": str(authority.root),
            "client_certificate_file": str(shown),
            "client_key_file": str(key),
            "proxy": {
                "address": to_bigquery,
                "user": "gateway",
                "password": {"environment": "PLANTED_PROXY_PASSWORD"},
                "ca_file": str(authority.root),
            },
        },
    )
    builtin_issuer(stack.settings).mint("reader", "first")  # makes the issuer's key
    planted.plant("the issuer's key", (stack.data / "issuer-key.pem").read_text())
    (stack.folder / "planted").write_text(
        "\n".join([stack._pem, token, MASKING_KEY, key.read_text(), os.environ["PLANTED_BESIDE"]])
    )
    try:
        stack.start()
        yield planted
    finally:
        stack.stop()


def test_no_planted_secret_is_shown_or_kept_anywhere(
    planted: Planted, vault: Vault, google: Google
) -> None:
    stack = planted.stack
    shown = [
        *ask(planted),
        *ask_as_others(planted, google),
        *console(planted),
        *break_down(planted),
        *commands(planted, vault),
    ]
    for name, content in shown:
        assert planted.found(content) == [], name
    for source in (stack.answers(), stack.left_behind()):
        for name, content in source:
            assert planted.found(content) == [], name
    for folder in (Path.cwd(), stack.folder, Path("/")):
        assert [*folder.glob("core*")] == []


def in_vault(field: str) -> dict[str, Any]:
    return {"vault": {"path": "gateway", "field": field}}


def ask(planted: Planted) -> Iterator[tuple[str, bytes]]:
    """Ask as agents do: queries, wrong ones, refused ones, one that waits for a person."""
    stack = planted.stack
    reader, support = stack.client("reader"), stack.client("support")
    hashed = "SELECT id, name, ssn FROM shop.customers ORDER BY id LIMIT 3"
    assert len([*reader.query_and_wait(hashed)]) == 3
    waiting = support.query(RAW)
    stack.approve(stack.waiting(support.session)[0].id)
    assert len([*waiting.result()]) == 3
    for sql in ("SELEC 1", "SELECT ERROR(name) FROM shop.customers", "DROP TABLE shop.orders"):
        with pytest.raises(exceptions.GoogleAPICallError):
            reader.query_and_wait(sql)
    for client in (reader, support):
        planted.plant("an agent's own token", client.oidc_token.rpartition(".")[2])
        planted.plant("a gateway token", client._credentials.token)
    for path in ("metrics", "readyz", "healthz", "issuer/jwks", "nothing", "v1/token"):
        answer = requests.get(f"{stack.url}/{path}", timeout=30)
        yield path, answer.content + str(answer.headers).encode()
    forged = {"Authorization": "Bearer ya29.nothing"}
    projects = requests.get(f"{stack.url}/bigquery/v2/projects", headers=forged, timeout=30)
    yield "a refusal", projects.content + str(projects.headers).encode()


def ask_as_others(planted: Planted, google: Google) -> Iterator[tuple[str, bytes]]:
    """Ask under connections whose tokens BigQuery refuses, and try and change connections."""
    stack = planted.stack
    stack.run("agent", "create", "added", "--group", "coding-agents")
    asked = "SELECT id FROM shop.customers"
    stack.client("added").query_and_wait(asked)
    for agent in OTHERS.keys() - {"added"}:
        client = stack.client(agent)
        with pytest.raises(exceptions.GoogleAPICallError) as caught:
            client.query_and_wait(asked, retry=None, job_retry=None)
        yield f"the error of {agent}", str(caught.value).encode()
    # One of IAM, of STS and of the metadata server each, so that none is looked for in vain.
    assert len({grant.principal for grant in google.tokens.values()}) == 3
    for number, token in enumerate(google.tokens):
        planted.plant(f"token {number} of Google", token)
    other_key = str(stack.folder / "impersonator.json")
    codes, printed = several(
        stack,
        ("connection", "list"),
        ("connection", "list", "--json"),
        *(("connection", "test", name) for name in OTHERS.values()),
        ("connection", "rotate", "added", "--key-file", other_key),
        ("connection", "remove", "added"),
    )
    assert codes == [0, 0, 1, 1, 1, 0, 1, 1], printed
    yield "commands on connections", printed.encode()


def console(planted: Planted) -> Iterator[tuple[str, bytes]]:
    """Look at every page as a person who signed in."""
    stack = planted.stack
    link = stack.json("console", "link", "--as", "operator")["url"]
    word = planted.plant("a sign-in link", link.rpartition("/")[2])
    visit, root = requests.Session(), stack.settings.people_url
    signed = visit.post(f"{root}/sign-in", {"token": word}, headers={"Origin": root}, timeout=30)
    assert signed.ok
    (cookie,) = visit.cookies
    planted.plant("a person's session", str(cookie.value))
    session = stack.sessions()[0]
    paths = ("approvals", "sessions", f"session?id={quote(session)}", "agents", "connections")
    for path in paths:
        page = visit.get(f"{root}/{path}", timeout=30)
        yield path, page.content


def break_down(planted: Planted) -> Iterator[tuple[str, bytes]]:
    """Break in every way: an answer and what is beside it, a worker of the engine, the process."""
    stack = planted.stack
    reader = stack.client("reader")
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        [*reader.list_models("shop")]
    yield "the answer of a fault", str(caught.value).encode()
    gateway = stack.pid("gateway")
    assert not_dumped(gateway)
    children = Path(f"/proc/{gateway}/task/{gateway}/children").read_text().split()
    for worker in map(int, children):
        assert not_dumped(worker)
        os.kill(worker, signal.SIGABRT)
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(exceptions.Forbidden):
            reader.query_and_wait("SELECT 1 AS one")
            break
        assert time.monotonic() < deadline
    os.kill(gateway, signal.SIGTERM)
    process = stack._processes.pop("gateway")
    assert process.wait(30) == 1
    lines = [json.loads(line) for line in stack.log.read_text().splitlines() if line[:1] == "{"]
    faults = [(line["event"], line["fault"]) for line in lines if "fault" in line]
    assert ("uncaught_fault", "RuntimeError") in faults
    assert ("Task exception was never retrieved", "RuntimeError") in faults
    assert len([fault for _, fault in faults if fault.endswith("RuntimeError")]) >= 5
    with stack.log.open("ab") as log:
        log.write(b"\n")
    stack.start_gateway()


def not_dumped(pid: int) -> bool:
    limits = Path(f"/proc/{pid}/limits").read_text()
    (line,) = [one for one in limits.splitlines() if one.startswith("Max core file size")]
    return line.split()[4:6] == ["0", "0"]


def commands(planted: Planted, vault: Vault) -> Iterator[tuple[str, bytes]]:
    """Run what shows something, and a gateway whose secrets are not as they should be."""
    stack = planted.stack
    session = stack.sessions()[0]
    explained = ("--agent", "reader", "--project", PROJECT, "--sql", "SELECT * FROM shop.customers")
    codes, printed = several(
        stack,
        ("agent", "list"),
        ("agent", "show", "reader"),
        ("person", "list"),
        ("approvals", "list"),
        ("sessions", "list"),
        ("sessions", "show", session),
        ("sessions", "replay", session),
        ("audit", "verify"),
        ("policy", "explain", *explained),
    )
    assert not any(codes), printed
    yield "commands that show something", printed.encode()
    vault.put(
        "gateway",
        masking=MASKING_KEY,
        long=f"{MASKING_KEY}{MASKING_KEY}",
        google=stack.key_file.read_text(),
    )
    no_key = {"file": str(broken(stack))}
    reached = {"address": vault.url, "ca_file": str(vault.ca_file)}
    wrong: dict[str, dict[str, Any]] = {
        "is 86 bytes long, not 32 to 64": {"masking_key": in_vault("long")},
        "is not a Google service-account key": {
            "upstream": {"connections": {"default": {"service_account": no_key}}}
        },
        "does not let the gateway sign in by `vault.token`": {
            "vault": {**reached, "token": no_key}
        },
        "has no such text for field `nothing`": {"masking_key": in_vault("nothing")},
    }
    started = list[tuple[str, ...]]()
    for number, sections in enumerate(wrong.values()):
        document = yaml.safe_load(stack.config.read_text())
        file = stack.folder / f"wrong-{number}.yaml"
        other = {"gateway": {"port": stack.port + 1}, **sections}
        file.write_text(yaml.safe_dump({**document, **other}))
        started.append(("serve", "--config", str(file)))
    codes, printed = several(stack, *started)
    assert codes == [1] * len(wrong)
    assert [words for words in wrong if words not in printed] == []
    yield "gateways that do not start", printed.encode()


def several(stack: Stack, *commands: tuple[str, ...]) -> tuple[list[int], str]:
    """Run commands one after the other in one process; give their exit codes and all they print."""
    given = json.dumps(
        [one if "--config" in one else (*one, "--config", str(stack.config)) for one in commands]
    )
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, given],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def broken(stack: Stack) -> Path:
    """Write a key file that is none, with the key in it."""
    file = stack.folder / "broken.json"
    file.write_text(json.dumps({"client_email": "a@b", "private_key": stack._pem[:-90]}))
    file.chmod(0o600)
    return file


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    planted = Planted(Stack(tmp_path))
    planted.plant("the key", planted.stack._pem)
    planted.plant("the word", MASKING_KEY)
    line = planted.stack._pem.splitlines()[3]
    assert "the key" in planted.found(f"error: {line}".encode())
    for said in (
        MASKING_KEY,
        f"cut off at {MASKING_KEY[:24]}…",
        f"…{MASKING_KEY[-24:]}",
        MASKING_KEY.encode().hex(),
        base64.b64encode(f"Authorization: {MASKING_KEY}".encode()).decode(),
        base64.b64encode(f"x {MASKING_KEY} y".encode()).decode(),
    ):
        assert planted.found(said.encode()) == ["the word"], said
    assert planted.found(b"nothing") == []
