"""Tries real clients, directly and through the gateway, and compares what each got.

Prints each failed check with what differed, clients that cannot be had on this machine, what each
client has passed as soon as it is done, and as the last line JSON: the same of all clients.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prove.clients.catalog import CLIENTS, Client
from prove.clients.compare import Veil, shop_veil
from prove.clients.environments import AbsentError, environment_of, with_path
from prove.clients.page import page_fault
from prove.clients.person import deciding
from prove.clients.stage import WORKER, Stage, shop_policy, standing
from prove.clients.trial import Verdict, tried

_HOLD_SECONDS = 30.0
_SMALL_HOLD_SECONDS = 1.0


class Found(NamedTuple):
    """What each client has passed, and what reached BigQuery that is not on record.

    Of a client, `failed` names the checks that did not, `absent` says why it could not be had, and
    `broken` why it could not be tried.
    """

    clients: dict[str, Any]
    strays: list[str]


def main() -> int:
    """Try the clients; 0 where every check of each passed and nothing strayed."""
    options = _options()
    started = time.monotonic()
    found = run(options.client or [client.name for client in CLIENTS], small=options.small)
    seconds = round(time.monotonic() - started, 1)
    for stray in found.strays:
        print(f"BigQuery got {stray}", flush=True)
    figures = {"clients": found.clients, "strays": len(found.strays), "seconds": seconds}
    print(json.dumps(figures))
    passed = all(one["passed"] == one["total"] > 0 for one in found.clients.values())
    return 0 if passed and not found.strays else 1


def run(names: Sequence[str], *, small: bool) -> Found:
    """Try the clients of these names."""
    hold = _SMALL_HOLD_SECONDS if small else _HOLD_SECONDS
    clients = [one for one in CLIENTS if one.name in names and (one.small or not small)]
    veil = shop_veil()
    with (
        tempfile.TemporaryDirectory(prefix="keystile-clients-") as folder,
        standing(Path(folder), shop_policy(hold + 1)) as stage,
        deciding(stage.settings, hold),
    ):
        figures = {one.name: _told(stage, veil, one, small=small) for one in clients}
        return Found(figures, stage.strays())


def _told(stage: Stage, veil: Veil, client: Client, *, small: bool) -> dict[str, Any]:
    """Try a client and print how it went; what breaks one takes nothing from the others."""
    print(f"{client.name} …", flush=True)
    started = time.monotonic()
    try:
        figures = _figures(stage, veil, client, small=small)
    except AbsentError as error:
        print(f"{client.name} is absent: {error}", flush=True)
        return {"passed": 0, "total": 0, "absent": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the next client is tried
        traceback.print_exc()
        return {"passed": 0, "total": 0, "broken": f"{type(error).__name__}: {error}"}
    seconds = time.monotonic() - started
    print(
        f"{client.name}: {figures['passed']} of {figures['total']} in {seconds:.0f} s", flush=True
    )
    return figures


def _figures(stage: Stage, veil: Veil, client: Client, *, small: bool) -> dict[str, Any]:
    found_by = with_path(Path(sys.executable).parent) if small else environment_of(client)
    programs = client.small if small else client.programs
    verdicts = [
        verdict
        for words in programs
        for verdict in tried(stage, veil, words, found_by, tls=client.tls)
    ]
    as_agent = stage.through(WORKER, f"{client.name}-page", tls=client.tls) | found_by
    if (fault := page_fault(client.name, as_agent, veil)) is not None:
        verdicts.append(Verdict("page", fault))
    failed = [verdict for verdict in verdicts if verdict.fault]
    for verdict in failed:
        print(f"{client.name} {verdict.check}: {verdict.fault}", flush=True)
    return {
        "passed": len(verdicts) - len(failed),
        "total": len(verdicts),
        "failed": [verdict.check for verdict in failed],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prove clients", description=__doc__)
    names = [client.name for client in CLIENTS]
    parser.add_argument("client", nargs="*", choices=[*names, []], help="all where none is named")
    parser.add_argument(
        "--small",
        action="store_true",
        help="only clients of the repository's own environment, and approvals after a second",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
