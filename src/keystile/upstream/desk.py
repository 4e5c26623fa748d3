"""What an operator does with connections: add one, try it, replace its key, list them all.

INVARIANT: nothing here gives a key or a token; a key goes from its file into the data folder.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from keystile.config.load import check_name
from keystile.config.settings import Settings
from keystile.config.upstream import Connection as ConnectionSettings
from keystile.model.errors import (
    DuplicateError,
    InUseError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    RefusedError,
)
from keystile.secrets.file import SecretFile
from keystile.store.database import Database
from keystile.tls.from_settings import to_upstream
from keystile.upstream.connection import Way
from keystile.upstream.connections import Connections
from keystile.upstream.key_files import KeyFiles
from keystile.upstream.keys import SigningKey
from keystile.upstream.listing import Listed, Listing
from keystile.upstream.stored import (
    Change,
    KeyState,
    StoredConnection,
    StoredConnections,
    of_connection,
)
from keystile.upstream.transport import Call, Transport

_EXTERNAL = "external-account"
_USES_TOLD = 5
_AGAIN = "run `keystile connection rotate {}` again in a minute: Google may not know the key yet"


class Tried(NamedTuple):
    """What came of a real call; `problem` is a sentence, or empty where all is well."""

    key: str
    account: str
    problem: str


class Desk:
    """Acts for one command, on a store and a data folder that gateways use meanwhile."""

    def __init__(self, settings: Settings, database: Database, connections: Connections) -> None:
        """Take an open store, and connections that are loaded."""
        self._settings = settings
        self._stored = StoredConnections(database)
        self._files = KeyFiles(settings.data_folder)
        self._connections = connections

    async def add(self, name: str, settings: ConnectionSettings, key_file: Path | None) -> str:
        """Add a connection, with a key where it is one of a service account; gives its account.

        Raises `DuplicateError` for a name that is taken, `UnsafeConfigurationError` for what is no
        key.
        """
        check_name("the command", name)
        if name in self._settings.upstream.every_connection:
            message = f"the settings have a connection `{name}` already"
            raise DuplicateError(message, hint="choose another name")
        key = None if key_file is None else _read(key_file)
        if settings.external_account_file:
            source = Path(settings.external_account_file)
            kept = self._files.write(name, _EXTERNAL, SecretFile(source).read())
            settings = msgspec.structs.replace(settings, external_account_file=str(kept.absolute()))
        now = time.time()
        account = settings.impersonate or (key.account if key else "")
        added = StoredConnection(name, settings, now, getpass.getuser())
        await self._stored.add(added, account, key.id if key else "")
        if key is not None:
            self._files.write(name, key.id, key.content)
            await self._stored.adopt(name, key.id, key.account, now)
        return account

    async def rotate(self, name: str, key_file: Path | None) -> str:
        """Let a new key sign, once Google takes it; gives its id. The one before it retires.

        Without a file it is the key that was given before and not taken yet. Raises `RefusedError`
        where Google does not take it: then it stays the next one.
        """
        if name in self._settings.upstream.every_connection:
            raise InvalidRequestError(
                f"the key of `{name}` stands where the settings say",
                hint="write the new one there: it signs within seconds, and the old one is kept",
            )
        made = (await self._connections.every()).get(name)
        if made and made.application_default:
            raise InvalidRequestError(
                f"`{name}` uses what application default credentials are on its machine",
                hint="write the new key there: it signs within seconds, and the old one is kept",
            )
        known = of_connection(await self._stored.keys(), name)
        if not known:
            raise NotFoundError(f"there is no connection `{name}` that has a key")
        if key_file is not None:
            key = _read(key_file)
            if key.account != known[0].account:
                raise InvalidRequestError(
                    f"this key is one of `{key.account}`, and `{name}` is `{known[0].account}`",
                    hint="add another connection for another account",
                )
            self._files.write(name, key.id, key.content)
            await self._stored.add_key(name, key.id, key.account, time.time())
            id_ = key.id
        else:
            waiting = [one.id for one in known if one.state is KeyState.NEXT]
            if not waiting:
                message = f"no key of `{name}` waits to sign"
                raise InvalidRequestError(message, hint="give one with --key-file")
            id_ = waiting[0]
        await self._connections.load()
        [tried] = [one for one in await self.test(name) if one.key == id_]
        if tried.problem:
            raise RefusedError(tried.problem, hint=_AGAIN.format(name))
        now = time.time()
        await self._stored.promote(name, id_, now, await self._change("rotate", name, now, id_))
        return id_

    async def remove(self, name: str, uses: Sequence[str]) -> None:
        """Take a connection that a command added away, with its keys.

        `uses` are what it is needed for still. Raises `InUseError` naming them, `NotFoundError`,
        and `InvalidRequestError` for one of the settings.
        """
        if name in self._settings.upstream.every_connection:
            message = f"the connection `{name}` stands in the settings"
            raise InvalidRequestError(message, hint="take it out there")
        if name not in await self._connections.every():
            message = f"there is no connection `{name}`"
            raise NotFoundError(message, hint="see `keystile connection list`")
        if uses:
            told = ", ".join(uses[:_USES_TOLD])
            more = f" and {len(uses) - _USES_TOLD} more" if len(uses) > _USES_TOLD else ""
            message = f"the connection `{name}` is in use by {told}{more}"
            hint = "take it out of the policy, and wait for what runs or cancel it"
            raise InUseError(message, hint=hint)
        for key in await self._stored.remove(await self._change("remove", name, time.time())):
            self._files.remove(name, key.id)
        self._files.remove(name, _EXTERNAL)

    async def _change(self, action: str, name: str, now: float, key: str = "") -> Change:
        settings = (await self._connections.every())[name]
        keys = of_connection(await self._stored.keys(), name)
        account = settings.impersonate or (keys[0].account if keys else "")
        return Change(action, name, settings.kind, account, getpass.getuser(), now, key)

    def found(self, name: str) -> str:
        """Say what a connection has found as application default; empty where it is another kind.

        Raises `KeystileError` where what it stands on cannot be read.
        """
        found = self._connections.found(name)
        return found.told if found else ""

    async def test(self, name: str, project: str = "") -> tuple[Tried, ...]:
        """Make a real call with each of a connection's keys, in `project` where one is given."""
        found = self._connections.ways(name)
        self.found(name)  # raises what cannot be read
        if not found:
            message = f"there is no connection `{name}`"
            raise NotFoundError(message, hint="see `keystile connection list`")
        return tuple([await self._tried(way, project) for way in found])

    async def list(self) -> tuple[Listed, ...]:
        """List every connection with its keys."""
        return await Listing(self._stored, self._connections).list()

    async def _tried(self, way: Way, project: str) -> Tried:
        upstream = self._settings.upstream
        who = way.key.account if way.key else ""
        try:
            token = await way.fresh.get()
            who = token.account
            outward = to_upstream(self._settings)
            transport = Transport(
                upstream.endpoint, _OneToken(token.text), upstream.timeout, outward
            )
            try:
                answer = await transport.send(_call(project))
            finally:
                await transport.close()
                await outward.close()
        except KeystileError as error:
            return Tried(way.id, who, error.message)
        return Tried(way.id, who, _problem(answer.status, way.id, who, project))


class _OneToken:
    """A credential that has one token and no other."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def bearer(self) -> str:
        return self._token

    async def rejected(self, _token: str) -> bool:
        return False


def _read(file: Path) -> SigningKey:
    return SigningKey(SecretFile(file).read(), str(file))


def _call(project: str) -> Call:
    if not project:
        return Call("GET", ("projects",), {"maxResults": "1"})
    query = {"query": "SELECT 1", "useLegacySql": False}
    body = msgspec.json.encode({"configuration": {"dryRun": True, "query": query}})
    return Call("POST", ("projects", project, "jobs"), body=body)


def _problem(status: int, key: str, account: str, project: str) -> str:
    if status < 300:  # noqa: PLR2004 - HTTP's own classes
        return ""
    by = f"the key `{key}` of `{account}`" if key else f"the token of `{account}`"
    if status == 401:  # noqa: PLR2004 - the same
        return f"Google does not take {by}"
    if status == 403 and project:  # noqa: PLR2004 - the same
        return f"`{account}` may not run jobs in `{project}`: it needs `roles/bigquery.jobUser`"
    return f"BigQuery answered {status} to {by}"
