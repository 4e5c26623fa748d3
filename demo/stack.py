"""Starts a sandbox and a gateway as real processes, in a folder and on ports of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "acme-shop"
HERE = Path(__file__).resolve().parent
POLICY = HERE.parent / "examples" / "policy"
PROGRAM = (sys.executable, "-m", "keystile")
SANDBOX = (*PROGRAM, "sandbox")
_START_SECONDS = 120
_PREFERRED = {"gateway": 8420, "console": 8421, "sandbox": 8422}


class Stack(NamedTuple):
    """A running gateway: its folder, where its three servers answer, and its process."""

    folder: Path
    gateway: str
    console: str
    sandbox: str
    pid: int = 0

    @property
    def config(self) -> Path:
        """The gateway's configuration file."""
        return self.folder / "keystile.yaml"

    def keystile(self, *arguments: str, check: bool = True) -> str:
        """Run a `keystile` command against this gateway and give what it prints."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, timeout=120
        )
        if check and done.returncode:
            raise RuntimeError(f"keystile {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def keystile_json(self, *arguments: str) -> Any:
        """Run a `keystile` command with `--json` and give what it says."""
        return json.loads(self.keystile(*arguments, "--json"))

    def command(self, *arguments: str) -> list[str]:
        """Give the command line of a `keystile` command against this gateway."""
        at = arguments.index("--") if "--" in arguments else len(arguments)
        return [*PROGRAM, *arguments[:at], "--config", str(self.config), *arguments[at:]]

    def exchange(self, subject_token: str, audience: str) -> dict[str, Any]:
        """Ask the token endpoint for a gateway token, as Google's clients do (RFC 8693)."""
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": subject_token,
            "audience": audience,
        }
        try:
            with urlopen(f"{self.gateway}/v1/token", urlencode(form).encode(), timeout=10) as reply:
                answer: dict[str, Any] = json.load(reply)
        except HTTPError as refusal:
            answer = json.load(refusal)
        return answer

    def status_upstream(self, token: str) -> int:
        """Go past the gateway to BigQuery's stand-in with a token, and give the HTTP status."""
        address = f"{self.sandbox}/bigquery/v2/projects/{PROJECT}/datasets"
        request = Request(address, headers={"Authorization": f"Bearer {token}"})
        try:
            with urlopen(request, timeout=10) as reply:
                status: int = reply.status
        except HTTPError as refusal:
            status = refusal.code
        return status

    def agent(self, name: str, query: str, options: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start the sample agent under `keystile run`; it prints one JSON line."""
        program = (sys.executable, str(HERE / "agent.py"), query)
        arguments = ("run", "--agent", name, "--project", PROJECT, *options, "--", *program)
        return subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@contextmanager
def running(  # noqa: PLR0913 - what the demo and each proof have their own of
    folder: Path,
    *,
    preferred_ports: bool = False,
    policy: Path = POLICY,
    settings: Mapping[str, Any] | None = None,
    gateway: Sequence[str] = PROGRAM,
    sandbox: Sequence[str] = SANDBOX,
) -> Iterator[Stack]:
    """Start everything in `folder`; stop it at the end.

    The sandbox serves `folder/bigquery`, and fills it with the sample shop where it is not there.
    `settings` are further ones of the gateway's, `gateway` the command that stands for `keystile`
    when the gateway is started, `sandbox` the command that stands for BigQuery.
    """
    ports = {name: _port(_PREFERRED[name] if preferred_ports else 0) for name in _PREFERRED}
    gateway_url, console, sandbox_url = (f"http://127.0.0.1:{ports[name]}" for name in _PREFERRED)
    stack = Stack(folder, gateway_url, console, sandbox_url)
    _write_key(folder)
    _write_config(stack, ports, {"policy": str(policy), **(settings or {})})
    data = folder / "bigquery"
    sample = () if data.exists() else ("--sample",)
    served = (*sandbox, "--data", str(data), "--public-key", str(folder / "public.pem"), *sample)
    processes = [
        _start(folder / "sandbox.log", [*served, "--port", str(ports["sandbox"])]),
        _start(folder / "gateway.log", [*gateway, *stack.command("serve")[len(PROGRAM) :]]),
    ]
    try:
        _wait(f"{stack.gateway}/readyz", folder, processes)
        _wait(f"{stack.sandbox}/", folder, processes)
        yield stack._replace(pid=processes[1].pid)
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=15)


def _write_key(folder: Path) -> None:
    """Make the demo's Google service account.

    The gateway gets its key, BigQuery's stand-in its public half, and the agents nothing.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "client_email": f"keystile@{PROJECT}.iam.gserviceaccount.com",
        "private_key_id": "demo",
        "private_key": private.decode(),
    }
    file = folder / "service-account.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(account), encoding="utf-8")
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "public.pem").write_bytes(public)


def _write_config(stack: Stack, ports: dict[str, int], settings: Mapping[str, Any]) -> None:
    # JSON is YAML, and quotes every path rightly.
    config = {
        "gateway": {"port": ports["gateway"]},
        "console": {"port": ports["console"]},
        "upstream": {"endpoint": stack.sandbox, "service_account_file": "service-account.json"},
        **settings,
    }
    stack.config.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _port(preferred: int) -> int:
    for wanted in (preferred, 0):
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            port: int = listening.getsockname()[1]
            return port
    raise RuntimeError("no free port on 127.0.0.1")


def _start(log: Path, command: list[str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ
        )


def _wait(url: str, folder: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            break
        try:
            with urlopen(url, timeout=2):
                return
        except URLError as error:
            # Any answer, a refusal too, means that the server is up.
            if getattr(error, "code", 503) != 503:  # noqa: PLR2004 - "not ready yet"
                return
        except OSError:
            pass
        time.sleep(0.1)
    logs = "\n".join(file.read_text(errors="replace")[-2000:] for file in folder.glob("*.log"))
    raise RuntimeError(f"the servers did not start:\n{logs}")
