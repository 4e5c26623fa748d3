from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from keystile.telemetry import logs

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9.c2lnbmF0dXJl"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_twice() -> None:
    try:
        {}["123-45-6789"]
    except KeyError as error:
        raise ValueError("bad value 123-45-6789") from error


def test_a_line_is_one_json_object_with_room_level_and_time() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    logs.logger("api").info("request", status=200)
    (line,) = lines(stream)
    assert line["room"] == "api"
    assert line["event"] == "request"
    assert line["level"] == "info"
    assert line["status"] == 200
    assert line["timestamp"].endswith("Z")


@given(st.text())
def test_no_text_can_forge_a_line(text: str) -> None:
    stream = io.StringIO()
    logs.configure(stream)
    logs.logger("api").info(text, agent=text)
    assert stream.getvalue().isascii()
    assert stream.getvalue().count("\n") == 1
    assert len(lines(stream)) == 1


@pytest.mark.parametrize(
    "text",
    [
        JWT,
        f"Bearer {JWT}",
        "bearer abc.def",
        "ya29.A0AfH6SMB-x_y",
        "ks_" + "aB3-_" * 8 + "xyz",
        PEM,
        PEM[:40],
    ],
)
def test_credentials_in_texts_are_scrubbed(text: str) -> None:
    stream = io.StringIO()
    logs.configure(stream)
    logs.logger("api").warning(f"said {text}", detail={"inner": [text]}, thing=ValueError(text))
    secret = text.rsplit(maxsplit=1)[-1] if "PRIVATE" not in text else "MIIE"
    assert secret not in stream.getvalue()
    assert logs.REDACTED in stream.getvalue()


@pytest.mark.parametrize(
    "name", ["token", "subject_token", "Authorization", "client_secret", "private_key", "password"]
)
def test_credentials_by_name_are_scrubbed(name: str) -> None:
    stream = io.StringIO()
    logs.configure(stream)
    logs.logger("api").warning("x", **{name: "opaque-1"}, headers={name: "opaque-2"})
    assert "opaque" not in stream.getvalue()


def test_a_fault_shows_its_types_and_places_but_no_message() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    try:
        fail_twice()
    except ValueError:
        logs.logger("api").exception("fault", id="f1")
    (line,) = lines(stream)
    assert line["fault"] == "KeyError < ValueError"
    assert line["frames"][0].startswith("telemetry/test_logs.py:")
    assert "123-45" not in stream.getvalue()


def test_libraries_write_the_same_lines() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("got %s\nforged", JWT)
    try:
        fail_twice()
    except ValueError:
        library.exception("failed")
    first, second = lines(stream)
    assert first["logger"] == "some.library"
    assert first["event"] == f"got {logs.REDACTED}\nforged"
    assert second["fault"] == "KeyError < ValueError"
    assert "123-45" not in stream.getvalue()


def test_the_level_is_kept() -> None:
    stream = io.StringIO()
    logs.configure(stream, "warning")
    logs.logger("api").info("quiet")
    assert stream.getvalue() == ""


CRASHES = {
    "a task that nobody waits for": """
async def main():
    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0.01)
    del task
    gc.collect()
""",
    "a callback": """
async def main():
    asyncio.get_running_loop().call_soon(functools.partial(raising, "123-45-6789"))
    await asyncio.sleep(0.01)
""",
    "a thread": """
async def main():
    thread = threading.Thread(target=raising, args=("x",))
    thread.start()
    thread.join()
""",
    "an object that goes": """
class Gone:
    def __del__(self):
        raising("x")

async def main():
    gone = Gone()
    del gone
""",
    "the process": """
async def main():
    await fail()
""",
}
CRASHING = """
import asyncio, functools, gc, sys, threading
import uvloop
from keystile.telemetry import logs

def raising(text):
    raise ValueError("bad value 123-45-6789")

async def fail():
    raising("x")
{crash}
logs.configure()
logs.report_crashes()
{runner}.run(main())
"""


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
@pytest.mark.parametrize("crash", CRASHES)
def test_no_crash_shows_what_is_in_its_message(crash: str, runner: str) -> None:
    program = CRASHING.format(crash=CRASHES[crash], runner=runner)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == ""
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["fault"] == "ValueError"
    assert any(frame.endswith("raising") for frame in line["frames"])
    assert "6789" not in done.stderr
    assert done.returncode == (1 if crash == "the process" else 0)
