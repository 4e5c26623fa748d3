"""Application default credentials, found where Google's libraries look for them, in their order.

First the file that `GOOGLE_APPLICATION_CREDENTIALS` names, then gcloud's own, then the metadata
server (Google's AIP-4110).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.file import SecretFile
from keystile.upstream import credential_files

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_FOLDER = "CLOUDSDK_CONFIG"
_FILE = "application_default_credentials.json"


class Found(NamedTuple):
    """What was found: `kind` in words and `where`. `content` is a file's; empty for none."""

    kind: str
    where: str
    content: bytes
    is_key: bool

    def __repr__(self) -> str:
        """Say what was found, never what is in it."""
        return f"Found({self.told!r})"

    @property
    def told(self) -> str:
        """Say it to people."""
        return f"{self.kind} in `{self.where}`" if self.content else self.kind


_NONE = Found("the metadata server", "", b"", is_key=False)


class ApplicationDefault:
    """Looks for them again and again; a file is read again when it has changed."""

    def __init__(self) -> None:
        """Nothing is looked for yet."""
        self._file: SecretFile | None = None

    def find(self) -> Found:
        """Give what is there now.

        INVARIANT: a file that is named and cannot be used is never passed over for what comes
        next, which would be another identity. Raises `UnsafeConfigurationError`.
        """
        named = os.environ.get(VARIABLE, "")
        path = Path(named) if named else well_known()
        if not named and not path.is_file():
            return _NONE
        if self._file is None or self._file.path != path:
            self._file = SecretFile(path)
        try:
            content = self._file.read()
        except UnsafeConfigurationError as error:
            if not named:
                raise
            message = f"`{VARIABLE}`: {error.message}"
            raise UnsafeConfigurationError(message, hint=error.hint) from error
        where = str(path)
        info = credential_files.read(content, where)
        is_key = info["type"] == credential_files.SERVICE_ACCOUNT
        return Found(credential_files.KINDS[info["type"]], where, content, is_key)


def well_known() -> Path:
    """Say where `gcloud auth application-default login` puts its file."""
    folder = os.environ.get(_FOLDER)
    return Path(folder or os.path.expanduser("~/.config/gcloud")) / _FILE  # noqa: PTH111 - no home raises nothing here
