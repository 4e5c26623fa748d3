"""`keystile logout`: let agents act for nobody on this machine."""

from __future__ import annotations

import typer

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, reports_errors, run, settings
from keystile.cli.connecting import GatewayOption, logins
from keystile.cli.terminal import say, visible
from keystile.identity.device_flow import DeviceFlow
from keystile.identity.login import Login
from keystile.model.errors import KeystileError, RefusedError

app = typer.Typer(add_completion=False)


@app.command("logout", epilog="Example: keystile logout")
@reports_errors
def logout(gateway: GatewayOption = "", config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Forget who has signed in at a gateway, and have the issuer end what it gave (RFC 7009)."""
    place = gateway.rstrip("/") or settings(config).gateway_url
    say(run(_logout(place)))


async def _logout(gateway: str) -> str:
    login = await logins().forget(gateway)
    if login is None:
        return "nobody was signed in"
    issuer = visible(login.issuer)
    if await _revoked(login):
        return f"signed out, and {issuer} has ended what it gave"
    return f"signed out; {issuer} offers no way to end what it gave before its time"


async def _revoked(login: Login) -> bool:
    try:
        return await DeviceFlow(login.issuer, login.client_id).revoke(login.tokens)
    except KeystileError as error:
        raise RefusedError(
            f"signed out on this machine alone, for the issuer has not ended what it gave:"
            f" {error.message}",
            hint="end the session at the issuer",
        ) from error
