"""A client that holds a key and proves it (RFC 9449)."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any
from uuid import uuid4

from joserfc import jws
from joserfc.jwk import ECKey

from keystile.model.sender import Sender
from prove.identity.forging import b64


class Holder:
    """Signs proofs, also such as no honest client would."""

    def __init__(self) -> None:
        """Make a key."""
        self.key = ECKey.generate_key("P-256")

    @property
    def thumbprint(self) -> str:
        """What `jkt` of a token bound to the key is."""
        return self.key.thumbprint()

    def proof(
        self,
        method: str,
        url: str,
        token: str = "",
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Prove a request; `...` leaves a member out."""
        head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.as_dict(private=False)}
        said = {"jti": uuid4().hex, "htm": method, "htu": url, "iat": int(time.time())}
        if token:
            said["ath"] = b64(hashlib.sha256(token.encode()).digest())
        head = {name: value for name, value in (head | (header or {})).items() if value is not ...}
        said = {name: value for name, value in (said | claims).items() if value is not ...}
        return self.signed(json.dumps(head).encode(), json.dumps(said).encode())

    def signed(self, header: bytes, payload: bytes) -> str:
        """Sign exactly these bytes with ES256, whatever the header says."""
        text = f"{b64(header)}.{b64(payload)}"
        signature = jws.JWSRegistry.algorithms["ES256"].sign(text.encode(), self.key)
        return f"{text}.{b64(signature)}"

    def sender(self, method: str, url: str, token: str = "", **proof: Any) -> Sender:
        """Give who sends a request with a proof, under the scheme `DPoP` where it has a token."""
        text = self.proof(method, url, token, **proof)
        return Sender(method=method, url=url, proof=text, is_dpop=bool(token))
