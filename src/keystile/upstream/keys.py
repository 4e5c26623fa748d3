"""Service-account keys: what is in a key file, and what it signs.

Each request carries a JWT that the account's own key signs (Google's AIP-4111), so no token
endpoint is needed and a rotated key counts at once. Its audience is BigQuery alone: the token is
worthless at every other Google API.

INVARIANT: neither the key nor a token appears in a repr, a log or an error.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import google.auth.exceptions
import msgspec
from google.auth import crypt, jwt

from keystile.model.errors import UnsafeConfigurationError
from keystile.upstream.tokens import Token

_AUDIENCE = "https://bigquery.googleapis.com/"
LIFETIME_SECONDS = 3600
"""Google accepts an hour at most."""


class _File(msgspec.Struct):
    client_email: Annotated[str, msgspec.Meta(min_length=1)]
    private_key: str
    # It names a file of the data folder as well.
    private_key_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class SigningKey:
    """A key of a service account: `id` is the name that Google has for it, `account` an e-mail."""

    def __init__(self, content: bytes, where: str) -> None:
        """Read a key file's content; `where` it is from may stand in errors.

        Raises `UnsafeConfigurationError` when it is no usable key.
        """
        try:
            file = msgspec.json.decode(content, type=_File)
            self.signer: Any = crypt.RSASigner.from_string(file.private_key, file.private_key_id)
        except (msgspec.MsgspecError, ValueError, google.auth.exceptions.GoogleAuthError):
            # INVARIANT: `from None`, since the cause may quote the key.
            raise UnsafeConfigurationError(
                f"`{where}` is not a Google service-account key",
                hint="make one with `gcloud iam service-accounts keys create`",
            ) from None
        self.id, self.account, self.content = file.private_key_id, file.client_email, content

    def __repr__(self) -> str:
        """Name the key, never what is in it."""
        return f"SigningKey({self.id!r}, {self.account!r})"

    def sign(self) -> Token:
        """Sign a token for BigQuery. It takes milliseconds of CPU."""
        now = int(time.time())
        claims = {
            "iss": self.account,
            "sub": self.account,
            "aud": _AUDIENCE,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        text = jwt.encode(self.signer, claims).decode("ascii")
        return Token(text, self.account, float(now + LIFETIME_SECONDS))
