"""Keys change under a sustained load of queries, those of an issuer and the gateway's own."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from prove.identity.stage import AGENT, AUDIENCE, CONNECTION, LEDGER, MASKED, Gateway, Stage

_QUERIES_A_TOKEN = 3
_NAMED, _GIVEN = (f"{name}@acme-shop.iam.gserviceaccount.com" for name in ("keystile", "ledger"))
_KNOWN = 3.0
"""Seconds until every gateway has a connection that was added."""
_GRACE = 2.0
"""Seconds until nobody uses what was there before: tokens are exchanged when they are made."""


class Rotated(NamedTuple):
    """What the load got: queries that were answered, and each fault in words."""

    queries: int
    rotations: int
    faults: list[str]


def rotated(stage: Stage, *, times: int, every: float) -> Rotated:
    """Change every kind of key so many times, with so many seconds between."""
    google = _Google(stage.stack.folder / "public.pem")
    named, given = (stage.stack.folder / f"{name}.json" for name in ("service-account", CONNECTION))
    _replace(named, google.new_key(_NAMED))
    _replace(given, google.new_key(_GIVEN))
    connection = (CONNECTION, "--key-file", str(given))
    stage.stack.keystile("connection", "add", *connection)
    time.sleep(_KNOWN)
    with _load(stage) as load:
        time.sleep(1)
        for _ in range(times):
            stage.issuer.rotate()
            # Of one connection the settings name the file, the other's key is given by command.
            _replace(named, google.new_key(_NAMED))
            _replace(given, google.new_key(_GIVEN))
            stage.stack.keystile("connection", "rotate", *connection)
            time.sleep(_GRACE)
            stage.issuer.withdraw()
            google.delete_old_keys()
            time.sleep(every)
    return Rotated(load.answered, 3 * times, load.faults)


class _Load:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._over = threading.Event()
        self.answered = 0
        self.faults: list[str] = []

    def stop(self) -> None:
        self._over.set()

    def work(self, gateway: Gateway, agent: str) -> None:
        """Sign in and ask, again and again."""
        while not self._over.is_set():
            reply = gateway.exchange(self._stage.issuer.token(agent, AUDIENCE))
            if not reply.ok:
                self.faults.append(f"exchange: {reply.text}")
                continue
            bearer = reply.json()["access_token"]
            for _ in range(_QUERIES_A_TOKEN):
                self._ask(gateway, bearer)

    def _ask(self, gateway: Gateway, bearer: str) -> None:
        try:
            reply = gateway.query(bearer)
        except requests.RequestException as error:
            self.faults.append(f"query: {error}")
            return
        if reply.ok and MASKED in reply.text:
            self.answered += 1
        else:
            self.faults.append(f"query: {reply.status_code} {reply.text[:300]}")


@contextmanager
def _load(stage: Stage) -> Iterator[_Load]:
    load = _Load(stage)
    who = [(gateway, agent) for gateway in stage.gateways for agent in (AGENT, LEDGER)]
    with ThreadPoolExecutor(len(who)) as pool:
        working = [pool.submit(load.work, *one) for one in who]
        try:
            yield load
        finally:
            load.stop()
    for one in working:
        one.result()


class _Google:
    """The keys of the gateway's accounts, as BigQuery's stand-in knows them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._newest: dict[str, bytes] = {}

    def new_key(self, account: str) -> bytes:
        """Make another key for an account, beside those that it has, and give its file."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._newest[account] = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _replace(self._file, self._file.read_bytes() + self._newest[account])
        made = {
            "type": "service_account",
            "client_email": account,
            "private_key_id": secrets.token_hex(8),
            "private_key": private.decode(),
        }
        return json.dumps(made).encode()

    def delete_old_keys(self) -> None:
        """Delete all keys but the newest of each account."""
        _replace(self._file, b"".join(self._newest.values()))


def _replace(file: Path, content: bytes) -> None:
    draft = file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(file)
