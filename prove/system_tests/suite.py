"""Fetches the tests: from the source archive of the client, as its lock names it by hash."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from prove.clients.catalog import Client
from prove.clients.environments import LOCKS, AbsentError, environment_of

SUITE = Client("system-tests", "python", ())
"""The environment in which the tests run; it holds the client and what the tests import."""

_PACKAGE = "google-cloud-bigquery"
_PINNED = re.compile(rf"^{_PACKAGE}==.*\\\n(?:    --hash=.*\n)+", re.MULTILINE)


def fetched(folder: Path) -> tuple[Path, Mapping[str, str]]:
    """Put the tests into a folder; give where they lie, and the variables that find the client.

    Raises `AbsentError` where either cannot be had.
    """
    found_by = environment_of(SUITE)
    with tempfile.TemporaryDirectory(prefix="keystile-source-") as archives:
        _download(Path(archives), found_by)
        (archive,) = Path(archives).glob("*.tar.gz")
        with tarfile.open(archive) as source:
            tests = [one for one in source.getmembers() if one.name.split("/")[1:2] == ["tests"]]
            source.extractall(folder, tests, filter="data")
    (tests_folder,) = folder.glob("*/tests/system")
    return tests_folder, found_by


def pinned() -> str:
    """Give the lines of the lock that say which source archive it is."""
    found = _PINNED.search((LOCKS / f"{SUITE.name}.txt").read_text())
    if found is None:
        raise AbsentError(f"the lock names no `{_PACKAGE}`")
    return found[0].rstrip("\\\n") + "\n"


def _download(archives: Path, found_by: Mapping[str, str]) -> None:
    wanted = archives / "wanted.txt"
    wanted.write_text(pinned())
    python = Path(found_by["PATH"].split(os.pathsep, maxsplit=1)[0]) / "python"
    # The archive is not built. pip asks it for its name and version all the same, with the locked
    # tools and no others.
    options = ("--require-hashes", "--no-deps", "--no-build-isolation", "--no-binary", _PACKAGE)
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check")
    done = subprocess.run(
        (python, "-m", "pip", "download", *quiet, *options, "-d", archives, "-r", wanted),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AbsentError(f"fetching the tests failed: {' '.join(done.stderr.split())[:400]}")
