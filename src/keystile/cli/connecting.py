"""How an agent's clients come to a gateway from here: which one, and who vouches for them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from keystile.cli.common import settings
from keystile.cli.store import database
from keystile.config.identity import Identity
from keystile.config.settings import Settings
from keystile.config.urls import require_safe_url
from keystile.identity.agents import Agents
from keystile.identity.builtin import BuiltinIssuer, builtin_issuer
from keystile.identity.connection import Connection
from keystile.identity.login import Logins
from keystile.identity.token_source import TokenSource
from keystile.model.errors import InvalidRequestError

ProjectOption = Annotated[
    str,
    typer.Option(
        envvar="GOOGLE_CLOUD_PROJECT",
        help="The Google Cloud project of its queries, if the client names none.",
    ),
]
GatewayOption = Annotated[
    str,
    typer.Option(
        envvar="KEYSTILE_GATEWAY",
        metavar="URL",
        help="The gateway's address, where its configuration file is not at hand.",
    ),
]
AudienceOption = Annotated[
    str, typer.Option(help="What that gateway has as `identity.audience`, if it is another.")
]
TokenFileOption = Annotated[
    Path | None, typer.Option(help="The file that holds the agent's own token, kept fresh there.")
]
TokenUrlOption = Annotated[
    str, typer.Option(metavar="URL", help="The address that gives the agent's own token.")
]
TokenHeaderOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A header for that address; repeatable."),
]
TokenCommandOption = Annotated[
    str,
    typer.Option(
        metavar="COMMAND", help="The program that prints it, as Google's clients expect of one."
    ),
]
TokenFieldOption = Annotated[
    str, typer.Option(metavar="NAME", help="The member that is the token, where it is in JSON.")
]


class Way(NamedTuple):
    """The gateway's address, audience and domain, and what gives the agent's own token.

    The last is a source, or the built-in issuer; neither is here where a person's token names the
    agent.
    """

    gateway: str
    audience: str
    domain: str = ""
    source: TokenSource | None = None
    issuer: BuiltinIssuer | None = None

    def connection(self, folder: Path, token_url: str = "") -> Connection:
        """Say how clients reach the gateway through files in `folder`.

        With a `token_url` it is there that they exchange what is in the folder.
        """
        source = None if token_url else self.source
        return Connection(folder, self.gateway, self.audience, self.domain, source, token_url)


def source_of(
    file: Path | None, url: str, headers: list[str] | None, command: str, field: str
) -> TokenSource | None:
    """Read where the agent's own token comes from; None where nothing is said of it.

    Raises `InvalidRequestError`, and `UnsafeConfigurationError` for an address without encryption.
    """
    given = [one for one in (file, url, command) if one]
    if len(given) > 1:
        raise InvalidRequestError(
            "the agent's token comes from one place only",
            hint="give one of --token-file, --token-url and --token-command",
        )
    if (headers and not url) or (field and not (file or url)):
        raise InvalidRequestError(
            "there is nothing that --token-header or --token-field would be about",
            hint="give --token-url, or --token-file",
        )
    if not given:
        return None
    if url and not _is_metadata_server(url):
        require_safe_url(url, "the token's address", query_allowed=True)
    pairs = dict(pair.split("=", 1) for pair in headers or [] if "=" in pair)
    if len(pairs) != len(headers or []):
        raise InvalidRequestError("a --token-header is not a NAME=VALUE of its own")
    return TokenSource(str(file.absolute()) if file else "", url, pairs, command, field)


def way_of(
    config: Path, gateway: str, audience: str, source: TokenSource | None, *, lent: bool = False
) -> Way:
    """Find the gateway. `lent` tells that a person's token may name the agent.

    Raises `InvalidRequestError` where nobody vouches for the agent, and as `load` does.
    """
    if gateway:
        require_safe_url(gateway, "the gateway's address")
        way = Way(gateway.rstrip("/"), audience or Identity().audience, source=source)
        if source is None and not (lent and logins().find(way.gateway)):
            raise InvalidRequestError(
                "nobody vouches for the agent at this gateway",
                hint="say where its token comes from with --token-file, --token-url or "
                "--token-command, or sign in with `keystile login`",
            )
        return way
    found = settings(config)
    return _configured(found, audience, source)


def _is_metadata_server(url: str) -> bool:
    """Tell whether it is the cloud's own, whose plain http goes no further than the machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "metadata.google.internal" or ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _configured(found: Settings, audience: str, source: TokenSource | None) -> Way:
    issuer = None if source else builtin_issuer(found)
    audience = audience or found.identity.audience
    return Way(found.gateway_url, audience, found.domain, source, issuer)


async def require_known(config: Path, way: Way, agent: str) -> None:
    """Have an agent of the built-in issuer be one that may sign in; others know by their issuer.

    Raises `NotFoundError`, or `RefusedError` if it is disabled or has expired.
    """
    if way.issuer is not None:
        async with database(settings(config)) as store:
            await Agents(store).active(agent)


def logins() -> Logins:
    """Give the sign-ins of whoever runs the command."""
    return Logins(Path(typer.get_app_dir("keystile")) / "people")
