"""All connections of the gateway, from the settings and from the store, followed as they change.

Settings name where a key is; `keystile connection add` copies it into the data folder. Either way
the store knows each key by its id, so that all replicas agree on which one signs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from keystile.config.settings import Settings
from keystile.config.upstream import DEFAULT_CONNECTION
from keystile.config.upstream import Connection as ConnectionSettings
from keystile.model.errors import KeystileError, RefusedError, UnsafeConfigurationError
from keystile.secrets.sources import Secrets
from keystile.store.database import Database
from keystile.telemetry.logs import logger
from keystile.tls.from_settings import to_google
from keystile.upstream.application_default import Found
from keystile.upstream.connection import Connection, Fetch, Way
from keystile.upstream.google_tokens import GoogleTokens
from keystile.upstream.key_files import KeyFiles
from keystile.upstream.keys import SigningKey
from keystile.upstream.opened import Opened
from keystile.upstream.stored import Change, KeyState, StoredConnections, StoredKey, of_connection
from keystile.upstream.tokens import Token
from keystile.upstream.values import Account

_FOLLOW_SECONDS = 1.0
_FALLBACK_SECONDS = 600.0
"""How long a key can be fallen back on at least: Google may take minutes to know a new one."""

OLD_SECONDS = 90 * 24 * 3600.0
"""From what age on a key that signs is old, which is warned of."""

_WARN_EVERY_SECONDS = 24 * 3600.0

_log = logger("upstream")


class CredentialAge(NamedTuple):
    """What the metrics say of one key, or of a connection without keys, which has no `age`.

    `expires` is when the last token ends, in UTC seconds since the epoch; None before the first.
    """

    connection: str
    key: str
    age: float | None
    expires: float | None
    rejections: int


class Connections:
    """The connections by name."""

    def __init__(self, settings: Settings, database: Database, secrets: Secrets) -> None:
        """Know none before `open`."""
        self._settings = settings
        self._stored = StoredConnections(database)
        self._secrets = secrets
        self._files = KeyFiles(settings.data_folder)
        google = to_google(settings)
        self.ends = google.ends
        self._google = GoogleTokens(settings.upstream.iam_endpoint, google)
        self._opened: dict[str, Opened] = {}
        self._known: tuple[StoredKey, ...] = ()
        self._loading = asyncio.Lock()
        self._warned_at: dict[str, float] = {}

    async def open(self) -> None:
        """Read every credential once.

        Raises `UnsafeConfigurationError` where there is none, or one of the settings' is not
        usable.
        """
        await self._load(strict=True)
        if not self._opened:
            raise UnsafeConfigurationError(
                "the gateway has no connection to BigQuery",
                hint="give `upstream.service_account_file`, or run `keystile connection add`",
            )

    async def close(self) -> None:
        """Give all resources back."""
        await self._google.close()

    async def follow(self, oldest_running: Callable[[], Awaitable[float | None]]) -> None:
        """Look for changes for ever; `oldest_running` says since when the oldest job runs."""
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            try:
                await self._load(strict=False)
                retiring = any(key.state is KeyState.RETIRING for key in self._known)
                await self._drop_retired(await oldest_running() if retiring else None)
            except KeystileError as error:
                _log.warning("connections_not_followed", reason=str(error))
            except Exception:  # noqa: BLE001 - no fault ends it, or rotated keys would never count
                _log.exception("connections_fault")

    async def load(self) -> None:
        """Take over what is there now, without what cannot be read."""
        await self._load(strict=False)

    async def every(self) -> dict[str, ConnectionSettings]:
        """Give what every connection is, those of the settings and those that commands added."""
        wanted = dict(self._settings.upstream.every_connection)
        for one in await self._stored.connections():
            wanted.setdefault(one.name, one.settings)
        return wanted

    def ways(self, name: str) -> tuple[Way, ...]:
        """Give a connection's ways to a token; none where it is not there."""
        opened = self._opened.get(name)
        return opened.connection.ways if opened else ()

    def found(self, name: str) -> Found | None:
        """Give what a connection has found as application default, where it looks for that.

        Raises `KeystileError` where what a connection stands on cannot be read.
        """
        opened = self._opened.get(name)
        if opened and opened.problem:
            raise opened.problem
        return opened.found if opened else None

    def has_keys(self, name: str) -> bool:
        """Tell whether a connection stands on keys of a service account, as far as is known."""
        return name in self._opened and self._opened[name].has_keys

    async def account(self, name: str) -> Account:
        """Say who a connection is at BigQuery. Raises `RefusedError`."""
        return Account(name, await self._named(name).account())

    async def bearer(self, account: Account) -> str:
        """Give a token of an account. Raises `RefusedError` where its connection has none."""
        return await self._named(account.connection).bearer(account.name)

    async def rejected(self, account: Account, token: str) -> bool:
        """Hear that Google does not take a token; tell whether there is another one to try."""
        return await self._named(account.connection).rejected(token)

    async def check(self) -> None:
        """Raise `RefusedError` where no connection has a token: the default's reason, if any."""
        names = sorted(self._opened, key=lambda name: name != DEFAULT_CONNECTION)
        problem: RefusedError | None = None
        for name in names:
            try:
                await self.account(name)
            except RefusedError as error:
                problem = problem or error
            else:
                return
        if problem:
            raise problem

    def ages(self) -> Iterator[CredentialAge]:
        """Say how old each credential is, for the metrics."""
        now = time.time()
        added = {(key.connection, key.id): key.added_at for key in self._known}
        for name, opened in self._opened.items():
            for way in opened.connection.ways:
                since = added.get((name, way.id))
                last = way.fresh.last
                yield CredentialAge(
                    name,
                    way.id,
                    now - since if since is not None else None,
                    last.expires if last else None,
                    opened.connection.rejections,
                )

    def _named(self, name: str) -> Connection:
        opened = self._opened.get(name)
        if opened is not None:
            return opened.connection
        if name == DEFAULT_CONNECTION:
            raise RefusedError(
                "no connection to BigQuery is given to this agent, and there is no default one",
                hint="ask the operator of the gateway",
            )
        raise RefusedError(
            f"the gateway has no connection `{name}` to BigQuery",
            hint="ask the operator of the gateway",
        )

    async def _load(self, *, strict: bool) -> None:
        """Take over what has changed. With `strict`, what cannot be read is raised."""
        async with self._loading:
            wanted = await self.every()
            self._known = await self._stored.keys()
            for name, settings in wanted.items():
                opened = self._opened.get(name)
                if opened is None or opened.settings != settings:
                    opened = self._new(name, settings)
                try:
                    await self._load_keys(name, opened)
                except UnsafeConfigurationError as error:
                    if strict and name in self._settings.upstream.every_connection:
                        raise
                    self._unreadable(name, opened, error)
                self._opened[name] = opened
            for name in self._opened.keys() - wanted.keys():
                del self._opened[name]

    async def _load_one(self, name: str) -> None:
        """Look at once whether a connection has other keys now, as after Google refused one."""
        async with self._loading:
            self._known = await self._stored.keys()
            opened = self._opened[name]
            try:
                await self._load_keys(name, opened)
            except UnsafeConfigurationError as error:
                self._unreadable(name, opened, error)

    def _new(self, name: str, settings: ConnectionSettings) -> Opened:
        fetch = partial(self._fetch, name, settings)
        stands_in = settings.service_account
        source = self._secrets.source(stands_in) if stands_in else None
        return Opened(settings, Connection(name, fetch, partial(self._load_one, name)), source)

    def _fetch(self, name: str, settings: ConnectionSettings, key: SigningKey | None) -> Fetch:
        async def signed() -> Token:
            assert key is not None  # noqa: S101 - see below
            # Signing takes milliseconds of CPU, which the event loop should not pay.
            return await asyncio.to_thread(key.sign)

        async def asked() -> Token:
            return await self._google.fetch(name, settings, key, self._settings.folder)

        return signed if key is not None and not settings.impersonate else asked

    async def _load_keys(self, name: str, opened: Opened) -> None:
        """Take over a connection's keys: those that the store lists, the settings' own first."""
        named = await opened.named_key()
        if named is not None:
            await self._adopt(name, opened, *named)
        elif opened.in_data_folder:
            await self._read(name, opened)
        opened.has_read()
        if not opened.has_keys:
            return
        listed = [key.id for key in of_connection(self._known, name)]
        listed.sort(key=lambda id_: id_ != opened.current)
        opened.keys = {id_: opened.keys[id_] for id_ in listed if id_ in opened.keys}
        opened.connection.use(opened.keys.values())

    async def _adopt(self, name: str, opened: Opened, content: bytes, where: str) -> None:
        """Take the key that the settings name; one that was not known before signs from now on."""
        current = opened.keys.get(opened.current)
        if current is None or current.content != content:
            key = await asyncio.to_thread(SigningKey, content, where)
            opened.keys[key.id] = key
            opened.current = key.id
        key = opened.keys[opened.current]
        before = [one.id for one in of_connection(self._known, name)]
        if key.id not in before:
            now, kind = time.time(), opened.settings.kind
            change = Change("replace", name, kind, key.account, "", now, key.id, where, "settings")
            replaced = change if before else None
            await self._stored.adopt(name, key.id, key.account, now, replaced)
            self._known = await self._stored.keys()
            if before:
                _log.info("credential_rotated", connection=name, key=key.id, account=key.account)

    async def _read(self, name: str, opened: Opened) -> None:
        """Read those keys of the data folder that are not known yet."""
        for one in of_connection(self._known, name):
            if one.id not in opened.keys:
                content = await asyncio.to_thread(self._files.read, name, one.id)
                where = f"key `{one.id}` of the connection `{name}`"
                opened.keys[one.id] = await asyncio.to_thread(SigningKey, content, where)

    def _unreadable(self, name: str, opened: Opened, error: KeystileError) -> None:
        opened.cannot_read(error)
        self._warn(f"unreadable {name}", "credential_unreadable", name, reason=error.message)

    async def _drop_retired(self, oldest_running: float | None) -> None:
        now = time.time()
        before = min(oldest_running or now, now - _FALLBACK_SECONDS)
        for key in await self._stored.drop_retired(before):
            await asyncio.to_thread(self._files.remove, key.connection, key.id)
            _log.info("credential_key_dropped", connection=key.connection, key=key.id)
        self._warn_of_old(self._known, now)

    def _warn_of_old(self, keys: Iterable[StoredKey], now: float) -> None:
        for key in keys:
            age = now - key.added_at
            if key.state is KeyState.ACTIVE and age > OLD_SECONDS:
                days = round(age / 86400)
                self._warn(key.id, "credential_old", key.connection, key=key.id, days=days)

    def _warn(self, what: str, event: str, connection: str, **more: object) -> None:
        now = time.monotonic()
        if now >= self._warned_at.get(what, 0.0):
            self._warned_at[what] = now + _WARN_EVERY_SECONDS
            _log.warning(event, connection=connection, **more)
