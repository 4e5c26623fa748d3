"""The clients that are tried, where each comes from, and the programs that do its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).resolve().parent / "programs"


class Client(NamedTuple):
    """A client, the kind of its environment, and its programs as lists of words.

    `small` are the programs that the repository's own environment can run.
    """

    name: str
    kind: str
    programs: tuple[tuple[str, ...], ...]
    small: tuple[tuple[str, ...], ...] = ()


def _python(name: str) -> tuple[str, ...]:
    return ("python", str(PROGRAMS / "python" / f"{name}.py"))


_GOOGLE = _python("google_cloud_bigquery")
_CURL = ("sh", str(PROGRAMS / "curl" / "curl.sh"))

CLIENTS = (
    Client("google-cloud-bigquery", "python", (_GOOGLE,), small=(_GOOGLE,)),
    Client("curl", "none", (_CURL,), small=(_CURL,)),
)
