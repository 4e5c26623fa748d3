"""Runs a client's programs each way, and judges every check."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from prove.clients.compare import Veil, difference, plain
from prove.clients.person import SAYS
from prove.clients.stage import WAITER, WORKER, Stage

_SECONDS = 900.0
_DIRECT = ("common", "approval")
_THROUGH = ((WORKER, ("common", "through", "frames")), (WAITER, ("approval", "refusal")))
_BY_NAME = ("frames", "storage")
_NOTHING = {"error": {"type": "none", "message": "the program ended before it"}}


class Outcomes(NamedTuple):
    """What one run of a program said; `log` is the rest of what it said.

    `checks` is None if the program ended before it named them.
    """

    checks: tuple[str, ...] | None
    found: Mapping[str, Mapping[str, Any]]
    log: str


class Verdict(NamedTuple):
    """One check: `fault` says what differed, and is empty if nothing did."""

    check: str
    fault: str


def tried(
    stage: Stage, veil: Veil, command: Sequence[str], found_by: Mapping[str, str], *, tls: bool
) -> Iterator[Verdict]:
    """Run a program directly, as both agents and by the gateway's names, and give its verdicts.

    `found_by` are the variables by which it finds what is installed for it; with `tls` it takes its
    tokens over TLS.
    """
    word = uuid4().hex[:8]

    def run(environment: dict[str, str], kinds: Sequence[str]) -> Outcomes:
        return ran((*command, *kinds), {**environment, **found_by})

    with ThreadPoolExecutor() as pool:
        direct = pool.submit(run, stage.past(f"{word}-direct", tls=tls), _DIRECT)
        ways = [
            pool.submit(run, stage.through(agent, f"{word}-{agent}", tls=tls), kinds)
            for agent, kinds in _THROUGH
        ]
        if command[0] == "python":
            ways.append(pool.submit(run, stage.by_name(WORKER, f"{word}-by-name"), _BY_NAME))
    for way in ways:
        if way.result().checks is None:
            yield Verdict("start", f"the program did not start: {way.result().log[-500:]}")
        for check in way.result().checks or ():
            got = way.result().found.get(check, _NOTHING)
            wanted = direct.result().found.get(got.get("like", check), _NOTHING)
            yield Verdict(check, judged(check, wanted, got, veil))


def judged(check: str, wanted: Mapping[str, Any], got: Mapping[str, Any], veil: Veil) -> str:
    """Say what is wrong with what a check got through the gateway; nothing if nothing is.

    `wanted` and `got` hold a `result` or an `error`.
    """
    if "error" in got:
        return f"failed: {_words(got)}" + _directly(check, wanted)
    if check in SAYS:
        told = json.dumps(got["result"])
        return "" if SAYS[check] in told else f"the client tells {told}, not `{SAYS[check]}`"
    if "error" in wanted:
        return f"failed directly: {_words(wanted)}"
    wanted_result = (
        wanted["result"] if check.startswith("approval") else veil.over(wanted["result"])
    )
    return difference(plain(wanted_result), plain(got["result"]))


def _directly(check: str, wanted: Mapping[str, Any]) -> str:
    return (
        f"; failed directly too: {_words(wanted)}"
        if "error" in wanted and check not in SAYS
        else ""
    )


def _words(outcome: Mapping[str, Any]) -> str:
    error = outcome["error"]
    return " ".join(f"{error['type']}: {error['message']}".split())[:400]


def ran(command: Sequence[str], environment: dict[str, str]) -> Outcomes:
    """Run a program in its HOME, and give what it said of its checks."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as log:
        try:
            subprocess.run(
                command,
                env=environment,
                cwd=Path(environment["HOME"]),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=log,
                timeout=_SECONDS,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            print(error, file=log)
        said.seek(0)
        log.seek(0)
        return _outcomes(said.read(), log.read())


def _outcomes(said: str, log: str) -> Outcomes:
    checks: tuple[str, ...] | None = None
    found: dict[str, Mapping[str, Any]] = {}
    for text in said.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            log += f"\n{text}"
        elif "checks" in line:
            checks = (*line["checks"],)
        elif "check" in line:
            found[line["check"]] = line
    return Outcomes(checks, found, log)
