"""Read the settings file, and refuse what is invalid or unsafe."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from keystile.config.networks import check_networks
from keystile.config.settings import Settings
from keystile.config.upstream import DEFAULT_CONNECTION, Connection, Upstream
from keystile.model.errors import UnsafeConfigurationError

# A connection's name is that of a folder too.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def load(file: Path) -> Settings:
    """Read `file`.

    Raises `UnsafeConfigurationError`, naming the file and the setting.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read the configuration `{file}`: {error.strerror}"
        raise UnsafeConfigurationError(message, hint="give its path with --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"`{file}` is not valid YAML: {' '.join(str(error).split())}"
        raise UnsafeConfigurationError(message) from error
    try:
        settings = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        message = f"`{file}`: {error}"
        raise UnsafeConfigurationError(
            message, hint="see docs/reference/configuration.md"
        ) from error
    if not settings.identity.builtin_issuer.enabled and not settings.identity.issuers:
        message = f"`{file}` names no issuer, so no agent could ever sign in"
        raise UnsafeConfigurationError(message, hint="add one under `identity.issuers`")
    if any("none" in map(str.lower, issuer.algorithms) for issuer in settings.identity.issuers):
        message = f"`{file}` allows the algorithm `none`"
        raise UnsafeConfigurationError(message, hint="list signature algorithms such as RS256")
    if settings.masking_key and settings.masking_key_file:
        message = f"`{file}` names both `masking_key` and `masking_key_file`"
        raise UnsafeConfigurationError(message, hint="name one of them")
    check_networks(file, settings)
    _check_connections(file, settings.upstream)
    return msgspec.structs.replace(settings, folder=file.resolve().parent)


def _check_connections(file: Path, upstream: Upstream) -> None:
    if upstream.service_account_file and DEFAULT_CONNECTION in upstream.connections:
        message = f"`{file}` names the connection `{DEFAULT_CONNECTION}` twice"
        raise UnsafeConfigurationError(message, hint="leave `upstream.service_account_file` out")
    for name, one in upstream.connections.items():
        _check_connection(f"`{file}`", name, one)


def check_name(where: str, name: str) -> None:
    """Raise `UnsafeConfigurationError` for what cannot be a connection's name."""
    if not _NAME.fullmatch(name):
        message = f"{where} names a connection `{name}`"
        raise UnsafeConfigurationError(message, hint="use lower-case letters, digits and hyphens")


def _check_connection(where: str, name: str, connection: Connection) -> None:
    check_name(where, name)
    ways = (
        connection.service_account is not None,
        connection.metadata_server,
        connection.external_account_file != "",
        connection.application_default,
    )
    if sum(ways) != 1:
        raise UnsafeConfigurationError(
            f"{where} does not say what the connection `{name}` is",
            hint="give one of `service_account`, `metadata_server`, `external_account_file`,"
            " `application_default`",
        )
