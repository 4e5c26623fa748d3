"""`keystile logout`: let agents act for nobody on this machine."""

from __future__ import annotations

import typer

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, reports_errors, settings
from keystile.cli.connecting import GatewayOption, logins
from keystile.cli.terminal import say

app = typer.Typer(add_completion=False)


@app.command("logout", epilog="Example: keystile logout")
@reports_errors
def logout(gateway: GatewayOption = "", config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Forget who has signed in at a gateway. What the issuer gave stays valid there."""
    place = gateway.rstrip("/") or settings(config).gateway_url
    say("signed out" if logins().forget(place) else "nobody was signed in")
