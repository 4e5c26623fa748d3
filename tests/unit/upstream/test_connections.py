from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from structlog.testing import capture_logs

from keystile.config.settings import Settings
from keystile.config.upstream import Connection, Upstream
from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.store.database import Database
from keystile.store.notes import Notes
from keystile.tls.from_settings import secrets_of
from keystile.upstream import connections as module
from keystile.upstream.connections import Connections
from keystile.upstream.key_files import KeyFiles
from keystile.upstream.keys import SigningKey
from keystile.upstream.stored import StoredConnection, StoredConnections
from keystile.upstream.tokens import Token
from keystile.upstream.values import Account

GATEWAY = Account("default", "gateway@acme-shop.iam.gserviceaccount.com")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'data' / 'keystile.db'}")
    await database.open()
    yield database
    await database.close()


Made = Callable[..., Connections]


@pytest.fixture
async def make(tmp_path: Path, database: Database) -> AsyncIterator[Made]:
    made: list[Connections] = []

    def one(**upstream: Any) -> Connections:
        upstream = upstream or {"service_account_file": "key.json"}
        settings = Settings(upstream=Upstream(**upstream), data="data", folder=tmp_path)
        made.append(Connections(settings, database, secrets_of(settings)))
        return made[-1]

    yield one
    for connections in made:
        await connections.close()


async def key_of(connections: Connections, account: Account = GATEWAY) -> str:
    token = await connections.bearer(account)
    return str(json.loads(_part(token.split(".")[0]))["kid"])


def _part(text: str) -> bytes:

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_the_two_line_settings_make_the_default_connection(
    make: Made, tmp_path: Path, new_key: Any
) -> None:
    key = new_key(tmp_path / "key.json", "a")
    connections = make()
    await connections.open()
    assert await connections.account("default") == GATEWAY
    token = await connections.bearer(GATEWAY)
    assert jwt.decode(token, key.public, algorithms=["RS256"]).header["kid"] == "a"
    await connections.check()


async def test_a_gateway_with_no_connection_does_not_start(make: Made) -> None:
    with pytest.raises(UnsafeConfigurationError, match="has no connection to BigQuery"):
        await make(connections={}).open()


async def test_a_key_of_the_settings_that_is_none_stops_the_start(
    make: Made, tmp_path: Path
) -> None:
    (tmp_path / "key.json").write_text("not a key")
    with pytest.raises(UnsafeConfigurationError, match="not a Google service-account key"):
        await make().open()


async def test_a_replaced_file_signs_at_once_and_the_old_key_can_be_fallen_back_on(
    make: Made, tmp_path: Path, new_key: Any, database: Database
) -> None:
    new_key(tmp_path / "key.json", "a")
    connections = make()
    await connections.open()
    new_key(tmp_path / "key.json", "b")
    await connections._load(strict=False)
    assert await key_of(connections) == "b"
    # Google does not know the new one yet.
    assert await connections.rejected(GATEWAY, await connections.bearer(GATEWAY))
    assert await key_of(connections) == "a"
    keys = await StoredConnections(database).keys()
    assert {key.id: key.state.value for key in keys} == {"a": "retiring", "b": "active"}


async def test_a_file_that_was_replaced_this_very_moment_is_read_when_google_says_no(
    make: Made, tmp_path: Path, new_key: Any
) -> None:
    new_key(tmp_path / "key.json", "a")
    connections = make()
    await connections.open()
    token = await connections.bearer(GATEWAY)
    new_key(tmp_path / "key.json", "b")
    assert await connections.rejected(GATEWAY, token)
    assert await key_of(connections) == "b"


async def test_a_key_that_is_just_being_replaced_stops_nothing_for_as_long_as_a_token_lasts(
    make: Made, tmp_path: Path, new_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key(tmp_path / "key.json", "a")
    connections = make()
    await connections.open()
    (tmp_path / "key.json").write_text('{"client_email": "half a fi')
    with capture_logs() as logs:
        await connections._load(strict=False)
        await connections._load(strict=False)
    assert [line["event"] for line in logs] == ["credential_unreadable"]
    assert await key_of(connections) == "a"
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    await connections._load(strict=False)
    with pytest.raises(RefusedError, match="`default` cannot be read"):
        await connections.bearer(GATEWAY)
    with pytest.raises(RefusedError, match="cannot be read"):
        await connections.check()


async def added(database: Database, tmp_path: Path, new_key: Any, *ids: str) -> None:
    """Add the connection `reports` with these keys, as the command does."""
    stored, files = StoredConnections(database), KeyFiles(tmp_path / "data")
    for id_ in ids:
        content = new_key(tmp_path / f"{id_}.json", id_).path.read_bytes()
        key = SigningKey(content, id_)
        files.write("reports", id_, content)
        await stored.adopt("reports", id_, key.account, time.time())
    await stored.add(StoredConnection("reports", Connection(), time.time(), "me"))


async def test_another_replica_follows_what_a_command_added_and_rotated(
    make: Made, tmp_path: Path, new_key: Any, database: Database
) -> None:
    connections = make(connections={"else": Connection(metadata_server=True)})
    await connections.open()
    with pytest.raises(RefusedError, match="no connection `reports`"):
        await connections.account("reports")
    await added(database, tmp_path, new_key, "a", "b")
    await connections._load(strict=False)
    account = await connections.account("reports")
    assert await key_of(connections, account) == "b"


async def test_a_retired_key_goes_once_nothing_runs_that_began_before(
    make: Made, tmp_path: Path, new_key: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key(tmp_path / "key.json", "d")
    await added(database, tmp_path, new_key, "a", "b")
    connections = make()
    await connections.open()
    file = KeyFiles(tmp_path / "data").path("reports", "a")
    began = time.time() - 5
    later = time.time() + 601
    monkeypatch.setattr(time, "time", lambda: later)
    await connections._drop_retired(began)
    assert file.exists()
    await connections._drop_retired(None)
    assert not file.exists()
    await connections._load(strict=False)
    assert {age.key for age in connections.ages()} == {"b", "d"}


async def test_a_retired_key_stays_for_minutes_though_nothing_runs(
    make: Made, tmp_path: Path, new_key: Any, database: Database
) -> None:
    new_key(tmp_path / "key.json", "d")
    await added(database, tmp_path, new_key, "a", "b")
    connections = make()
    await connections.open()
    await connections._drop_retired(None)
    assert KeyFiles(tmp_path / "data").path("reports", "a").exists()


async def test_changes_are_followed_by_themselves(
    make: Made, tmp_path: Path, new_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key(tmp_path / "key.json", "a")
    monkeypatch.setattr(module, "_FOLLOW_SECONDS", 0.01)
    connections = make()
    await connections.open()

    async def none() -> float | None:
        return None

    following = asyncio.ensure_future(connections.follow(none))
    new_key(tmp_path / "key.json", "b")
    for _ in range(1000):
        if await key_of(connections) == "b":
            break
        await asyncio.sleep(0.01)
    following.cancel()
    # It may be in the store: closed under it, that would wait for it for ever.
    await asyncio.gather(following, return_exceptions=True)
    assert await key_of(connections) == "b"


async def test_an_agent_with_no_connection_is_refused_where_there_is_no_default(
    make: Made,
) -> None:
    connections = make(connections={"reports": Connection(metadata_server=True)})
    await connections.open()
    with pytest.raises(RefusedError, match="there is no default one"):
        await connections.account("default")


async def test_a_key_of_another_account_refuses_what_the_old_one_began(
    make: Made, tmp_path: Path, new_key: Any
) -> None:
    new_key(tmp_path / "key.json", "a")
    await (before := make()).open()
    assert await before.account("default") == GATEWAY
    text = new_key(tmp_path / "key.json", "b").path.read_text().replace("gateway@", "other@")
    (tmp_path / "key.json").write_text(text)
    await (after := make()).open()
    assert (await after.account("default")).name.startswith("other@")
    with pytest.raises(RefusedError, match="begun as `gateway@"):
        await after.bearer(GATEWAY)


async def test_ages_and_ends_are_told_for_the_metrics_and_old_keys_in_the_log(
    make: Made, tmp_path: Path, new_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key(tmp_path / "key.json", "a")
    connections = make()
    await connections.open()
    await connections.bearer(GATEWAY)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 91 * 86400)
    [age] = connections.ages()
    assert (age.connection, age.key, age.rejections) == ("default", "a", 0)
    assert round(age.age or 0, -3) == round(91 * 86400, -3)
    assert age.expires is not None
    assert 3500 < age.expires - now <= 3600
    with capture_logs() as logs:
        await connections._drop_retired(None)
        await connections._drop_retired(None)
    assert [(line["event"], line["key"], line["days"]) for line in logs] == [
        ("credential_old", "a", 91)
    ]


async def test_a_key_that_is_found_as_application_default_is_followed_as_any_other(
    make: Made, tmp_path: Path, new_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    new_key(tmp_path / "key.json", "a")
    connections = make(connections={"default": Connection(application_default=True)})
    await connections.open()
    assert await key_of(connections) == "a"
    new_key(tmp_path / "key.json", "b")
    await connections.load()
    assert await key_of(connections) == "b"
    assert await connections.rejected(GATEWAY, await connections.bearer(GATEWAY))
    assert await key_of(connections) == "a"


async def test_nobodys_token_is_used_on_once_another_stands_there(
    make: Made, tmp_path: Path, new_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "adc.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    connections = make(connections={"default": Connection(application_default=True)})
    fetched: list[str] = []

    async def fetch(*_: object) -> Token:
        fetched.append(json.loads(file.read_bytes())["refresh_token"])
        return Token(f"token of {fetched[-1]}", fetched[-1], time.time() + 3600)

    monkeypatch.setattr(connections._google, "fetch", fetch)

    def signed_in(who: str) -> None:
        file.write_text(json.dumps({"type": "authorized_user", "refresh_token": who}))

    signed_in("ana")
    await connections.open()
    assert (await connections.account("default")).name == "ana"
    await connections.load()
    assert (await connections.account("default")).name == "ana"
    assert fetched == ["ana"]
    signed_in("ben, who is another")
    await connections.load()
    assert (await connections.account("default")).name == "ben, who is another"
    with pytest.raises(RefusedError, match="begun as `ana`"):
        await connections.bearer(Account("default", "ana"))
    # What is half written changes nothing for now; it is said to who looks.
    file.write_text('{"type": "authori')
    await connections.load()
    assert (await connections.account("default")).name == "ben, who is another"
    with pytest.raises(UnsafeConfigurationError, match="no credential file"):
        connections.found("default")
    new_key(file, "a")
    await connections.load()
    assert await key_of(connections) == "a"
    signed_in("ana")
    await connections.load()
    assert [way.id for way in connections.ways("default")] == [""]
    assert (await connections.account("default")).name == "ana"


async def test_a_key_replaced_where_the_settings_say_is_on_record_once_and_never_the_key(
    make: Made, tmp_path: Path, new_key: Any, database: Database
) -> None:
    new_key(tmp_path / "key.json", "a")
    replicas = make(), make()
    for one in replicas:
        await one.open()
    assert not await Notes(database).take(0.0)
    made = new_key(tmp_path / "key.json", "b")
    for one in replicas:
        await one.load()
        await one.load()
    [note] = await Notes(database).take(0.0)
    body = dict(note.body)
    assert note.kind == "connection_changed"
    assert (body.pop("at"), body) == (
        pytest.approx(time.time(), abs=60),
        {
            "action": "replace",
            "connection": "default",
            "kind": "service account",
            "account": GATEWAY.name,
            "key": "b",
            "source": str(tmp_path / "key.json"),
            "person": "",
            "via": "settings",
        },
    )
    assert made.pem.splitlines()[1] not in str(note)
