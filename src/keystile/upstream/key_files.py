"""The keys in the data folder, which `keystile connection` puts there: `connections/NAME/ID.json`.

INVARIANT: a file is there whole or not at all, and only its owner can read it.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.file import SecretFile


class KeyFiles:
    """The folder of keys."""

    def __init__(self, data: Path) -> None:
        """Keep them below the data folder of the gateway."""
        self._folder = data / "connections"

    def read(self, connection: str, id_: str) -> bytes:
        """Give a key file's content. Raises `UnsafeConfigurationError`."""
        return SecretFile(self.path(connection, id_)).read()

    def write(self, connection: str, id_: str, content: bytes) -> Path:
        """Keep a file. Raises `UnsafeConfigurationError` where the folder cannot be written."""
        file = self.path(connection, id_)
        half = file.with_name(f".{uuid4().hex}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as written:
                written.write(content)
                written.flush()
                os.fsync(written.fileno())
            half.rename(file)
        except OSError as error:
            message = f"cannot write `{file}`: {error.strerror}"
            raise UnsafeConfigurationError(message) from error
        return file

    def remove(self, connection: str, id_: str) -> None:
        """Drop a key that is needed no more."""
        self.path(connection, id_).unlink(missing_ok=True)

    def path(self, connection: str, id_: str) -> Path:
        """Say where a key is."""
        return self._folder / connection / f"{id_}.json"
