"""The issuer that Keystile runs itself, for agents made with `keystile agent create`.

The gateway verifies its tokens with the local key; nothing asks it over HTTP but other parties.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key

from keystile.config.settings import Settings
from keystile.model.errors import TokenFault, TokenRefusedError, UnsafeConfigurationError

_ALGORITHM = "ES256"

CLAIMS = {
    "google.subject": "assertion.sub",
    "keystile.session": "assertion.sid",
    "keystile.service_account": "assertion.sub",
}
"""What its claims mean. Groups and attributes are the registry's, never a token's."""


class BuiltinIssuer:
    """Signs tokens for the gateway's own agents. Commands and gateway share its key file.

    INVARIANT: the private key appears in no document, repr or error.
    """

    def __init__(self, key_file: Path, url: str, audience: str, lifetime: int) -> None:
        """Read the key, or make one if there is none. `lifetime` is in seconds.

        Raises `UnsafeConfigurationError` when the key cannot be read or made.
        """
        self.url = url
        self.audience = audience
        self.lifetime = lifetime
        self._key = _load_or_create(key_file)
        self._key_id = self._key.thumbprint()

    def __repr__(self) -> str:
        """Name the issuer, never the key."""
        return f"BuiltinIssuer({self.url!r})"

    def mint(self, agent: str, session: str) -> str:
        """Sign a token for an agent, whose existence the caller has checked.

        `session` is one word for one run of the agent.
        """
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": agent,
            "aud": self.audience,
            "iat": now,
            "exp": now + self.lifetime,
            "jti": uuid4().hex,
            "sid": session,
        }
        header = {"alg": _ALGORITHM, "kid": self._key_id}
        return jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])

    def discovery(self) -> dict[str, Any]:
        """Give the document of `/issuer/.well-known/openid-configuration`.

        It has what OpenID Connect Discovery section 3 requires of an issuer that only signs.
        """
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [_ALGORITHM],
        }

    def jwks(self) -> dict[str, Any]:
        """Give the document of `/issuer/jwks`: public members only."""
        public = dict(self._key.as_dict(private=False))
        return {"keys": [public | {"kid": self._key_id, "use": "sig", "alg": _ALGORITHM}]}

    async def find(self, key_id: str, algorithm: str) -> Key:
        """Give the key to the verifier, as a `KeySource`. Raises `TokenRefusedError`."""
        if key_id != self._key_id or algorithm != _ALGORITHM:
            message = "the token was signed with another key than this gateway's issuer has now"
            raise TokenRefusedError(message, hint="connect the agent again", fault=TokenFault.KEY)
        return self._key


def builtin_issuer(settings: Settings) -> BuiltinIssuer:
    """Open the built-in issuer. Raises `UnsafeConfigurationError` if it is disabled."""
    if not settings.identity.builtin_issuer.enabled:
        raise UnsafeConfigurationError(
            "the built-in issuer is disabled, so only configured issuers can make tokens",
            hint="set `identity.builtin_issuer.enabled`",
        )
    return BuiltinIssuer(
        settings.data_folder / "issuer-key.pem",
        issuer_url(settings),
        settings.identity.audience,
        settings.identity.builtin_issuer.token_lifetime,
    )


def issuer_url(settings: Settings) -> str:
    """Give the name of the built-in issuer, which is also where its documents are served."""
    return f"{settings.gateway_url}/issuer"


def _load_or_create(file: Path) -> ECKey:
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _create(file)
        return ECKey.import_key(file.read_bytes())
    except OSError as error:
        message = f"cannot use the issuer's key `{file}`: {error.strerror}"
        raise UnsafeConfigurationError(message) from error
    except (JoseError, ValueError):
        # INVARIANT: `from None`, since the cause may quote the key.
        message = f"the issuer's key `{file}` is damaged"
        raise UnsafeConfigurationError(message, hint="delete it to have a new one made") from None


def _create(file: Path) -> None:
    pem = ECKey.generate_key("P-256").as_pem(private=True)
    # Whole or not at all, never open to others, and the first of several processes wins: a hard
    # link fails if the name is taken. The temporary file has mode 0600 from its start.
    with NamedTemporaryFile(dir=file.parent, prefix=".issuer-key-") as draft:
        draft.write(pem)
        draft.flush()
        os.fsync(draft.fileno())
        try:
            os.link(draft.name, file)
        except FileExistsError:
            return
