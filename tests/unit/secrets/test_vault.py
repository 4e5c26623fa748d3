"""Against a real server of Vault's API, with TLS by a private CA."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey
from structlog.testing import capture_logs
from tests.support.authority import Authority
from tests.support.connect_proxy import connect_proxy
from tests.support.played import Played
from tests.support.vault import Vault

from keystile.config.secret_places import Secret
from keystile.config.secret_servers import Vault as VaultSettings
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.kept import OutageError
from keystile.secrets.source import SecretSource
from keystile.secrets.sources import Secrets
from keystile.tls import end
from keystile.tls.from_settings import secrets_of, to_vault

READ = "keystile"
PATH = "keystile/google"


class Opened:
    """Sources under settings of Vault, closed when the test ends."""

    def __init__(self, server: Vault, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._opened: list[Secrets] = []

    def source(self, words: dict[str, Any], **way: Any) -> SecretSource:
        address = {"address": self._server.url, "ca_file": str(self._server.ca_file)}
        settings = Settings(
            upstream=Upstream(service_account_file="key.json"),
            vault=msgspec.convert({**address, **way}, VaultSettings),
            folder=self._folder,
        )
        secrets = secrets_of(settings)
        self._opened.append(secrets)
        return secrets.source(msgspec.convert({"vault": words}, Secret))

    async def close(self) -> None:
        for one in self._opened:
            await one.close()


@pytest.fixture
async def opened(vault: Vault, tmp_path: Path) -> AsyncIterator[Opened]:
    vault.policy(READ, f"secret/data/{PATH}")
    vault.put(PATH, key="first", number=7)
    opened = Opened(vault, tmp_path)
    yield opened
    await opened.close()


def token_file(folder: Path, token: str) -> dict[str, Any]:
    (folder / "token").write_text(f"{token}\n")
    return {"token": {"file": "token"}}


KEY = {"path": PATH, "field": "key"}
PASSWORD = "planted-at-the-proxy"
NO_CA = {"ca_file": ""}


async def test_a_token_reads_and_a_new_version_counts_within_half_a_minute(
    vault: Vault, opened: Opened, tmp_path: Path, later: Callable[[float], None]
) -> None:
    source = opened.source(KEY, **token_file(tmp_path, vault.token(READ)))
    assert await source.read() == b"first"
    assert source.name == f"vault:secret/{PATH}#key"
    vault.put(PATH, key="second")
    assert await source.read() == b"first"
    later(31)
    with capture_logs() as logs:
        assert await source.read() == b"second"
    assert [log["event"] for log in logs] == ["secret_version"]


async def test_a_version_can_be_pinned(vault: Vault, opened: Opened, tmp_path: Path) -> None:
    vault.put(PATH, key="newest")
    held = vault.call("GET", f"secret/metadata/{PATH}")["data"]["current_version"] - 1
    way = token_file(tmp_path, vault.token(READ))
    assert await opened.source({**KEY, "version": held}, **way).read() == b"first"
    assert await opened.source(KEY, **way).read() == b"newest"


async def test_app_role_signs_in_and_again_when_its_token_is_revoked(
    vault: Vault, opened: Opened, monkeypatch: pytest.MonkeyPatch, later: Callable[[float], None]
) -> None:
    role, secret = vault.app_role("gateway", READ)
    monkeypatch.setenv("SECRET_ID", secret)
    way = {"app_role": {"role_id": role, "secret_id": {"environment": "SECRET_ID"}}}
    source = opened.source(KEY, **way)
    assert await source.read() == b"first"
    revoke_all(vault)
    vault.put(PATH, key="second")
    later(31)
    assert await source.read() == b"second"


def revoke_all(vault: Vault) -> None:
    for accessor in vault.call("LIST", "auth/token/accessors")["data"]["keys"]:
        known = vault.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
        if known["path"] != "auth/token/create" or known["policies"] != ["root"]:
            vault.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})


async def test_a_wrong_secret_id_is_said_without_being_shown(
    vault: Vault, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    role, _ = vault.app_role("gateway", READ)
    monkeypatch.setenv("SECRET_ID", "planted-secret-id")
    way = {"app_role": {"role_id": role, "secret_id": {"environment": "SECRET_ID"}}}
    with capture_logs() as logs, pytest.raises(UnsafeConfigurationError) as caught:
        await opened.source(KEY, **way).read()
    assert "sign in by `vault.app_role` with what stands in `$SECRET_ID`" in caught.value.message
    assert "planted-secret-id" not in f"{caught.value}{logs}"


async def test_kubernetes_signs_in_with_a_projected_token(
    vault: Vault, opened: Opened, tmp_path: Path
) -> None:
    key = RSAKey.generate_key(2048)

    async def reviewed(request: web.Request) -> web.Response:
        assert request.path == "/apis/authentication.k8s.io/v1/tokenreviews"
        token = (await request.json())["spec"]["token"]
        name = jwt.decode(token, key, algorithms=["RS256"]).claims["sub"]
        status = {"authenticated": True, "user": {"username": name, "uid": "u-1"}}
        return web.json_response({"status": status}, status=201)

    with Played(reviewed) as cluster:
        if "kubernetes/" not in vault.call("GET", "sys/auth")["data"]:
            vault.call("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        config = {
            "kubernetes_host": cluster.url,
            "kubernetes_ca_cert": vault.ca_file.read_text(),
            "token_reviewer_jwt": jwt.encode({"alg": "RS256"}, {"sub": "reviewer"}, key),
        }
        vault.call("POST", "auth/kubernetes/config", config)
        bound = {"bound_service_account_names": ["gateway"]}
        bound |= {"bound_service_account_namespaces": ["keystile"]}
        vault.call("POST", "auth/kubernetes/role/gateway", {**bound, "token_policies": [READ]})
        account = {"name": "gateway", "uid": "u-1"}
        claims = {
            "sub": "system:serviceaccount:keystile:gateway",
            "kubernetes.io": {"namespace": "keystile", "serviceaccount": account},
        }
        (tmp_path / "projected").write_text(jwt.encode({"alg": "RS256"}, claims, key))
        way = {"kubernetes": {"role": "gateway", "token_file": "projected"}}
        assert await opened.source(KEY, **way).read() == b"first"
        assert cluster.asked


async def test_a_namespace_has_its_own_secrets(
    vault: Vault, opened: Opened, tmp_path: Path
) -> None:
    vault.call("POST", "sys/namespaces/team", {})
    kv = {"type": "kv", "options": {"version": "2"}}
    vault.call("POST", "sys/mounts/secret", kv, namespace="team")
    vault.policy(READ, f"secret/data/{PATH}", namespace="team")
    vault.put(PATH, "team", key="of the team")
    made = vault.call("POST", "auth/token/create", {"policies": [READ]}, namespace="team")
    way = token_file(tmp_path, made["auth"]["client_token"])
    assert await opened.source(KEY, namespace="team", **way).read() == b"of the team"


async def test_a_token_is_renewed_at_half_of_its_lease(
    vault: Vault, opened: Opened, tmp_path: Path, later: Callable[[float], None]
) -> None:
    token = vault.token(READ, ttl="1h", period="1h")
    source = opened.source(KEY, **token_file(tmp_path, token))
    assert await source.read() == b"first"
    for passed, renewed in ((1700, False), (200, True)):
        later(passed)
        assert await source.read() == b"first"
        known = vault.call("POST", "auth/token/lookup", {"token": token})["data"]
        assert ("last_renewal" in known and known["last_renewal"] is not None) is renewed


async def test_a_token_file_that_changes_is_read_again_where_the_old_one_ends(
    vault: Vault, opened: Opened, tmp_path: Path, later: Callable[[float], None]
) -> None:
    old = vault.token(READ)
    source = opened.source(KEY, **token_file(tmp_path, old))
    assert await source.read() == b"first"
    vault.call("POST", "auth/token/revoke", {"token": old})
    later(31)
    with pytest.raises(UnsafeConfigurationError, match=r"sign in by `vault\.token`") as caught:
        await source.read()
    assert old not in str(caught.value)
    token_file(tmp_path, vault.token(READ))
    later(6)
    assert await source.read() == b"first"


async def test_what_vault_takes_back_is_given_no_more(
    vault: Vault, opened: Opened, tmp_path: Path, later: Callable[[float], None]
) -> None:
    source = opened.source(KEY, **token_file(tmp_path, vault.token(READ)))
    assert await source.read() == b"first"
    vault.policy(READ, "secret/data/other")
    later(31)
    with pytest.raises(UnsafeConfigurationError, match="may not read `secret/keystile/google`"):
        await source.read()
    vault.policy(READ, f"secret/data/{PATH}")
    vault.call("DELETE", f"secret/data/{PATH}")
    later(31)
    with pytest.raises(UnsafeConfigurationError, match="no current version, or it was deleted"):
        await source.read()


async def test_an_outage_is_bridged_for_an_hour_and_no_longer(
    vault: Vault,
    opened: Opened,
    tmp_path: Path,
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keystile.secrets.asking._SECONDS", 0.3)
    source = opened.source(KEY, **token_file(tmp_path, vault.token(READ)))
    assert await source.read() == b"first"
    vault.pause()
    try:
        later(3000)
        assert await source.read() == b"first"
        later(700)
        with pytest.raises(OutageError, match="62 minutes ago, which is too long: Vault at"):
            await source.read()
    finally:
        vault.resume()
    later(6)
    assert await source.read() == b"first"


async def test_a_sealed_vault_is_an_outage(
    vault: Vault, opened: Opened, tmp_path: Path, later: Callable[[float], None]
) -> None:
    async def sealed(_: web.Request) -> web.Response:
        return web.json_response({"errors": ["Vault is sealed"]}, status=503)

    source = opened.source(KEY, **token_file(tmp_path, vault.token(READ)))
    assert await source.read() == b"first"
    with Played(sealed) as other:
        source._fetch.func.__self__._asking._root = other.url  # type: ignore[attr-defined]
        later(31)
        assert await source.read() == b"first"
    assert other.asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"path": PATH, "field": "absent"}, "has no such text for field `absent`"),
        ({"path": PATH, "field": "number"}, "has no such text for field `number`"),
        ({"path": "keystile/none", "field": "key"}, "may not read"),
        ({"path": PATH, "field": "key", "version": 999}, "has no version 999"),
    ],
)
async def test_what_is_not_there_is_said(
    vault: Vault, opened: Opened, tmp_path: Path, words: dict[str, Any], said: str
) -> None:
    way = token_file(tmp_path, vault.token(READ))
    with pytest.raises(UnsafeConfigurationError, match=said):
        await opened.source(words, **way).read()


async def test_vault_was_asked_past_the_proxy_that_is_the_only_way_out(
    vault: Vault, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proxy").mkdir()
    of_proxy = Authority(tmp_path / "proxy")
    tls = end.server("proxy", of_proxy.pair("proxy"), None).context
    monkeypatch.setenv("PASSWORD", PASSWORD)
    async with connect_proxy(int(vault.url.rpartition(":")[2]), "gw", PASSWORD, tls) as proxy:
        way: dict[str, Any] = {
            **token_file(tmp_path, vault.token(READ)),
            "address": "https://localhost:8200",
            "proxy": {
                "address": proxy.url,
                "user": "gw",
                "password": {"environment": "PASSWORD"},
                "ca_file": str(of_proxy.root),
            },
        }
        with capture_logs() as logs:
            assert await opened.source(KEY, **way).read() == b"first"
            assert {head.split()[1] for head in proxy.heads} == {b"localhost:8200"}
            assert b"X-Vault" not in b"".join(proxy.heads)
            # The authority of the one is none of the other's.
            for other in ({"ca_file": str(of_proxy.root)}, {"proxy": way["proxy"] | NO_CA}):
                with pytest.raises(OutageError):
                    await opened.source(KEY, **way | other).read()
            monkeypatch.setenv("PASSWORD", "another")
            with pytest.raises(OutageError, match=r"the proxy to Vault .* status 407"):
                await opened.source(KEY, **way).read()
            monkeypatch.delenv("PASSWORD")
            with pytest.raises(OutageError, match=r"password of the proxy .* cannot be read"):
                await opened.source(KEY, **way).read()
    assert PASSWORD not in str(logs)


async def test_authorities_of_vault_are_renewed(vault: Vault, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    (tmp_path / "other").mkdir()
    file.write_bytes(vault.ca_file.read_bytes())
    vault.policy(READ, f"secret/data/{PATH}")
    vault.put(PATH, key="first")
    words = token_file(tmp_path, vault.token(READ))
    settings = Settings(
        upstream=Upstream(service_account_file="key.json"),
        vault=msgspec.convert({"address": vault.url, "ca_file": "ca.pem", **words}, VaultSettings),
        folder=tmp_path,
    )
    to = to_vault(settings)
    assert [one.name for one in to.ends] == ["vault"]
    secrets = secrets_of(settings, to)
    first, second = (secrets.source(msgspec.convert({"vault": KEY}, Secret)) for _ in range(2))
    file.write_bytes(Authority(tmp_path / "other").root.read_bytes())
    assert to.ends[0].renew()
    with pytest.raises(OutageError, match="no certificate that is trusted here"):
        await first.read()
    file.write_bytes(vault.ca_file.read_bytes())
    assert to.ends[0].renew()
    assert await second.read() == b"first"
    await secrets.close()


async def test_a_server_that_no_ca_vouches_for_gets_nothing(
    vault: Vault, opened: Opened, tmp_path: Path
) -> None:
    way = token_file(tmp_path, vault.token(READ))
    with pytest.raises(OutageError, match="no certificate that is trusted here"):
        await opened.source(KEY, ca_file="", **way).read()
    with pytest.raises(UnsafeConfigurationError, match="holds no certificates of authorities"):
        await opened.source(KEY, ca_file="token", **way).read()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"address": "http://vault.example.com:8200"}, "without encryption"),
        ({"token": None}, "exactly one of `token`, `app_role`, `kubernetes`"),
        ({"kubernetes": {"role": "gateway"}}, "exactly one of"),
        ({"token": {"vault": KEY}}, "cannot stand in Vault"),
    ],
)
def test_unsafe_settings_are_refused(opened: Opened, changes: dict[str, Any], said: str) -> None:
    way = {"token": {"file": "token"}, **changes}
    with pytest.raises((UnsafeConfigurationError, msgspec.ValidationError), match=said):
        opened.source(KEY, **way)


def test_a_secret_in_a_vault_that_nobody_named(tmp_path: Path) -> None:
    settings = Settings(upstream=Upstream(service_account_file="key.json"), folder=tmp_path)
    with pytest.raises(UnsafeConfigurationError, match="do not say where Vault is"):
        secrets_of(settings).source(msgspec.convert({"vault": KEY}, Secret))
