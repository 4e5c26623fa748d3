"""`keystile serve`: run the gateway."""

from __future__ import annotations

import asyncio
import ctypes

import typer
import uvloop

from keystile import app as gateway
from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, out, reports_errors
from keystile.cli.common import settings as read
from keystile.config.settings import Settings
from keystile.secrets.dumps import keep_out_of_dumps
from keystile.telemetry import logs

app = typer.Typer(add_completion=False)

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE = 512 << 10  # bytes


@app.command(epilog="Example: keystile serve --config keystile.yaml")
@reports_errors
def serve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway and the console until stopped."""
    logs.configure()
    keep_out_of_dumps(children=True)
    _give_large_blocks_back()
    uvloop.run(_serve(read(config)))


def _give_large_blocks_back() -> None:
    """Let no freed page of a result stay in memory.

    The C library gives blocks above a size back to the system when they are freed, and raises that
    size by itself to that of what was freed before, until it gives hardly any back. Once set, the
    size stays.
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


async def _serve(settings: Settings) -> None:
    ready = asyncio.Event()
    saying = asyncio.ensure_future(_say(settings, ready))
    try:
        await gateway.serve(settings, ready)
    finally:
        saying.cancel()


async def _say(settings: Settings, ready: asyncio.Event) -> None:
    await ready.wait()
    out.print(f"gateway for agents at {settings.gateway_url}", soft_wrap=True)
    if settings.storage.port:
        address = f"{settings.storage.host}:{settings.storage.port}"
        out.print(f"Storage Read API for agents at {address}", soft_wrap=True)
    out.print(f"console for people at {settings.people_url}", soft_wrap=True)
