"""Where secrets stand."""

from __future__ import annotations

from typing import Annotated

import msgspec

from keystile.config.section import Section, Text, exactly_one

_MANAGED = (
    r"^(projects/[^/]+/(locations/[^/]+/)?secrets/[A-Za-z0-9_-]+(/versions/(latest|[0-9]+))?)?$"
)


class VaultSecret(Section, frozen=True, kw_only=True):
    """A field of a secret in HashiCorp Vault's key-value store, version 2; 0 is the newest."""

    mount: Text = "secret"
    path: Text
    field: Text
    version: Annotated[int, msgspec.Meta(ge=0)] = 0


class Secret(Section, frozen=True, kw_only=True):
    """Where a secret stands: exactly one of these words.

    `file` is read again when it changes; `environment` is the name of a variable; `secret_manager`
    is the full name of a secret in Google's Secret Manager, or of one of its versions.
    """

    file: str = ""
    environment: str = ""
    vault: VaultSecret | None = None
    secret_manager: Annotated[str, msgspec.Meta(pattern=_MANAGED)] = ""

    def __post_init__(self) -> None:
        """Refuse none and several; msgspec tells where in the file."""
        exactly_one(self, "a secret stands in", *self.__struct_fields__)
