"""An open control store, an issuer with a key of its own, and settings that trust it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from keystile.config.identity import Identity, Issuer
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream
from keystile.store.database import Database

ISSUER = "https://issuer.test"
AUDIENCE = "//keystile/agents"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    store = Database(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    await store.open()
    yield store
    await store.close()


class FakeIssuer:
    """Signs what a test wants, also what no honest issuer would."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "k1"})

    def jwks(self) -> bytes:
        public = self.key.as_dict(private=False)
        return json.dumps({"keys": [public | {"use": "sig"}]}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Give claims; small times count from now, and `...` leaves a claim out."""
        now = int(time.time())
        for name, value in changes.items():
            if name in {"exp", "nbf", "iat"} and type(value) is int:
                changes[name] = now + value
        claims = {"iss": ISSUER, "sub": "agent-7", "aud": AUDIENCE, "iat": now, "exp": now + 60}
        return {name: value for name, value in (claims | changes).items() if value is not ...}

    def token(self, header: dict[str, Any] | None = None, **changes: Any) -> str:
        head = {"alg": "ES256", "kid": "k1"} | (header or {})
        return jwt.encode(head, self.claims(**changes), self.key, algorithms=["ES256"])

    def raw(self, header: bytes, payload: bytes) -> str:
        """Sign exactly these bytes."""
        parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload)]
        text = b".".join(parts)
        algorithm = jwt.JWSRegistry.algorithms["ES256"]
        signature = base64.urlsafe_b64encode(algorithm.sign(text, self.key)).rstrip(b"=")
        return (text + b"." + signature).decode()


@pytest.fixture(scope="session")
def issuer() -> FakeIssuer:
    return FakeIssuer()


@pytest.fixture
def settings(tmp_path: Path, issuer: FakeIssuer) -> Callable[..., Settings]:
    """Settings that trust the fake issuer by a JWKS file, with changes to `identity`."""
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(issuer.jwks())
    trusted = Issuer(
        issuer=ISSUER, audiences=[AUDIENCE], jwks_uri=jwks.as_uri(), algorithms=["ES256"]
    )

    def make(**identity: Any) -> Settings:
        return Settings(
            folder=tmp_path,
            upstream=Upstream(service_account_file="none"),
            identity=Identity(**({"issuers": [trusted]} | identity)),
        )

    return make
