"""The Google service account that only the gateway holds.

Each request carries a JWT that the account's own key signs (Google's AIP-4111), so no token
endpoint is needed and a rotated key counts at once. Its audience is BigQuery alone: the token is
worthless at every other Google API.

INVARIANT: neither the key nor a token appears in a repr, a log or an error.
"""

from __future__ import annotations

import asyncio
import time

import google.auth.exceptions
import msgspec
import structlog
from google.auth import crypt, jwt

from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.secrets.file import SecretFile

_AUDIENCE = "https://bigquery.googleapis.com/"
# Google accepts an hour at most.
_LIFETIME_SECONDS = 3600
_RENEW_BEFORE_SECONDS = 300


class _Key(msgspec.Struct):
    client_email: str
    private_key: str
    private_key_id: str = ""


class ServiceAccount:
    """Signs bearer tokens with a service-account key file, which is read again when it changes."""

    def __init__(self, file: SecretFile) -> None:
        """Read the key once. Raises `UnsafeConfigurationError` when it is no usable key."""
        self._file = file
        self._content = b""
        self._token = ""
        self._expires = 0.0
        self.email = ""
        self._sign(file.read())

    def __repr__(self) -> str:
        """Name the account, never the key."""
        return f"ServiceAccount({self.email!r})"

    async def bearer(self) -> str:
        """Give a token that is valid for minutes to come.

        Raises `RefusedError` when the key is gone or broken and the last token has run out.
        """
        try:
            content = self._file.read()
            if content != self._content or time.time() > self._expires - _RENEW_BEFORE_SECONDS:
                # Signing takes milliseconds of CPU, which the event loop should not pay.
                await asyncio.to_thread(self._sign, content)
        except UnsafeConfigurationError as error:
            # A key file that is just being replaced must not stop the gateway; the token that it
            # signed before stays good until it expires.
            if time.time() >= self._expires:
                raise RefusedError(
                    "the gateway's own BigQuery credential cannot be read",
                    hint="ask the operator of the gateway",
                ) from error
            structlog.get_logger(__name__).warning("credential_unreadable", error=error.message)
        return self._token

    def _sign(self, content: bytes) -> None:
        try:
            key = msgspec.json.decode(content, type=_Key)
            signer = crypt.RSASigner.from_string(  # type: ignore[no-untyped-call]
                key.private_key, key.private_key_id or None
            )
            now = int(time.time())
            claims = {
                "iss": key.client_email,
                "sub": key.client_email,
                "aud": _AUDIENCE,
                "iat": now,
                "exp": now + _LIFETIME_SECONDS,
            }
            token = jwt.encode(signer, claims).decode("ascii")  # type: ignore[no-untyped-call]
        except (msgspec.MsgspecError, ValueError, google.auth.exceptions.GoogleAuthError):
            # INVARIANT: `from None`, since the cause may quote the key.
            message = f"`{self._file.path}` is not a Google service-account key"
            raise UnsafeConfigurationError(
                message, hint="make one with `gcloud iam service-accounts keys create`"
            ) from None
        self.email, self._content = key.client_email, content
        self._token, self._expires = token, float(now + _LIFETIME_SECONDS)
