"""HashiCorp Vault, and OpenBao, which speaks the same API: key-value secrets, version 2.

The gateway's own token is renewed at half of its lease, and where that is not possible the gateway
signs in again; a token that is given is read again instead. Paths and fields are those of Vault's
HTTP API (v1).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple
from urllib.parse import quote

import structlog

from keystile.config.secret_places import VaultSecret
from keystile.config.secret_servers import Vault as VaultSettings
from keystile.config.urls import require_safe_url
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.asking import Answer, Asking
from keystile.secrets.kept import Fetched
from keystile.secrets.source import SecretSource

_FORBIDDEN, _NOT_FOUND = 403, 404

_log = structlog.get_logger(room="secrets")


class _Login(NamedTuple):
    token: str
    renew_at: float
    renewable: bool

    def __repr__(self) -> str:
        return f"_Login(renewable={self.renewable})"


class Vault:
    """One Vault, asked with one identity.

    INVARIANT: neither its token nor a secret appears in a repr, a log or an error, and Vault's own
    words do not either.
    """

    def __init__(self, settings: VaultSettings, asking: Asking, proof: SecretSource) -> None:
        """`proof` is what signs in: the token, AppRole's secret id, or Kubernetes' token.

        Raises `UnsafeConfigurationError` for an address that would expose it.
        """
        require_safe_url(settings.address, "`vault.address`")
        self._settings = settings
        self._asking = asking
        self._proof = proof
        self._login: _Login | None = None
        self._lock = asyncio.Lock()

    async def read(self, secret: VaultSecret) -> Fetched:
        """Give a secret's field as it is now.

        Raises `UnsafeConfigurationError` where Vault does not give it, and `OutageError` where it
        does not answer.
        """
        login = await self._signed_in()
        answer = await self._get(login, secret)
        if answer.status == _FORBIDDEN:
            # The token may have been revoked before its time.
            again = await self._signed_in(instead_of=login)
            answer = await self._get(again, secret)
        where = f"`{secret.mount}/{secret.path}` of Vault"
        if answer.status == _FORBIDDEN:
            raise UnsafeConfigurationError(
                f"the gateway may not read {where}",
                hint=f"let a policy of Vault grant `read` on `{secret.mount}/data/{secret.path}`",
            )
        found = _object(answer.body, "data")
        if answer.status == _NOT_FOUND or (answer.ok and not _object(found, "data")):
            version = f"version {secret.version}" if secret.version else "current version"
            raise UnsafeConfigurationError(
                f"{where} has no {version}, or it was deleted",
                hint=f"check that `{secret.mount}` is a key-value store of version 2, and see what"
                f" `vault kv metadata get -mount={secret.mount} {secret.path}` says",
            )
        value = _object(found, "data").get(secret.field)
        if not answer.ok or not isinstance(value, str):
            problem = "has no such text" if answer.ok else f"gave status {answer.status}"
            raise UnsafeConfigurationError(
                f"{where} {problem} for field `{secret.field}`",
                hint="put it with `vault kv put`, into a key-value store of version 2",
            )
        return Fetched(value.encode(), str(_object(found, "metadata").get("version", "")))

    async def _get(self, login: _Login, secret: VaultSecret) -> Answer:
        path = quote(f"/v1/{secret.mount}/data/{secret.path}")
        version = f"?version={secret.version}" if secret.version else ""
        return await self._asking.get(path + version, self._headers(login.token))

    async def _signed_in(self, instead_of: _Login | None = None) -> _Login:
        async with self._lock:
            login = self._login
            if login is None or (instead_of is not None and login is instead_of):
                login = await self._sign_in()
            elif time.monotonic() >= login.renew_at:
                login = await self._renewed(login) or await self._sign_in()
            self._login = login
            return login

    async def _sign_in(self) -> _Login:
        proof = (await self._proof.read()).decode(errors="replace").strip()
        chosen = self._settings
        if chosen.app_role:
            body = {"role_id": chosen.app_role.role_id, "secret_id": proof}
            return await self._log_in(chosen.app_role.mount, body)
        if chosen.kubernetes:
            body = {"role": chosen.kubernetes.role, "jwt": proof}
            return await self._log_in(chosen.kubernetes.mount, body)
        answer = await self._asking.get("/v1/auth/token/lookup-self", self._headers(proof))
        if not answer.ok:
            raise self._refused(answer.status)
        told = _object(answer.body, "data")
        return _login(proof, told.get("ttl"), told.get("renewable"))

    async def _log_in(self, mount: str, body: dict[str, str]) -> _Login:
        answer = await self._asking.post(f"/v1/auth/{quote(mount)}/login", self._headers(), body)
        given = _object(answer.body, "auth")
        token = given.get("client_token")
        if not answer.ok or not isinstance(token, str):
            raise self._refused(answer.status)
        return _login(token, given.get("lease_duration"), given.get("renewable"))

    async def _renewed(self, login: _Login) -> _Login | None:
        if not login.renewable:
            return None
        headers = self._headers(login.token)
        answer = await self._asking.post("/v1/auth/token/renew-self", headers, {})
        if not answer.ok:
            _log.warning("vault_token_not_renewed", status=answer.status)
            return None
        given = _object(answer.body, "auth")
        return _login(login.token, given.get("lease_duration"), given.get("renewable"))

    def _refused(self, status: int) -> UnsafeConfigurationError:
        way = next(way for way in ("token", "app_role", "kubernetes") if self._way(way))
        return UnsafeConfigurationError(
            f"Vault does not let the gateway sign in by `vault.{way}` with what stands in"
            f" `{self._proof.name}` (status {status})",
            hint="check that it is still valid, and the role and the namespace",
        )

    def _way(self, way: str) -> bool:
        return getattr(self._settings, way) is not None

    def _headers(self, token: str = "") -> dict[str, str]:
        headers = {"X-Vault-Request": "true"}
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        return {**headers, "X-Vault-Token": token} if token else headers


def _login(token: str, lease: object, renewable: object) -> _Login:
    # A lease of 0 is one without end.
    seconds = lease if isinstance(lease, int) and lease > 0 else float("inf")
    return _Login(token, time.monotonic() + seconds / 2, renewable is True)


def _object(body: dict[str, Any], word: str) -> dict[str, Any]:
    value = body.get(word)
    return value if isinstance(value, dict) else {}
