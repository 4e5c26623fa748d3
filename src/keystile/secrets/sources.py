"""All places where a secret can stand, by the words of the settings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from keystile.config.secret_places import Secret
from keystile.config.secret_servers import Vault as VaultSettings
from keystile.config.settings import Settings
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.asking import Asking, Way
from keystile.secrets.file import SecretFile
from keystile.secrets.kept import KeptSecret
from keystile.secrets.secret_manager import SecretManager
from keystile.secrets.source import SecretSource
from keystile.secrets.vault import Vault


class FileSource:
    """A secret in a file, read again whenever the file changes."""

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is read yet."""
        self.name = str(path)
        self._file = SecretFile(path)

    async def read(self) -> bytes:
        """Give the file's content. Raises `UnsafeConfigurationError`."""
        return await asyncio.to_thread(self._file.read)


class EnvironmentSource:
    """A secret in an environment variable, which is what it was when the process started."""

    def __init__(self, variable: str) -> None:
        """Remember the variable's name; nothing is read yet."""
        self.name = f"${variable}"
        self._variable = variable

    async def read(self) -> bytes:
        """Give the variable's value. Raises `UnsafeConfigurationError` when there is none."""
        value = os.environb.get(self._variable.encode())
        if not value:
            raise UnsafeConfigurationError(
                f"the environment variable `{self._variable}` is not set, or is empty",
                hint="set it where the gateway is started",
            )
        return value


class Secrets:
    """Opens the sources that the settings name."""

    def __init__(
        self, settings: Settings, to_vault: Callable[[], Way], to_manager: Callable[[], Way]
    ) -> None:
        """Take the settings, from whose folder relative paths count, and the ways to the servers.

        Nothing is opened yet.
        """
        self._settings = settings
        self._to_vault, self._to_manager = to_vault, to_manager
        self._vault: tuple[Vault, Asking] | None = None
        self._manager: SecretManager | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._vault:
            await self._vault[1].close()
        if self._manager:
            await self._manager.close()

    def source(self, secret: Secret) -> SecretSource:
        """Give the source of a secret; nothing is read yet.

        Raises `UnsafeConfigurationError` where the settings do not say how its server is reached.
        """
        if secret.vault:
            kept = secret.vault
            name = f"vault:{kept.mount}/{kept.path}#{kept.field}"
            return KeptSecret(name, partial(self._opened_vault().read, kept))
        if secret.secret_manager:
            read = partial(self._opened_manager().read, secret.secret_manager)
            return KeptSecret(secret.secret_manager, read)
        if secret.file:
            return FileSource(self._settings.path(secret.file))
        return EnvironmentSource(secret.environment)

    def _opened_vault(self) -> Vault:
        if self._vault is None:
            chosen = self._settings.vault
            if chosen is None:
                raise UnsafeConfigurationError(
                    "a secret stands in Vault, and the settings do not say where Vault is",
                    hint="add the section `vault`",
                )
            asking = Asking("Vault", chosen.address, self._to_vault())
            self._vault = Vault(chosen, asking, self.source(_proof(chosen))), asking
        return self._vault[0]

    def _opened_manager(self) -> SecretManager:
        if self._manager is None:
            chosen = self._settings.secret_manager
            file = chosen.service_account_file
            key = self.source(Secret(file=file)) if file else None
            self._manager = SecretManager(chosen, key, self._to_manager())
        return self._manager


def _proof(vault: VaultSettings) -> Secret:
    """Say where that stands which signs in to Vault."""
    if vault.app_role:
        return vault.app_role.secret_id
    if vault.kubernetes:
        return Secret(file=vault.kubernetes.token_file)
    assert vault.token is not None  # noqa: S101 - one of the three is given
    return vault.token
