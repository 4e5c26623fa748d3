"""The port behind which a secret stands, wherever it is kept."""

from __future__ import annotations

from typing import Protocol


class SecretSource(Protocol):
    """A secret that may change while the gateway runs; ask again rather than keep it.

    `name` is what logs and errors may say of it. INVARIANT: it never holds the value.
    """

    @property
    def name(self) -> str:
        """Say in a few words, to stand between backticks, where the secret is."""
        ...

    async def read(self) -> bytes:
        """Give the secret as it is now.

        Raises `UnsafeConfigurationError` when it is missing or empty, or cannot be read.
        """
        ...
