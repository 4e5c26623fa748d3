from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from joserfc.util import urlsafe_b64decode
from typer.testing import CliRunner

from keystile.cli.agent import app as agent_app

GATEWAY = "https://gw.example.com"
Start = Callable[..., "subprocess.Popen[str]"]

# Prints what the child sees, then the subject token now and after it was renewed.
PROBE = """
import json, os, sys, time
name = os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
document = json.load(open(name))
token = document["credential_source"]["file"]
first, deadline = open(token).read(), time.monotonic() + 20
while open(token).read() == first and time.monotonic() < deadline:
    time.sleep(0.02)
folder = os.path.dirname(name)
modes = [oct(os.stat(place).st_mode & 0o777) for place in (folder, name, token)]
print(json.dumps([dict(os.environ), document, modes, first, open(token).read()]))
"""
# Says that it is ready, and ends with the number of the signal that it got.
TRAP = """
import os, signal, sys, time
# Plain writes: a signal may come while `print` is still at work, and that cannot be entered twice.
def say(text):
    os.write(1, f"{text}\\n".encode())
names = "TERM HUP INT QUIT USR1 USR2".split()
for name in names:
    number = getattr(signal, "SIG" + name)
    signal.signal(number, lambda got, _: (say(f"got {got}"), sys.exit(got)))
say("ready")
time.sleep(30)
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "keystile.yaml"
    file.write_text(
        "upstream: {service_account_file: key.json}\n"
        "identity: {builtin_issuer: {token_lifetime: 2}}\n"
    )
    made = CliRunner().invoke(agent_app, ["create", "bot", "--config", str(file)])
    assert made.exit_code == 0, made.output
    return file


@pytest.fixture
def start(config: Path, tmp_path: Path) -> Start:
    (tmp_path / "runtime").mkdir()

    def call(*command: str, stdin: int | IO[str] = subprocess.DEVNULL) -> subprocess.Popen[str]:
        environment = os.environ | {
            "KEYSTILE_CONFIG": str(config),
            "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "elsewhere.test",
            "KEPT": "as it was",
            "XDG_CONFIG_HOME": str(tmp_path / "home"),
        }
        code = "from keystile.cli.run import app; app()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *command],
            env=environment,
            text=True,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return call


def _left(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "runtime").iterdir())


def test_the_command_is_connected_and_its_token_stays_fresh(start: Start, tmp_path: Path) -> None:
    process = start("--agent", "bot", "--project", "acme-shop", "--", sys.executable, "-c", PROBE)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    environment, credential, modes, first, second = json.loads(stdout)
    assert environment["GOOGLE_CLOUD_PROJECT"] == "acme-shop"
    assert environment["BIGQUERY_EMULATOR_HOST"] == "http://127.0.0.1:8420"
    assert environment["KEPT"] == "as it was"
    assert "GOOGLE_CLOUD_UNIVERSE_DOMAIN" not in environment
    assert credential["type"] == "external_account"
    assert modes == ["0o700", "0o600", "0o600"]
    claims = [_claims(first), _claims(second)]
    assert claims[0]["sub"] == claims[1]["sub"] == "bot"
    # One run is one session; the fresh token came before the first one's end.
    assert claims[0]["sid"] == claims[1]["sid"]
    assert claims[0]["iat"] < claims[1]["iat"] <= claims[0]["exp"]
    assert _left(tmp_path) == []


def _claims(token: str) -> dict[str, int | str]:
    claims: dict[str, int | str] = json.loads(urlsafe_b64decode(token.split(".")[1].encode()))
    return claims


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_passes_through(start: Start, tmp_path: Path, code: int) -> None:
    # Without `--` too: what follows the command's name is the command's own.
    process = start("--agent", "bot", "sh", "-c", f"echo out; echo err >&2; exit {code}")
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (code, "out\n", "err\n")
    assert _left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_pass_through(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start("--agent", "bot", "--", sys.executable, "-c", TRAP)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    assert len(_left(tmp_path)) == 1
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (number, f"got {number.value}\n")
    assert _left(tmp_path) == []


def test_a_command_that_a_signal_ends_answers_as_in_a_shell(start: Start, tmp_path: Path) -> None:
    process = start("--agent", "bot", "--", "sh", "-c", "kill -KILL $$")
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert _left(tmp_path) == []


def test_a_terminals_interrupt_is_not_sent_twice(start: Start) -> None:
    ours, theirs = pty.openpty()
    process = start("--agent", "bot", "--", sys.executable, "-c", TRAP, stdin=theirs)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    # What a terminal would send to both arrives here at the parent alone, and stays there.
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=60)
    assert stdout == f"got {signal.SIGTERM.value}\n"
    os.close(ours)
    os.close(theirs)


def test_a_run_that_is_killed_leaves_nothing_for_long(start: Start, tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'import time; print(1, flush=True); time.sleep(60)'"
    killed = start("--agent", "bot", "--", "sh", "-c", f"echo $$; exec {command}")
    assert killed.stdout
    orphan = int(killed.stdout.readline())
    (left,) = _left(tmp_path)
    killed.kill()
    killed.wait(30)
    assert _left(tmp_path) == [left]
    os.kill(orphan, signal.SIGKILL)
    killed.communicate(timeout=30)
    process = start("--agent", "bot", "--", "ls", str(tmp_path / "runtime"))
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert left.name not in stdout
    assert _left(tmp_path) == []


def test_another_issuers_token_is_read_where_it_is(start: Start, tmp_path: Path) -> None:
    token = tmp_path / "ci.jwt"
    token.write_text("theirs")
    show = "import os; print(open(os.environ['GOOGLE_APPLICATION_CREDENTIALS']).read())"
    options = ("--agent", "ci", "--token-file", str(token))
    for gateway, url in (((), "http://127.0.0.1:8420"), (("--gateway", GATEWAY), GATEWAY)):
        process = start(*options, *gateway, "--", sys.executable, "-c", show)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        credential = json.loads(stdout)
        assert credential["credential_source"] == {"file": str(token)}
        assert credential["token_url"] == f"{url}/v1/token"
    assert token.read_text() == "theirs"
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("--agent", "bot", "--gateway", GATEWAY, "--", "true"), 1, "nobody vouches for"),
        (("--agent", "b", "--gateway", "http://gw.example", "--", "true"), 1, "encryption"),
        (("--agent", "bot", "--", "no-such-command"), 127, "cannot run `no-such-command`"),
        (("--agent", "bot", "--", "/"), 126, "cannot run `/`"),
        (("--agent", "ghost", "--", "true"), 1, "there is no agent `ghost`"),
    ],
)
def test_a_fault_is_one_clear_line(
    start: Start, tmp_path: Path, command: tuple[str, ...], code: int, message: str
) -> None:
    process = start(*command)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (code, "")
    assert message in stderr
    assert len(stderr.splitlines()) == 1
    assert _left(tmp_path) == []
