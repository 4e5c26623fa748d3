"""All places where a secret can stand, by the words of the settings."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from keystile.config.settings import Secret, Settings
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.file import SecretFile
from keystile.secrets.source import SecretSource


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

    def __init__(self, settings: Settings) -> None:
        """Take the settings; relative paths count from their folder."""
        self._settings = settings

    def source(self, secret: Secret) -> SecretSource:
        """Give the source of a secret; nothing is read yet."""
        if secret.file:
            return FileSource(self._settings.path(secret.file))
        return EnvironmentSource(secret.environment)
