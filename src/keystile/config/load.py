"""Read the settings file, and refuse what is invalid or unsafe."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from keystile.config.settings import Listener, Settings
from keystile.config.urls import is_loopback
from keystile.model.errors import UnsafeConfigurationError


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
    for name, listener in settings.listeners.items():
        _check_listener(file, name, listener)
    if settings.gateway.client_ca_file and not settings.gateway.certificate_file:
        message = f"`{file}` names `gateway.client_ca_file` where no TLS is spoken"
        raise UnsafeConfigurationError(message, hint="name `gateway.certificate_file`, too")
    _check_address(file, "public_url", settings.public_url, settings.gateway)
    _check_address(file, "console_url", settings.console_url, settings.console)
    return msgspec.structs.replace(settings, folder=file.resolve().parent)


def _check_listener(file: Path, name: str, listener: Listener) -> None:
    if bool(listener.certificate_file) != bool(listener.key_file):
        message = f"`{file}` names one of `{name}.certificate_file` and `{name}.key_file`"
        raise UnsafeConfigurationError(message, hint="name both, or none")
    plain = not listener.certificate_file and not listener.unsafe_plain_http
    if plain and not is_loopback(listener.host):
        raise UnsafeConfigurationError(
            f"`{file}` would serve tokens and data without encryption at `{name}.host` "
            f"`{listener.host}`",
            hint=f"name `{name}.certificate_file` and `{name}.key_file`, listen on 127.0.0.1, or, "
            f"behind a proxy with TLS in a network that you trust, set `{name}.unsafe_plain_http`",
        )


def _check_address(file: Path, name: str, url: str, listener: Listener) -> None:
    # A cookie would go without `Secure`, and clients would be sent to where nobody understands.
    if listener.certificate_file and url and not url.startswith("https://"):
        message = f"`{file}`: `{name}` `{url}` is not https, though TLS is spoken there"
        raise UnsafeConfigurationError(message, hint="write https")
