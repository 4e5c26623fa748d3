"""The keys of keyed masks: read again whenever they change, so that one is replaced in service."""

from __future__ import annotations

import os
import time
from secrets import token_hex
from uuid import uuid4

import structlog

from keystile.config.secret_places import Secret
from keystile.config.settings import Settings
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.kept import OUTAGE_SECONDS
from keystile.secrets.source import SecretSource
from keystile.secrets.sources import Secrets

_LEAST, _MOST = 32, 64
"""HMAC-SHA-256 asks for 32 bytes, and its block holds 64."""

_log = structlog.get_logger(room="secrets")


class MaskingKeys:
    """All of them by name; the one that every gateway has has the empty name."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        """Take where they stand; nothing is read before `open`."""
        self._settings = settings
        self._secrets = secrets
        self._keys: dict[str, _Key] = {}

    async def open(self) -> None:
        """Read all of them; the one without a name is made where none is configured.

        Raises `UnsafeConfigurationError` for a key that is too short to be safe, or too long.
        """
        named = self._settings.masking_key or Secret(
            file=self._settings.masking_key_file or _made(self._settings)
        )
        for name, secret in {"": named, **self._settings.masking_keys}.items():
            self._keys[name] = key = _Key(self._secrets.source(secret))
            await key.first()

    async def key(self, name: str) -> bytes:
        """Give the key of a name as it is now. Raises `UnsafeConfigurationError`."""
        if name not in self._keys:
            raise UnsafeConfigurationError(
                f"the settings have no masking key `{name}`", hint="add it to `masking_keys`"
            )
        return await self._keys[name].read()


class _Key:
    """One key. INVARIANT: a new one that is no key, or half written, loses no query."""

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._last = b""
        self._read = 0.0
        self._problem = ""

    async def first(self) -> None:
        self._last, self._read = await self._now(), time.monotonic()

    async def read(self) -> bytes:
        try:
            key = await self._now()
        except UnsafeConfigurationError as error:
            if time.monotonic() - self._read > OUTAGE_SECONDS:
                raise
            if self._problem != error.message:
                _log.error("masking_key_not_replaced", reason=str(error))
            self._problem = error.message
            return self._last
        if key != self._last:
            _log.info("masking_key_replaced", secret_name=self._source.name)
        self._last, self._read, self._problem = key, time.monotonic(), ""
        return key

    async def _now(self) -> bytes:
        key = (await self._source.read()).strip()
        if not _LEAST <= len(key) <= _MOST:
            raise UnsafeConfigurationError(
                f"the masking key in `{self._source.name}` is {len(key)} bytes long, not"
                f" {_LEAST} to {_MOST}",
                hint="make one with `openssl rand -hex 32`",
            )
        return key


def _made(settings: Settings) -> str:
    file = settings.data_folder / "masking-key"
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        half = file.with_name(f".masking-key-{uuid4().hex}")
        half.touch(mode=0o600)
        half.write_text(token_hex(_LEAST), encoding="ascii")
        try:
            # A link never replaces: of two gateways that start together, both use the first key.
            os.link(half, file)
        except FileExistsError:
            pass
        finally:
            half.unlink()
    return str(file)
