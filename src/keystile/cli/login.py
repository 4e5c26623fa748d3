"""`keystile login`: sign in as a person, for agents that act for them on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, reports_errors, run, settings
from keystile.cli.connecting import GatewayOption, logins
from keystile.cli.terminal import say, visible
from keystile.config.urls import require_safe_url
from keystile.identity.device_flow import DeviceFlow
from keystile.identity.login import Login, token_for
from keystile.model.errors import InvalidRequestError

app = typer.Typer(add_completion=False)


@app.command(
    "login",
    epilog="Example: keystile login --issuer https://login.example.com --client-id laptop",
)
@reports_errors
def login(  # noqa: PLR0913, PLR0917 - what OAuth asks for
    issuer: Annotated[str, typer.Option(metavar="URL", help="Whom you sign in at.")],
    client_id: Annotated[str, typer.Option(help="What this program is called there.")],
    audience: Annotated[
        str,
        typer.Option(help="What `audiences` of that issuer has at the gateway, if not the client."),
    ] = "",
    scope: Annotated[str, typer.Option(help="What is asked for.")] = "openid offline_access",
    gateway: GatewayOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Sign in as a person, by a link and a code that may be opened on any device (RFC 8628).

    From then on `keystile run` has its agent act for you, until `keystile logout`.
    """
    if gateway:
        require_safe_url(gateway, "the gateway's address")
    place = gateway.rstrip("/") or settings(config).gateway_url
    kept = run(_login(place, issuer, client_id, audience or client_id, scope))
    say(f"signed in as {visible(kept.person)}; next: keystile run --agent NAME -- COMMAND")


async def _login(gateway: str, issuer: str, client_id: str, audience: str, scope: str) -> Login:
    flow = DeviceFlow(issuer, client_id)
    endpoints = await flow.endpoints()
    # RFC 8707 names with addresses only; what else is for the client comes as an ID token.
    resource = audience if "://" in audience else ""
    code = await flow.begin(endpoints, scope, resource)
    say(f"open {visible(code.verification_uri_complete or code.verification_uri)}")
    say(f"and check that it shows the code {visible(code.user_code)}")
    tokens = await flow.wait(endpoints, code, resource)
    kind = token_for(tokens, audience)
    kept = Login(gateway, issuer, client_id, endpoints.token, audience, resource, kind, tokens)
    try:
        logins().keep(kept)
    except OSError as error:
        raise InvalidRequestError(f"cannot keep the sign-in: {error.strerror}") from error
    return kept
