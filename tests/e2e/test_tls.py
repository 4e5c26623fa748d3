"""A gateway that speaks TLS at every port, known to clients by names of its own."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
import yaml
from google.auth import identity_pool
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import bigquery
from prove.names import Certificate, Proxy, certificate
from tests.support.authority import Authority, der
from tests.support.stack import PROJECT, Stack, standing

from keystile.config.load import load
from keystile.identity.builtin import builtin_issuer
from keystile.identity.connection import Connection

_DOMAIN = "gw.test"
_NAMES = [f"bigquery.{_DOMAIN}", f"bigquerystorage.{_DOMAIN}"]
_PROGRAM = """
import json, warnings
warnings.simplefilter("ignore")
from google.cloud import bigquery

client = bigquery.Client()
few = [dict(row) for row in client.query("SELECT ssn FROM shop.customers LIMIT 2").result()]
listed = client.list_rows("shop.customers").to_arrow()
print(json.dumps([few, listed.num_rows, sorted({*listed.column("ssn").to_pylist()})]))
"""


class SecureStack(Stack):
    """A stack whose gateway has a certificate for its names and for this machine."""

    def __init__(self, folder: Path, shown: Certificate, clients: Path | None = None) -> None:
        """With `clients`, an authority of theirs, tokens are bound to a client's certificate."""
        files = {"certificate_file": str(shown.certificate), "key_file": str(shown.key)}
        super().__init__(folder, storage=files)
        self._root = str(shown.root)
        chosen = yaml.safe_load(self.config.read_text())
        for name in ("gateway", "console"):
            chosen[name] |= files
        if clients:
            chosen["gateway"]["client_ca_file"] = str(clients)
            chosen["identity"] = {"builtin_issuer": {"sender_constraint": "mtls"}}
        chosen["public_url"] = f"https://{_NAMES[0]}"
        self.config.write_text(yaml.safe_dump(chosen))
        self.settings = load(self.config)

    def get(self, port: int, path: str, **options: object) -> requests.Response:
        return requests.get(  # type: ignore[no-any-return, call-overload, unused-ignore]
            f"https://127.0.0.1:{port}{path}", verify=self._root, timeout=30, **options
        )

    def _gateway_ready(self) -> bool:
        return self.get(self.port, "/readyz").ok


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("names"), _NAMES)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, shown: Certificate) -> Iterator[SecureStack]:
    secure = SecureStack(tmp_path_factory.mktemp("stack"), shown)
    with standing(secure):
        yield secure


def test_keystile_run_gives_an_unchanged_program_both_apis(
    stack: SecureStack, shown: Certificate, protected: dict[str, str]
) -> None:
    ports = {_NAMES[0]: stack.port, _NAMES[1]: stack.storage_port}
    with Proxy(shown, {}, ports) as proxy:
        environment = {
            **os.environ,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(shown.root),
            "REQUESTS_CA_BUNDLE": str(shown.root),
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
            "https_proxy": f"http://127.0.0.1:{proxy.port}",
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "elsewhere.test",
        }
        words = ("run", "--agent", "reader", "--project", PROJECT, "--config", str(stack.config))
        command = [sys.executable, "-m", "keystile", *words, "--", sys.executable, "-c", _PROGRAM]
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert proxy.refused == []
        assert {*proxy.led} == {*_NAMES}
    few, count, numbers = json.loads(ran.stdout)
    assert few == [{"ssn": "XXX-XX-XXXX"}] * 2
    assert (count, numbers) == (200, ["XXX-XX-XXXX"])
    assert [value for value in protected if value in ran.stdout] == []


class Binding(NamedTuple):
    """A gateway that binds tokens, and certificates, with their keys, of two of its clients."""

    stack: SecureStack
    mine: tuple[str, str]
    thiefs: tuple[str, str]


@pytest.fixture(scope="module")
def binding(tmp_path_factory: pytest.TempPathFactory, shown: Certificate) -> Iterator[Binding]:
    authority = Authority(tmp_path_factory.mktemp("clients"))
    files = [authority.write(name, "client") for name in ("mine", "thiefs")]
    mine, thiefs = [(str(certificate), str(key)) for certificate, key in files]
    stack = SecureStack(tmp_path_factory.mktemp("binding"), shown, authority.root)
    with standing(stack):
        yield Binding(stack, mine, thiefs)


def test_a_stolen_token_is_no_good_without_the_certificate_that_it_is_bound_to(
    binding: Binding,
) -> None:
    stack = binding.stack
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": stack.settings.identity.audience,
        "subject_token": builtin_issuer(stack.settings).mint("reader", "run"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }

    def exchanged(cert: tuple[str, str] | None) -> requests.Response:
        url = f"https://127.0.0.1:{stack.port}/v1/token"
        return requests.post(url, form, verify=stack._root, cert=cert, timeout=30)

    refused, taken = exchanged(None), exchanged(binding.mine)
    assert (refused.status_code, taken.status_code) == (400, 200), taken.text
    headers = {"Authorization": f"Bearer {taken.json()['access_token']}"}
    path = f"/bigquery/v2/projects/{PROJECT}/datasets"
    answers = [
        stack.get(stack.port, path, headers=headers, cert=cert).status_code
        for cert in (binding.mine, binding.thiefs, None)
    ]
    assert answers == [200, 401, 401]


def test_googles_client_shows_the_certificate_that_its_sessions_have(
    binding: Binding, tmp_path: Path
) -> None:
    stack, exchange = binding.stack, requests.Session()
    connection = Connection(
        tmp_path, f"https://127.0.0.1:{stack.port}", stack.settings.identity.audience
    )
    connection.write(builtin_issuer(stack.settings).mint("reader", "run-bound"))
    credentials = identity_pool.Credentials.from_file(
        connection.environment("")["GOOGLE_APPLICATION_CREDENTIALS"],
        scopes=["https://www.googleapis.com/auth/bigquery"],
    )
    session = AuthorizedSession(credentials, auth_request=Request(exchange))
    for one in (exchange, session):
        one.trust_env, one.verify, one.cert = False, stack._root, binding.mine
    options = {"api_endpoint": connection.gateway_url}
    client = bigquery.Client(PROJECT, _http=session, client_options=options)
    rows = list(client.query("SELECT ssn FROM shop.customers LIMIT 1").result())
    assert [row.ssn for row in rows] == ["XXX-XX-XXXX"]


def test_the_console_is_for_tls_alone(stack: SecureStack) -> None:
    port = stack.console_port
    made = stack.json("console", "link", "--as", "operator")
    page = stack.get(port, "/sign-in")
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    link = made["url"]
    assert link.startswith(f"https://127.0.0.1:{port}/")
    answer = requests.post(
        f"https://127.0.0.1:{port}/sign-in",
        data={"token": link.rpartition("/")[2]},
        headers={"Origin": f"https://127.0.0.1:{port}"},
        verify=stack._root,
        allow_redirects=False,
        timeout=30,
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-keystile=")
    assert "; secure" in cookie.lower()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/sign-in", timeout=30)


def test_a_renewed_certificate_is_shown_at_every_port_and_no_connection_breaks(
    stack: SecureStack, shown: Certificate, tmp_path: Path
) -> None:
    ports = (stack.port, stack.console_port, stack.storage_port)
    renewed = certificate(tmp_path, _NAMES)
    before = {port: _shown(port) for port in ports}
    with requests.Session() as session:
        session.verify, session.trust_env = str(shown.root), False
        assert session.get(f"https://127.0.0.1:{stack.port}/healthz", timeout=30).ok
        for new, old in ((renewed.key, shown.key), (renewed.certificate, shown.certificate)):
            shutil.copy(new, old)
        deadline = time.monotonic() + 30
        while {_shown(port) for port in ports} != {der(renewed.certificate)}:
            assert time.monotonic() < deadline
            # With the old root only the connection that was there can go on.
            assert session.get(f"https://127.0.0.1:{stack.port}/healthz", timeout=30).ok
            time.sleep(0.1)
        assert session.get(f"https://127.0.0.1:{stack.port}/healthz", timeout=30).ok
    assert len({*before.values(), der(renewed.certificate)}) == 2
    shutil.copy(renewed.root, shown.root)
    page = stack.get(stack.port, "/metrics").text
    assert page.count("keystile_certificate_expiry_timestamp_seconds{at=") == 3
    assert '"certificate_renewed"' in stack.log.read_text()


def _shown(port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=10))
