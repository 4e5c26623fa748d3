"""A key is replaced in Vault while queries go on: none fails, and the old key may go."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from tests.support.google import write_key_file
from tests.support.stack import Stack, standing
from tests.support.vault import Vault

EMAIL = "keystile@acme-shop.iam.gserviceaccount.com"
_SECONDS = 60.0


class Asker(threading.Thread):
    """An agent that asks one query after the other until it is told to stop."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self._client = stack.client("reader")
        self.over = threading.Event()
        self.answered = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            # Another text each time, so that each is a job of BigQuery's.
            sql = f"SELECT id, {self.answered} AS n FROM shop.orders LIMIT 1"  # noqa: S608
            try:
                assert len([*self._client.query_and_wait(sql)]) == 1
                self.answered += 1
            except Exception as error:  # noqa: BLE001 - any of them fails the test, with its words
                self.problems.append(f"{type(error).__name__} {error}")


def test_a_key_that_is_replaced_in_vault_fails_no_query(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    stack, public = Stack(tmp_path / "stack"), tmp_path / "stack" / "public.pem"
    with Vault(tmp_path) as vault:
        vault.policy("gateway", "secret/data/gateway")
        vault.put("gateway", google=stack.key_file.read_text())
        (tmp_path / "token").write_text(vault.token("gateway"))
        stack.configure(
            vault={
                "address": vault.url,
                "ca_file": str(vault.ca_file),
                "token": {"file": str(tmp_path / "token")},
            },
            upstream={
                "service_account_file": "",
                "connections": {
                    "default": {
                        "service_account": {"vault": {"path": "gateway", "field": "google"}}
                    }
                },
            },
        )
        with standing(stack):
            askers = [Asker(stack), Asker(stack)]
            for asker in askers:
                asker.start()
            key = write_key_file(stack.key_file, EMAIL, "key-2")
            pem = key.raw_value.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            public.write_bytes(public.read_bytes() + pem)
            vault.put("gateway", google=stack.key_file.read_text())
            deadline = time.monotonic() + _SECONDS
            while '"key": "key-2"' not in stack.log.read_text():
                assert time.monotonic() < deadline, stack.log.read_text()
                time.sleep(0.2)
            public.write_bytes(pem)  # Google forgets the old key
            before = sum(asker.answered for asker in askers)
            time.sleep(3)
            for asker in askers:
                asker.over.set()
            for asker in askers:
                asker.join(30)
            assert [problem for asker in askers for problem in asker.problems] == []
            assert sum(asker.answered for asker in askers) > before > 0
