"""Runs the programs that stand in the documentation, word for word."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from prove.clients.compare import Veil

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "connect-each-client.md"

_RUN_BY = {
    "python": ("python", "page.py"),
    "javascript": ("node", "page.cjs"),
    "java": ("java", "Page.java"),
    "sh": ("sh", "page.sh"),
}
_BUILT = {"go": ("page",)}
_SECONDS = 120.0
_SHOWN = ("id", "email", "ssn")
_ROWS = 3


def snippets() -> dict[str, tuple[str, str]]:
    """Give the language and text of the first block in each section of the page."""
    sections = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = {}
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        block = re.search(r"^```(\w+)\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)
        if block:
            found[name] = (block[1], block[2])
    return found


def page_fault(name: str, environment: Mapping[str, str], veil: Veil) -> str | None:
    """Run a client's program from the page as an agent, and say what is wrong with what it prints.

    It must print the first customers, masked. Gives None where the page has no program, but a file.
    """
    language, text = snippets()[name]
    command: tuple[str, ...]
    if language in _BUILT:
        command = _BUILT[language]
    elif language in _RUN_BY:
        program, file = _RUN_BY[language]
        Path(environment["HOME"], file).write_text(text, encoding="utf-8")
        command = (program, file)
    else:
        return None
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            cwd=environment["HOME"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        return f"the program on the page failed: {error}"
    if done.returncode:
        return f"the program on the page failed: {done.stderr.strip()[-400:]}"
    return printed_fault(done.stdout, veil)


def printed_fault(printed: str, veil: Veil) -> str:
    """Say whether a text lacks a value of the first customers, in order and masked."""
    at = 0
    for customer in veil.customers[:_ROWS]:
        for column in _SHOWN:
            wanted = str(veil.over(customer[column]))
            at = printed.find(wanted, at)
            if at < 0:
                return f"the program on the page prints {printed[:300]!r}, without {wanted!r}"
            at += len(wanted)
    if veil.over(printed) != printed:
        return f"the program on the page prints a raw value: {printed[:300]!r}"
    return ""
