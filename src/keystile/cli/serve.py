"""`keystile serve`: run the gateway."""

from __future__ import annotations

import asyncio

import typer
import uvloop

from keystile import app as gateway
from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, out, reports_errors
from keystile.cli.common import settings as read
from keystile.config.settings import Settings
from keystile.telemetry import logs

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: keystile serve --config keystile.yaml")
@reports_errors
def serve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway and the console until stopped."""
    logs.configure()
    uvloop.run(_serve(read(config)))


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
