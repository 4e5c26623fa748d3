"""The kill switch: an agent is disabled, and everything of it ends on both gateways."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import NamedTuple

import requests
from demo.stack import PROJECT
from google.auth import crypt, jwt

from keystile.identity.disabling import Disablings, Target
from keystile.store.database import Database
from prove.identity.stage import AUDIENCE, KILLED, Gateway, Stage

_SLOW = "SELECT COUNT(*) AS n FROM shop.customers a, shop.tickets b, shop.tickets c, shop.tickets d"
_SECONDS = 60.0
_OUT = 403


class Killed(NamedTuple):
    """Seconds until everything had ended, and what had not."""

    seconds: float
    fault: str


def killed(stage: Stage) -> Killed:
    """Disable an agent that reads on both gateways and has a job running by each."""
    token = stage.issuer.token(KILLED, AUDIENCE)
    bearers = {gateway: gateway.bearer(token) for gateway in stage.gateways}
    for gateway, bearer in bearers.items():
        gateway.query(bearer).raise_for_status()
        gateway.start(bearer, _SLOW).raise_for_status()
    if not _until(lambda: _states(stage) == ["RUNNING"] * len(bearers)):
        return Killed(_SECONDS, f"the jobs did not start: {_states(stage)}")
    began = time.monotonic()
    asyncio.run(_disable(stage))
    left = dict(bearers)

    def over() -> bool:
        for gateway, bearer in [*left.items()]:
            if _is_out(gateway, bearer):
                del left[gateway]
        return not left and set(_states(stage)) == {"DONE"}

    over_at_all = _until(over)
    seconds = time.monotonic() - began
    if not over_at_all:
        return Killed(seconds, f"{len(left)} gateways serve it, its jobs are {_states(stage)}")
    for gateway in stage.gateways:
        if (reply := gateway.exchange(token)).status_code != 400:  # noqa: PLR2004 - OAuth's
            return Killed(seconds, f"its token is exchanged: {reply.text}")
    return Killed(seconds, "")


async def _disable(stage: Stage) -> None:
    """Do what `keystile agent disable` does, without the time that a command takes to start."""
    database = Database(stage.settings.database_url)
    await database.open()
    try:
        target = Target(issuer=stage.issuer.url, subject=KILLED)
        await Disablings(database).disable(target, "the proof", "cli")
    finally:
        await database.close()


def _is_out(gateway: Gateway, bearer: str) -> bool:
    # No query: one that is let in until then would wait for a worker of BigQuery's stand-in.
    reply = gateway.datasets(bearer)
    return reply.status_code == _OUT and "is disabled" in reply.text


def _states(stage: Stage) -> list[str]:
    """Give the states of the slow jobs, by BigQuery's own account."""
    info = json.loads((stage.stack.folder / "service-account.json").read_text())
    signer = crypt.RSASigner.from_service_account_info(info)
    now, who = int(time.time()), info["client_email"]
    claims = {"iss": who, "sub": who, "aud": "https://bigquery.googleapis.com/"}
    token: bytes = jwt.encode(signer, {**claims, "iat": now, "exp": now + 600})
    reply = requests.get(
        f"{stage.stack.sandbox}/bigquery/v2/projects/{PROJECT}/jobs?projection=full&allUsers=true",
        headers={"authorization": f"Bearer {token.decode()}"},
        timeout=_SECONDS,
    )
    jobs = reply.json()["jobs"]
    return [job["status"]["state"] for job in jobs if "tickets" in str(job["configuration"])]


def _until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SECONDS
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held
