"""`keystile console`: get into the web console."""

from __future__ import annotations

from typing import Annotated

import typer

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    reports_errors,
    run,
    settings,
)
from keystile.cli.store import database
from keystile.cli.terminal import say, say_json
from keystile.config.settings import Settings
from keystile.identity.people import LINK_SECONDS, People

app = typer.Typer(help="Get into the web console.", no_args_is_help=True)

AsOption = Annotated[str, typer.Option("--as", help="The person who signs in.", metavar="PERSON")]


@app.callback()
def group() -> None:
    """Get into the web console."""


@app.command("link", epilog="Example: keystile console link --as operator")
@reports_errors
def link(
    person: AsOption,
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    json: JsonOption = False,
) -> None:
    """Print an address that signs a person in once."""
    address = run(_link(settings(config), person))
    if json:
        say_json({"url": address, "person": person, "expires_seconds": LINK_SECONDS})
    else:
        say(address)


async def _link(settings: Settings, person: str) -> str:
    async with database(settings) as store:
        return f"{settings.people_url}/link/{await People(store).new_link(person)}"
