"""Runs the tests one way, and says of each what became of it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

_SECONDS_A_TEST = 180


class Outcome(NamedTuple):
    """What became of one test: `passed`, `skipped` or `failed`, and why."""

    state: str
    reason: str = ""


def ran(
    tests: Path, environment: Mapping[str, str], only: Sequence[str] = ()
) -> dict[str, Outcome]:
    """Run the tests as a client with these variables, and give each one's outcome by its name.

    `only` are further words for pytest, such as `-k WORD`.
    """
    report = Path(environment["HOME"]) / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", "-W", "ignore", f"--junit-xml={report}")
    limit = f"--timeout={_SECONDS_A_TEST}"
    command = ("python", "-m", "pytest", *options, limit, str(tests), *only)
    with (report.with_suffix(".log")).open("w") as log:
        subprocess.run(
            command,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=tests.parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    if not report.exists():
        raise RuntimeError(
            f"the tests did not run: {report.with_suffix('.log').read_text()[-500:]}"
        )
    return outcomes(report.read_text())


def outcomes(report: str) -> dict[str, Outcome]:
    """Read a report in JUnit's form, as pytest writes it.

    What fails when a test is set up or torn down counts as the test's own failure.
    """
    found: dict[str, Outcome] = {}
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314  pytest wrote it
        name = f"{case.get('classname', '').removeprefix('tests.system.')}.{case.get('name')}"
        outcome = _outcome(case)
        if name not in found or outcome.state == "failed":
            found[name] = outcome
    return found


def _outcome(case: ET.Element) -> Outcome:
    for kind, state in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (part := case.find(kind)) is not None:
            return Outcome(state, " ".join((part.get("message") or "").split())[:400])
    return Outcome("passed")
