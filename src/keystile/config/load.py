"""Read the settings file, and refuse what is invalid or unsafe."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from keystile.config.networks import check_networks
from keystile.config.settings import Settings
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
    check_networks(file, settings)
    return msgspec.structs.replace(settings, folder=file.resolve().parent)
