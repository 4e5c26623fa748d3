"""What machines ask of a gateway: is it alive, may it get traffic, and how is it doing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

import msgspec

from keystile.api.http import Answer
from keystile.api.ports import Check
from keystile.model.errors import KeystileError
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics

_CHECK_SECONDS = 2.0
_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
_log = logger("api")


async def healthz() -> Answer:
    """Answer as long as the process serves at all."""
    return Answer(200, b'{"status":"ok"}')


async def readyz(checks: Mapping[str, Check]) -> Answer:
    """Run every check, at most 2 seconds each: 200 when all pass, else 503.

    Each check's value is `ok`, or why it fails.
    """
    found = await asyncio.gather(*(_run(name, check) for name, check in checks.items()))
    results = dict(zip(checks, found, strict=True))
    ready = all(result == "ok" for result in results.values())
    return Answer(200 if ready else 503, msgspec.json.encode({"ready": ready, "checks": results}))


async def metrics_page(metrics: Metrics) -> Answer:
    """Give the page that Prometheus scrapes."""
    return Answer(200, metrics.text(), _PROMETHEUS)


async def _run(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except KeystileError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:.0f} seconds"
    except Exception as error:  # noqa: BLE001  a broken check must read as not ready
        fault = secrets.token_hex(8)
        _log.error("readiness check failed", check=name, id=fault, exc_info=error)
        return f"internal fault `{fault}`"
    return "ok"
