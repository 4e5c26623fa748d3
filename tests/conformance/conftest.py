from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import google.auth.transport.requests
import grpc
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import bigquery
from google.oauth2 import service_account
from tests.support.grpc_calls import WithMetadata

_ACCOUNT = "gateway@acme-shop.example.com"
_SCOPE = "https://www.googleapis.com/auth/bigquery"


class OfflineCredentials(service_account.Credentials):
    """google-auth's own, but for the look-up of a boundary at Google that it does beside."""

    def _build_regional_access_boundary_lookup_url(self, **_: object) -> None:
        return None


class Account(NamedTuple):
    private_pem: bytes
    public_file: Path

    def credentials(self, email: str = _ACCOUNT) -> service_account.Credentials:
        return OfflineCredentials.from_service_account_info(
            {
                "type": "service_account",
                "private_key_id": "k1",
                "private_key": self.private_pem.decode(),
                "client_email": email,
                "token_uri": "http://127.0.0.1:9/token",
            },
            always_use_jwt_access=True,
            scopes=[_SCOPE],
        )


def new_account(folder: Path) -> Account:
    key = rsa.generate_private_key(65537, 2048)
    public_file = folder / "public.pem"
    public_file.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Account(private, public_file)


class Sandbox(NamedTuple):
    url: str
    data: Path
    account: Account
    storage: str

    def client(self, **options: object) -> bigquery.Client:
        return bigquery.Client(
            project="acme-shop",
            credentials=self.account.credentials(),
            client_options={"api_endpoint": self.url},
            **options,
        )


@pytest.fixture
def other_account(tmp_path: Path) -> Account:
    """An account that the sandbox does not know; its public half is in `tmp_path`."""
    return new_account(tmp_path)


@pytest.fixture(scope="session")
def sandbox_command() -> list[str]:
    return [sys.executable, "-m", "keystile", "sandbox"]


@pytest.fixture(scope="session")
def sandbox(
    tmp_path_factory: pytest.TempPathFactory, sandbox_command: list[str]
) -> Iterator[Sandbox]:
    """A real server process on the sample data, with its own throwaway key."""
    folder = tmp_path_factory.mktemp("sandbox")
    account = new_account(folder)
    data = folder / "data"
    options = ["--data", str(data), "--sample", "--port", "0", "--storage-port", "0"]
    command = [*sandbox_command, *options, "--public-key", str(account.public_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith("sandbox: http://"), line
            second = server.stdout.readline()
            assert second.startswith("storage: "), second
            yield Sandbox(line.split()[1], data, account, second.split()[1])
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def lab(client: bigquery.Client) -> Iterator[str]:
    """A dataset of its own for a test that changes things."""
    name = f"lab_{uuid.uuid4().hex[:8]}"
    client.query_and_wait(f"CREATE SCHEMA {name}")
    yield name
    client.query_and_wait(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def call(sandbox: Sandbox) -> Callable[..., requests.Response]:
    """Ask the API by hand: `call("GET", "datasets/shop", …)`, in the project of the samples."""
    credentials = sandbox.account.credentials()
    credentials.refresh(google.auth.transport.requests.Request())

    def asked(method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {credentials.token}", **more.pop("headers", {})}
        url = f"{sandbox.url}/bigquery/v2/projects/acme-shop/{path}"
        return requests.request(method, url, headers=headers, timeout=30, **more)

    return asked


@pytest.fixture
def storage_address(sandbox: Sandbox) -> str:
    """Where the sandbox serves the Storage Read API."""
    return sandbox.storage


@pytest.fixture
def storage(sandbox: Sandbox) -> Iterator[Callable[[Any, Any], Any]]:
    """Make clients of the Storage API, which come in with the account's token: client, transport.

    The channel is plain, as the REST side is; so the token goes with each call by hand.
    """
    credentials = sandbox.account.credentials()
    credentials.refresh(google.auth.transport.requests.Request())
    bearer = (("authorization", f"Bearer {credentials.token}"),)
    with grpc.insecure_channel(sandbox.storage) as plain:
        channel = grpc.intercept_channel(plain, WithMetadata(bearer))
        yield lambda client, transport: client(transport=transport(channel=channel))


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[bigquery.Client]:
    with sandbox.client() as made:
        yield made
