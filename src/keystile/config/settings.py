"""Every setting of `keystile serve --config FILE`, with its default.

Relative paths count from the folder that holds the file. Durations are seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from keystile.config.identity import Identity, Publishing
from keystile.config.listeners import Console, Gateway, Listener, Storage
from keystile.config.secret_places import Secret
from keystile.config.secret_servers import SecretManager, Vault
from keystile.config.section import Positive, Section, Text
from keystile.config.upstream import Upstream
from keystile.model.masks import KeyName


class EngineLimits(Section, frozen=True, kw_only=True):
    """The GoogleSQL workers. `deadline` is for one analysis; `queue` is how many may wait."""

    workers: Positive = 2
    deadline: Positive = 5
    memory_bytes: Positive = 1 << 30
    queue: Positive = 64
    max_sql_bytes: Positive = 262_144


class Retention(Section, frozen=True, kw_only=True):
    """What happens to recordings older than `after_days`: purged, or moved to `archive`."""

    after_days: Positive = 400
    action: Literal["purge", "archive"] = "archive"
    archive: str = "archive"


class Recording(Section, frozen=True, kw_only=True):
    """Where recordings stand and how long."""

    folder: Text = "recordings"
    segment_bytes: Positive = 64 << 20
    retention: Retention = Retention()


class Settings(Section, frozen=True, kw_only=True):
    """The whole file."""

    gateway: Gateway = Gateway()
    console: Console = Console()
    storage: Storage = Storage()
    public_url: str = ""
    console_url: str = ""
    data: Text = "keystile-data"
    database: str = ""
    policy: Text = "policy"
    publishing: Publishing = Publishing()
    masking_key_file: str = ""
    masking_key: Secret | None = None
    masking_keys: dict[KeyName, Secret] = msgspec.field(default_factory=dict)
    vault: Vault | None = None
    secret_manager: SecretManager = SecretManager()
    upstream: Upstream = Upstream()
    identity: Identity = Identity()
    engine: EngineLimits = EngineLimits()
    recording: Recording = Recording()
    folder: Path = Path()

    def path(self, relative: str) -> Path:
        """Resolve a path of the file against the folder that the file stands in."""
        return self.folder / Path(relative).expanduser()

    @property
    def data_folder(self) -> Path:
        """Where this gateway keeps its own state."""
        return self.path(self.data)

    @property
    def database_url(self) -> str:
        """The control store; a SQLite file in the data folder unless `database` says otherwise."""
        return self.database or f"sqlite+aiosqlite:///{self.data_folder / 'keystile.db'}"

    @property
    def listeners(self) -> dict[str, Listener]:
        """Every server of the gateway that is on, by the name of its section."""
        every = {"gateway": self.gateway, "console": self.console, "storage": self.storage}
        return {name: listener for name, listener in every.items() if listener.port}

    @property
    def gateway_url(self) -> str:
        """The address that agents use."""
        return (self.public_url or _url(self.gateway)).rstrip("/")

    @property
    def domain(self) -> str:
        """The domain under which clients find both APIs by their names, or nothing.

        Google's clients put `bigquery.` and `bigquerystorage.` before it, and look at port 443.
        """
        name = self.gateway_url.removeprefix("https://bigquery.")
        found = self.storage.port and name != self.gateway_url and not {*name} & {*":/"}
        return name if found else ""

    @property
    def people_url(self) -> str:
        """The console's address."""
        return self.console_url or _url(self.console)


def _url(listener: Listener) -> str:
    scheme = "https" if listener.certificate_file else "http"
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{scheme}://{host}:{listener.port}"
