"""A connection that is in use, and where its keys come from."""

from __future__ import annotations

import asyncio
import time

from keystile.config.upstream import Connection as ConnectionSettings
from keystile.model.errors import KeystileError
from keystile.secrets.source import SecretSource
from keystile.telemetry.logs import logger
from keystile.upstream.application_default import ApplicationDefault, Found
from keystile.upstream.connection import Connection
from keystile.upstream.keys import LIFETIME_SECONDS, SigningKey

_log = logger("upstream")


class Opened:
    """One connection. `keys` are those read so far, and `current` is the id of the one to sign.

    `found` is what there was as application default, and `problem` what cannot be read now.
    """

    def __init__(
        self, settings: ConnectionSettings, connection: Connection, source: SecretSource | None
    ) -> None:
        """`source` is the key that the settings name, if they name one."""
        self.settings = settings
        self.connection = connection
        self.keys: dict[str, SigningKey] = {}
        self.current = ""
        self.found: Found | None = None
        self.problem: KeystileError | None = None
        self._source = source
        self._default = ApplicationDefault()
        self._read_at = 0.0
        if settings.metadata_server or settings.external_account_file:
            connection.use([None])

    @property
    def has_keys(self) -> bool:
        """Whether it stands on keys of a service account, as far as is known."""
        if self.settings.application_default:
            return self.found is not None and self.found.is_key
        return self.settings.kind == "service account"

    @property
    def in_data_folder(self) -> bool:
        """Whether its keys are those that commands put there."""
        return self.settings.kind == "service account" and self._source is None

    async def named_key(self) -> tuple[bytes, str] | None:
        """Read the key that stands where the settings say, and give where that is.

        None where there is none such. Raises `UnsafeConfigurationError`.
        """
        if self.settings.application_default:
            found = await self._find()
            return (found.content, found.where) if found.is_key else None
        if self._source is None:
            return None
        return await self._source.read(), self._source.name

    def has_read(self) -> None:
        """Note that all is well with what it stands on."""
        self._read_at, self.problem = time.time(), None

    def cannot_read(self, problem: KeystileError) -> None:
        """Go on with what was there; where it stays unreadable, for as long as a token."""
        self.problem = problem
        if time.time() > self._read_at + LIFETIME_SECONDS:
            self.keys = {}
            self.connection.use(())

    async def _find(self) -> Found:
        """Look what application default credentials are now."""
        found = await asyncio.to_thread(self._default.find)
        before = self.found
        if before and (found.kind, found.where) != (before.kind, before.where):
            _log.warning("credential_other", connection=self.connection.name, what=found.told)
        if found != before and not found.is_key:
            # INVARIANT: a token of whoever stood there before is used no more.
            self.keys, self.current = {}, ""
            self.connection.anew()
        self.found = found
        return found
