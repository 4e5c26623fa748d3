"""Google's Secret Manager (REST v1): a version of a secret, held against its CRC32C."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import time
from typing import Any
from urllib.parse import quote

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from keystile.config.secret_servers import SecretManager as SecretManagerSettings
from keystile.config.urls import require_safe_url
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.asking import Asking, Way
from keystile.secrets.kept import Fetched, OutageError
from keystile.secrets.source import SecretSource

# What a self-signed JWT must name (AIP-4111), wherever the service is reached.
_AUDIENCE = "https://secretmanager.googleapis.com/"
_LIFETIME_SECONDS = 600
_TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 - a path
_CASTAGNOLI = 0x82F63B78


class _Key(msgspec.Struct):
    client_email: str
    private_key: str
    private_key_id: str


class SecretManager:
    """Secret Manager, asked as one account.

    INVARIANT: neither a token nor a secret appears in a repr, a log or an error, and Google's own
    words do not either.
    """

    def __init__(self, settings: SecretManagerSettings, key: SecretSource | None, way: Way) -> None:
        """`key` is a service account's; without one the metadata server is asked for a token.

        Raises `UnsafeConfigurationError` for an endpoint that would expose either.
        """
        require_safe_url(settings.endpoint, "`secret_manager.endpoint`")
        self._key = key
        self._asking = Asking("Secret Manager", settings.endpoint, way)
        # As Google's own libraries find it.
        host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        self._metadata = Asking("the metadata server", f"http://{host}")

    async def close(self) -> None:
        """Close all connections."""
        await self._asking.close()
        await self._metadata.close()

    async def read(self, name: str) -> Fetched:
        """Give a version of a secret, the latest where `name` has none.

        Raises `UnsafeConfigurationError` where Google does not give it, and `OutageError` where it
        does not answer, or the data is not what its checksum says.
        """
        version = name if "/versions/" in name else f"{name}/versions/latest"
        headers = {"Authorization": f"Bearer {await self._bearer()}"}
        answer = await self._asking.get(f"/v1/{quote(version)}:access", headers)
        if not answer.ok:
            raise UnsafeConfigurationError(
                f"Secret Manager does not give `{version}` to the gateway (status {answer.status})",
                hint="grant its account `roles/secretmanager.secretAccessor` on the secret, and"
                " check that this version is there and enabled",
            )
        payload = answer.body.get("payload")
        value = _checked(payload) if isinstance(payload, dict) else None
        if value is None:
            raise OutageError(
                f"what Secret Manager gave of `{version}` is not what its checksum says",
                hint="try again",
            )
        return Fetched(value, str(answer.body.get("name", "")).rpartition("/")[2])

    async def _bearer(self) -> str:
        if self._key is not None:
            return await asyncio.to_thread(_signed, await self._key.read(), self._key.name)
        answer = await self._metadata.get(_TOKEN, {"Metadata-Flavor": "Google"})
        token = answer.body.get("access_token")
        if not answer.ok or not isinstance(token, str):
            raise UnsafeConfigurationError(
                f"the metadata server gave no token (status {answer.status})",
                hint="attach a service account to the machine, or give"
                " `secret_manager.service_account_file`",
            )
        return token


def _signed(content: bytes, where: str) -> str:
    now = int(time.time())
    try:
        key = msgspec.json.decode(content, type=_Key)
        who = {"iss": key.client_email, "sub": key.client_email, "aud": _AUDIENCE}
        return jwt.encode(
            {"alg": "RS256", "kid": key.private_key_id},
            {**who, "iat": now, "exp": now + _LIFETIME_SECONDS},
            RSAKey.import_key(key.private_key),
            algorithms=["RS256"],
        )
    except (msgspec.MsgspecError, JoseError, ValueError):
        # INVARIANT: `from None`, since the cause may quote the key.
        raise UnsafeConfigurationError(
            f"`{where}` is not a Google service-account key",
            hint="make one with `gcloud iam service-accounts keys create`",
        ) from None


def _checked(payload: dict[str, Any]) -> bytes | None:
    try:
        value = base64.b64decode(str(payload.get("data", "")), validate=True)
    except binascii.Error:
        return None
    return value if str(crc32c(value)) == str(payload.get("dataCrc32c")) else None


def _table() -> list[int]:
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (_CASTAGNOLI if row & 1 else 0)  # noqa: PLW2901 - one row of it
        rows.append(row)
    return rows


_ROWS = _table()


def crc32c(data: bytes) -> int:
    """Give the CRC-32C (Castagnoli) of a few kilobytes (RFC 3720 appendix B.4)."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest = _ROWS[(rest ^ byte) & 0xFF] ^ rest >> 8
    return rest ^ 0xFFFFFFFF
