"""Asks a gateway at random for all that it may be asked, as an agent and as nobody.

Prints each fault with a command that asks it again, and as the last line JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import requests
import schemathesis
from demo.stack import PROJECT, SANDBOX, Stack, running
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode, SerializationContext
from schemathesis.core.result import Err
from schemathesis.generation.feedback import FeedbackSources

from keystile.config.load import load
from keystile.identity.builtin import builtin_issuer
from prove.sent import strays_of
from prove.surface.described import PARTED, described
from prove.surface.faults import fault_of, lets_in

_AGENT = "prober"
_SHOP, _LAB = [f"{PROJECT}.shop"], [f"{PROJECT}.lab"]
_POLICY = {
    "labels": [{"label": "pii", "columns": ["customers.ssn", "customers.email"]}],
    "masks": [{"label": "pii", "mask": {"kind": "default"}}],
    "rules": [
        {"name": "shop", "resources": {"datasets": _SHOP}, "allow": ["read", "export"]},
        {
            "name": "lab",
            "resources": {"datasets": _LAB},
            "allow": ["read", "write", "schema_change", "routine"],
        },
        {"name": "all", "allow": ["script", "session", "external"]},
    ],
}
_SETTINGS = {"engine": {"workers": 1}, "identity": {"token_lifetime": 3600}}
_JOB = {
    "jobReference": {"projectId": PROJECT, "jobId": "known"},
    "configuration": {"query": {"query": "SELECT * FROM shop.customers", "useLegacySql": False}},
}
_SECONDS = 60.0
_MODES = {
    "likely": (True, GenerationMode.POSITIVE),
    "any": (False, GenerationMode.POSITIVE),
    "wrong": (True, GenerationMode.NEGATIVE),
}


class Found(NamedTuple):
    """What came of it: answers by status, and each fault with the command that asks it again."""

    statuses: Counter[int]
    faults: dict[str, str]
    strays: list[str]


@schemathesis.serializer(PARTED)
def _written(_context: SerializationContext, value: object) -> bytes:
    """Write the parts of an upload as they are."""
    return value if isinstance(value, bytes) else str(value).encode()


def main() -> int:
    """Ask, and print what came of it; 0 where nothing is wrong."""
    options = _options()
    word = options.seed or secrets.token_hex(4)
    print(f"seed {word}", flush=True)
    started = time.monotonic()
    found = run(options.examples, word)
    for fault, command in found.faults.items():
        print(f"{fault}\n  {command}", flush=True)
    for stray in found.strays:
        print(f"BigQuery got {stray}", flush=True)
    figures = {
        "requests": found.statuses.total(),
        "statuses": {str(status): count for status, count in sorted(found.statuses.items())},
        "faults": len(found.faults),
        "strays": len(found.strays),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(figures))
    return 1 if found.faults or found.strays else 0


def run(examples: int, word: str) -> Found:
    """Ask each operation so many times in each way; the same `word` asks the same."""
    with tempfile.TemporaryDirectory(prefix="keystile-surface-") as name:
        folder = Path(name)
        with _standing(folder) as stack:
            prober = _Prober(stack, examples, word)
            prober.probe()
        log = folder / "requests.ndjson"
        strays = asyncio.run(strays_of(folder / "recordings", log))
        return Found(prober.statuses, prober.faults, [*map(str, strays)])


class _Prober:
    def __init__(self, stack: Stack, examples: int, word: str) -> None:
        self.statuses, self.faults = Counter[int](), dict[str, str]()
        self._url, self._examples, self._word = stack.gateway, examples, word
        self._token, self._session = _token(stack), requests.Session()
        self._session.trust_env = False

    def probe(self) -> None:
        """Ask everything."""
        self._post("datasets", {"datasetReference": {"datasetId": "lab"}})
        self._post(
            "datasets/lab/tables",
            {
                "tableReference": {"tableId": "notes"},
                "schema": {"fields": [{"name": "n", "type": "INT64"}]},
            },
        )
        self._post("jobs", _JOB)
        document = requests.get(f"{self._url}/discovery/v1/apis/bigquery/v2/rest", timeout=_SECONDS)
        for name, (likely, mode) in _MODES.items():
            schema = schemathesis.openapi.from_dict(described(document.json(), likely=likely))
            for one in schema.get_all_operations():
                if isinstance(one, Err):
                    raise TypeError(f"a schema of our own is wrong: {one.err()}")
                operation = one.ok()
                if mode is GenerationMode.POSITIVE or operation.query or operation.body:
                    self._probe(operation, mode, name)

    def _probe(
        self, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, name: str
    ) -> None:
        strategy = operation.as_strategy(mode, feedback=FeedbackSources())
        bounds = settings(
            max_examples=self._examples,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=[*HealthCheck],
        )
        tried: Callable[[], None] = given(case=strategy)(self._ask)
        tried = bounds(seed(f"{self._word} {name}")(tried))
        with suppress(Unsatisfiable):
            tried()

    def _ask(self, case: Case[Any]) -> None:
        """Ask as the agent, and every so often as nobody."""
        asked = sum(self.statuses.values())
        for agent in (True, False) if asked % 5 == 0 else (True,):
            bearer = {"authorization": f"Bearer {self._token}"} if agent else {}
            answer = case.call(
                self._url, self._session, bearer, timeout=_SECONDS, allow_redirects=False
            )
            self.statuses[answer.status_code] += 1
            headers = {key: values[0] for key, values in answer.headers.items()}
            path = case.operation.path
            fault = fault_of(path, answer.status_code, headers, answer.text)
            if not agent and lets_in(path, answer.status_code):
                fault = f"nobody is answered with {answer.status_code}"
            if fault:
                asked_for = f"{case.method} {path}: {fault}"
                self.faults.setdefault(asked_for, case.as_curl_command(bearer))

    def _post(self, path: str, body: object) -> None:
        answer = requests.post(
            f"{self._url}/projects/{PROJECT}/{path}",
            json=body,
            headers={"authorization": f"Bearer {self._token}"},
            timeout=_SECONDS,
        )
        answer.raise_for_status()


@contextmanager
def _standing(folder: Path) -> Iterator[Stack]:
    policy = folder / "policy"
    policy.mkdir()
    (policy / "policy.yaml").write_text(json.dumps(_POLICY))
    sandbox = (*SANDBOX, "--log", str(folder / "requests.ndjson"))
    with running(folder, policy=policy, settings=_SETTINGS, sandbox=sandbox) as stack:
        stack.keystile("agent", "create", _AGENT)
        yield stack


def _token(stack: Stack) -> str:
    found = load(stack.config)
    subject = builtin_issuer(found).mint(_AGENT, "proof")
    return str(stack.exchange(subject, found.identity.audience)["access_token"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prove surface", description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="for each operation and way")
    parser.add_argument("--seed", help="asks the same again; printed where none is given")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
