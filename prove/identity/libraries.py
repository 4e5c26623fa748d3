"""Google's auth libraries, each signing in for the BigQuery client that belongs to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from demo.stack import HERE as DEMO
from demo.stack import PROJECT

from prove.clients.catalog import CLIENTS, PROGRAMS
from prove.clients.environments import environment_of, with_path

_SECONDS = 180
_NOT_OURS = ("GOOGLE_", "BIGQUERY_", "CLOUDSDK_", "GCE_")


class Library(NamedTuple):
    """A library, the client of `script/prove clients` whose installation has it, and a program.

    The program asks one query and prints its rows as JSON, or the error and its message.
    """

    name: str
    client: str
    program: tuple[str, ...]

    def found_by(self, *, small: bool) -> dict[str, str]:
        """Give the variables by which the program is found. Raises `AbsentError`.

        `small` finds it in the repository's own environment.
        """
        if small:
            return with_path(Path(sys.executable).parent)
        return environment_of(next(one for one in CLIENTS if one.name == self.client))

    def ask(self, sql: str, gateway: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Ask a gateway's address a query, in an environment that says by which credential."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
        connected = {
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "BIGQUERY_EMULATOR_HOST": gateway,
            "BIGQUERY_ENDPOINT": f"{gateway}/bigquery/v2/",
        }
        try:
            done = subprocess.run(
                (*self.program, sql),
                env={**kept, **connected, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": "none", "message": f"no end after {_SECONDS} s"}
        lines = done.stdout.splitlines()
        if not lines:
            return {"error": "none", "message": f"it said nothing but: {done.stderr[-500:]}"}
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer


LIBRARIES = (
    Library("google-auth", "google-cloud-bigquery", ("python", str(DEMO / "agent.py"))),
    Library("google-auth-library", "node-bigquery", ("node", str(PROGRAMS / "node" / "ask.cjs"))),
    Library("golang.org/x/oauth2/google", "go-bigquery", ("ask", "oauth2")),
    Library("cloud.google.com/go/auth", "go-bigquery", ("ask", "auth")),
)
