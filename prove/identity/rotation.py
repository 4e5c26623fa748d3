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

from prove.identity.stage import AGENT, AUDIENCE, MASKED, Gateway, Stage

_WORKERS = 4
_QUERIES_A_TOKEN = 3
_GRACE = 2.0
"""Seconds until nobody uses what was there before: tokens are exchanged when they are made."""


class Rotated(NamedTuple):
    """What the load got: queries that were answered, and each fault in words."""

    queries: int
    rotations: int
    faults: list[str]


def rotated(stage: Stage, *, times: int, every: float) -> Rotated:
    """Change both kinds of key so many times, with so many seconds between."""
    account = _Account(stage)
    with _load(stage) as load:
        time.sleep(1)
        for _ in range(times):
            stage.issuer.rotate()
            account.rotate()
            time.sleep(_GRACE)
            stage.issuer.withdraw()
            account.withdraw()
            time.sleep(every)
    return Rotated(load.answered, 2 * times, load.faults)


class _Load:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._over = threading.Event()
        self.answered = 0
        self.faults: list[str] = []

    def stop(self) -> None:
        self._over.set()

    def work(self, gateway: Gateway) -> None:
        """Sign in and ask, again and again."""
        while not self._over.is_set():
            reply = gateway.exchange(self._stage.issuer.token(AGENT, AUDIENCE))
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
    with ThreadPoolExecutor(_WORKERS) as pool:
        working = [pool.submit(load.work, stage.gateways[n % 2]) for n in range(_WORKERS)]
        try:
            yield load
        finally:
            load.stop()
    for one in working:
        one.result()


class _Account:
    """The gateway's service account as its owner has it: at Google, and in the key file."""

    def __init__(self, stage: Stage) -> None:
        self._file = stage.stack.folder / "service-account.json"
        self._known = stage.stack.folder / "public.pem"
        self._new = self._known.read_bytes()

    def rotate(self) -> None:
        """Make a second key, and put it in the place of the first, which is good still."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._new = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _replace(self._known, self._known.read_bytes() + self._new)
        account = json.loads(self._file.read_text(encoding="utf-8"))
        account |= {"private_key": private.decode(), "private_key_id": secrets.token_hex(8)}
        _replace(self._file, json.dumps(account).encode())

    def withdraw(self) -> None:
        """Delete the first key."""
        _replace(self._known, self._new)


def _replace(file: Path, content: bytes) -> None:
    draft = file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(file)
