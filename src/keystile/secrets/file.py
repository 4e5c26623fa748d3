"""A secret that stands in a file, as a mounted Kubernetes or systemd secret does."""

from __future__ import annotations

import stat
from pathlib import Path

import structlog

from keystile.model.errors import UnsafeConfigurationError

# A service-account key has some 2.4 KB; anything far larger is the wrong file.
_MAX_BYTES = 64 << 10


class SecretFile:
    """Reads a file again whenever it changes, so that a rotated secret needs no restart."""

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is read yet."""
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._content = b""

    def __repr__(self) -> str:
        """Name the file, never its content."""
        return f"SecretFile({str(self.path)!r})"

    def read(self) -> bytes:
        """Give the content as it stands now.

        Raises `UnsafeConfigurationError` when the file is missing, unreadable, empty or too large.
        """
        try:
            status = self.path.stat()
            # A replaced mount keeps its time stamp at worst, but not its inode.
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version != self._seen:
                self._content = self._read_whole(status.st_size)
                self._warn_if_exposed(status.st_mode)
                self._seen = version
        except OSError as error:
            message = f"cannot read the secret file `{self.path}`: {error.strerror}"
            raise UnsafeConfigurationError(message) from error
        return self._content

    def _read_whole(self, size: int) -> bytes:
        content = self.path.read_bytes() if size <= _MAX_BYTES else b""
        if not content:
            message = f"the secret file `{self.path}` is empty or larger than {_MAX_BYTES} bytes"
            raise UnsafeConfigurationError(message)
        return content

    def _warn_if_exposed(self, mode: int) -> None:
        # Not refused: Kubernetes mounts secrets with mode 0644 by default.
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            structlog.get_logger(__name__).warning(
                "secret_file_open_to_all", path=str(self.path), mode=stat.filemode(mode)
            )
