"""Makes tokens as an issuer does, and as no honest one would.

Two issuers of agents are trusted, and one of people for whom agents of A may act. Their keys have
the same id, so that one may pose as another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import string
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import JWSRegistry

OURS, THEIRS = "//keystile/agents", "//keystile/theirs"
A, B, PEOPLE = "https://a.test", "https://b.test", "https://people.test"
USES = 2
"""How often a token of `PEOPLE` may be exchanged."""

DAY = 86_400
"""Longer than from the making of the tokens, which all tests share, to the last test."""
KEY_A, KEY_B, KEY_PEOPLE = (ECKey.generate_key("P-256", {"kid": "k1"}) for _ in range(3))
RSA_A = RSAKey.generate_key(2048, {"kid": "r1"})
STRANGER = ECKey.generate_key("P-256", {"kid": "k1"})
_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def issuers(folder: Path) -> list[dict[str, Any]]:
    """Give `identity.issuers` for all, with their keys in files of a folder."""
    trusted: list[dict[str, Any]] = []
    held: dict[str, tuple[str, list[Key]]] = {
        A: (OURS, [KEY_A, RSA_A]),
        B: (THEIRS, [KEY_B]),
        PEOPLE: (OURS, [KEY_PEOPLE]),
    }
    for name, (audience, keys) in held.items():
        file = folder / f"{name[8:-5]}.json"
        public = [key.as_dict(private=False) for key in keys]
        file.write_text(json.dumps({"keys": public}))
        trusted.append({"issuer": name, "audiences": [audience], "jwks_uri": file.as_uri()})
    for one in trusted[:2]:
        # So that what is refused as a bearer's is refused for its own fault.
        one["direct_use"] = True
    trusted[-1] |= {"actor_issuers": [A, PEOPLE], "exchanges_per_token": USES}
    return trusted


def b64(data: bytes) -> str:
    """Spell bytes as RFC 7515 section 2 does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Give the claims of a good token of A; `...` leaves one out."""
    now = int(time.time())
    claims = {"iss": A, "sub": "agent-7", "aud": OURS, "iat": now, "exp": now + DAY}
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def signed(key: Any = KEY_A, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """Sign claims that are good, but for the changes, with ES256 whatever the header says."""
    head = {"alg": "ES256", "kid": "k1"} | (header or {})
    return raw(json.dumps(head).encode(), json.dumps(claims(**changes)).encode(), key)


def raw(header: bytes, payload: bytes, key: Any = KEY_A) -> str:
    """Sign exactly these bytes."""
    text = f"{b64(header)}.{b64(payload)}"
    signature = JWSRegistry.algorithms["ES256"].sign(text.encode(), key)
    return f"{text}.{b64(signature)}"


def unsigned(algorithm: Any, signature: bytes = b"") -> str:
    """Make a token of good claims with a signature that nobody made."""
    head = json.dumps({"alg": algorithm, "kid": "k1"}).encode()
    return f"{b64(head)}.{b64(json.dumps(claims()).encode())}.{b64(signature)}"


def symmetric(algorithm: str, secret: bytes) -> str:
    """Sign with HMAC, and something that is no secret."""
    text = unsigned(algorithm).rstrip(".")
    digest = getattr(hashlib, f"sha{algorithm[2:]}")
    return f"{text}.{b64(hmac.new(secret, text.encode(), digest).digest())}"


def signed_by(header: dict[str, Any]) -> str:
    """Sign with a stranger's key, which the header brings along or leads to."""
    return signed(STRANGER, header)


def respelled() -> str:
    """Change the bits of a good token's last letter that stand for nothing."""
    token = signed()
    return token[:-1] + _LETTERS[_LETTERS.index(token[-1]) + 1]


def picked(letter: str) -> str:
    """Sign until the signature's spelling has a letter."""
    while letter not in (token := signed()).rpartition(".")[2]:
        pass
    return token


def as_der() -> str:
    """Write a good token's signature as other protocols do (RFC 3279 section 2.2.3)."""
    text, _, signature = signed().rpartition(".")
    both = base64.urlsafe_b64decode(f"{signature}==")
    r, s = (int.from_bytes(half) for half in (both[:32], both[32:]))
    return f"{text}.{b64(encode_dss_signature(r, s))}"
