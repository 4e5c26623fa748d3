"""What a forger tries with tokens, each refused in its own words and counted by what was wrong.

Two issuers are trusted, whose keys have the same id, so that one may pose as the other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from keystile.api import token as endpoint
from keystile.config.settings import Issuer, Settings
from keystile.identity.wiring import Identity, build
from keystile.model.errors import TokenFault, TokenRefusedError
from keystile.store.database import Database
from keystile.telemetry.metrics import Metrics

FORM = "application/x-www-form-urlencoded"
OURS, THEIRS = "//keystile/agents", "//keystile/theirs"
A, B = "https://a.test", "https://b.test"
DAY = 86_400
"""Longer than from the making of the tokens, which all tests share, to the last test."""
KEY_A, KEY_B = (ECKey.generate_key("P-256", {"kid": "k1"}) for _ in range(2))
RSA_A = RSAKey.generate_key(2048, {"kid": "r1"})
STRANGER = ECKey.generate_key("P-256", {"kid": "k1"})


@pytest.fixture
async def identity(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> AsyncIterator[Identity]:
    issuers = []
    for name, audience, keys in ((A, OURS, [KEY_A, RSA_A]), (B, THEIRS, [KEY_B])):
        file = tmp_path / f"{name[-6]}.json"
        public = [key.as_dict(private=False) for key in keys]
        file.write_text(json.dumps({"keys": public}))
        issuers.append(Issuer(issuer=name, audiences=[audience], jwks_uri=file.as_uri()))
    made = build(settings(issuers=issuers), database)
    yield made
    await made.close()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {"iss": A, "sub": "agent-7", "aud": OURS, "iat": now, "exp": now + DAY}
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def _token(key: Any = KEY_A, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """Sign with ES256, whatever the header says."""
    head = {"alg": "ES256", "kid": "k1"} | (header or {})
    return _raw(json.dumps(head).encode(), json.dumps(_claims(**changes)).encode(), key)


def _raw(header: bytes, payload: bytes, key: Any = KEY_A) -> str:
    text = f"{_b64(header)}.{_b64(payload)}"
    signature = jwt.JWSRegistry.algorithms["ES256"].sign(text.encode(), key)
    return f"{text}.{_b64(signature)}"


def _unsigned(algorithm: Any, signature: bytes = b"") -> str:
    head = json.dumps({"alg": algorithm, "kid": "k1"}).encode()
    return f"{_b64(head)}.{_b64(json.dumps(_claims()).encode())}.{_b64(signature)}"


def _symmetric(algorithm: str, secret: bytes) -> str:
    text = _unsigned(algorithm).rstrip(".")
    digest = getattr(hashlib, f"sha{algorithm[2:]}")
    return f"{text}.{_b64(hmac.new(secret, text.encode(), digest).digest())}"


def _signed_by(header: dict[str, Any]) -> str:
    """Sign with a stranger's key, which the header brings along or leads to."""
    return _token(STRANGER, header)


JWK = dict(STRANGER.as_dict(private=False))
PUBLIC = json.dumps(KEY_A.as_dict(private=False)).encode()
NOW = int(time.time())
F = TokenFault
ATTACKS: dict[str, tuple[str, TokenFault, str]] = {
    # Algorithms (RFC 8725 sections 2.1 and 3.1)
    "alg none, no signature": (_unsigned("none"), F.MALFORMED, "not a signed JWT"),
    "alg none": (_unsigned("none", b"x"), F.ALGORITHM, "signed with `none`"),
    "alg nOnE": (_unsigned("nOnE", b"x"), F.ALGORITHM, "signed with `nOnE`"),
    "alg left out": (_unsigned(None, b"x"), F.ALGORITHM, "does not accept"),
    "alg as a list": (_unsigned(["ES256"], b"x"), F.ALGORITHM, "does not accept"),
    "HS256 with the public key as PEM": (
        _symmetric("HS256", KEY_A.as_pem(private=False)), F.ALGORITHM, "signed with `HS256`"
    ),
    "HS512 with the public key as JWK": (
        _symmetric("HS512", PUBLIC), F.ALGORITHM, "signed with `HS512`"
    ),
    "HS256 with an empty key": (_symmetric("HS256", b""), F.ALGORITHM, "signed with `HS256`"),
    "an algorithm that the issuer may not use": (
        _token(header={"alg": "ES384"}), F.ALGORITHM, "signed with `ES384`"
    ),
    "the key of another algorithm": (_token(header={"kid": "r1"}), F.KEY, "no key that fits"),
    "RS256 by an EC key": (_token(header={"alg": "RS256"}), F.KEY, "no key that fits"),
    # Signatures
    "a signature of zeros": (_unsigned("ES256", bytes(64)), F.SIGNATURE, "does not fit"),
    "a signature cut short": (_token()[:-20], F.SIGNATURE, "does not fit"),
    "another signature's": (
        ".".join([*_token(sub="admin").split(".")[:2], _token().split(".")[2]]),
        F.SIGNATURE, "does not fit",
    ),
    # Keys (RFC 8725 section 3.10)
    "an unknown kid": (_token(header={"kid": "k9"}), F.KEY, "no key that fits"),
    "no kid, of a stranger": (_token(STRANGER, {"kid": ""}), F.SIGNATURE, "does not fit"),
    "a kid that is a path": (
        _token(STRANGER, {"kid": "../../../../dev/null"}), F.KEY, "no key that fits"
    ),
    "a kid that is SQL": (
        _token(STRANGER, {"kid": "k1' UNION SELECT 'x' --"}), F.KEY, "no key that fits"
    ),
    "a kid that is an address": (
        _token(STRANGER, {"kid": "https://mallory.test/keys"}), F.KEY, "no key that fits"
    ),
    "a kid cut at NUL": (_token(header={"kid": "k1\0"}), F.KEY, "no key that fits"),
    "a kid that is a list": (_token(header={"kid": ["k1"]}), F.HEADER, "key id is not a text"),
    "a key in the header": (_signed_by({"jwk": JWK}), F.SIGNATURE, "does not fit"),
    "an address of keys in the header": (
        _signed_by({"jku": "https://mallory.test/keys"}), F.SIGNATURE, "does not fit"
    ),
    "a certificate in the header": (_signed_by({"x5c": ["MIIB"]}), F.SIGNATURE, "does not fit"),
    "an address of certificates in the header": (
        _signed_by({"x5u": "https://mallory.test/cert"}), F.SIGNATURE, "does not fit"
    ),
    # Headers
    "an unknown critical extension": (
        _token(header={"crit": ["exp"], "exp": 1}), F.HEADER, "extension that is not supported"
    ),
    "crit without anything": (_token(header={"crit": []}), F.HEADER, "not supported"),
    "an unencoded payload": (
        _token(header={"b64": False, "crit": ["b64"]}), F.HEADER, "not supported"
    ),
    "a logout token": (_token(header={"typ": "logout+jwt"}), F.HEADER, "another type"),
    "a DPoP proof": (_token(header={"typ": "dpop+jwt"}), F.HEADER, "another type"),
    "an event": (_token(header={"typ": "secevent+jwt"}), F.HEADER, "another type"),
    "an authorization request": (_token(header={"typ": "oauth-authz-req+jwt"}), F.HEADER, "type"),
    "a type that is no text": (_token(header={"typ": ["JWT"]}), F.HEADER, "another type"),
    # Form
    "a key twice in the header": (
        _raw(b'{"alg":"none","alg":"ES256","kid":"k1"}', json.dumps(_claims()).encode()),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a claim twice": (
        _raw(b'{"alg":"ES256","kid":"k1"}', json.dumps(_claims())[:-1].encode() + b',"sub":"x"}'),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a claim twice, once escaped": (
        _raw(b'{"alg":"ES256"}', json.dumps(_claims())[:-1].encode() + b',"s\\u0075b":"x"}'),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a huge token": (_token(more="x" * 20_000), F.MALFORMED, "larger than 16384 bytes"),
    "a deep token": (
        _raw(b'{"alg":"ES256"}', b'{"iss":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a token in a token": (
        _raw(b'{"alg":"ES256","kid":"k1","cty":"JWT"}', _token().encode()),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "an encrypted token": (".".join(["e30"] * 5), F.MALFORMED, "not a signed JWT"),
    "a JWS as JSON": (
        json.dumps({"payload": "e30", "signatures": []}), F.MALFORMED, "not a signed JWT"
    ),
    "a text in UTF-16": (
        _raw(b'{"alg":"ES256"}', json.dumps(_claims()).encode("utf-16")), F.MALFORMED, "well-formed"
    ),
    "spaces around": (f" {_token()}", F.MALFORMED, "not a "),
    "padding": (
        ".".join(f"{part}==" for part in _token().split(".")), F.MALFORMED, "not a well-formed JWT"
    ),
    # Issuers
    "an unknown issuer": (_token(iss="https://mallory.test"), F.ISSUER, "not one that this"),
    "no issuer": (_token(iss=...), F.ISSUER, "names no issuer"),
    "an issuer with a slash more": (_token(iss=f"{A}/"), F.ISSUER, "not one that this gateway"),
    "an issuer in look-alike letters": (
        _token(iss="https://\N{CYRILLIC SMALL LETTER A}.test"), F.ISSUER, "not one that this"
    ),
    "an issuer of which ours is a part": (
        _token(iss=f"{A}.mallory.test"), F.ISSUER, "not one that this gateway"
    ),
    "two issuers": (_token(iss=[A, B]), F.ISSUER, "names no issuer"),
    "the other issuer's key of the same id": (_token(KEY_B), F.SIGNATURE, "does not fit"),
    "the other issuer's name": (_token(KEY_A, iss=B, aud=THEIRS), F.SIGNATURE, "does not fit"),
    "a token of the other issuer for us": (
        _token(KEY_B, iss=B), F.AUDIENCE, "for the audience `//keystile/agents`, not"
    ),
    "a trust domain that nobody trusts": (
        _token(iss=..., sub="spiffe://mallory.test/agent-7"), F.ISSUER, "names no issuer"
    ),
    # Audiences
    "another audience": (_token(aud="https://other.test"), F.AUDIENCE, "for the audience"),
    "no audience": (_token(aud=...), F.AUDIENCE, "has no audience"),
    "an empty list of audiences": (_token(aud=[]), F.AUDIENCE, "has no audience"),
    "one of several audiences": (
        _token(aud=[OURS, "https://other.test"]), F.AUDIENCE, "`https://other.test`, not for this"
    ),
    "a part of the audience": (_token(aud=OURS[:-1]), F.AUDIENCE, "not for this gateway"),
    "the audience in capitals": (_token(aud=OURS.upper()), F.AUDIENCE, "not for this gateway"),
    # Times
    "expired": (_token(exp=NOW - 60), F.TIME, "has expired"),
    "without an end": (_token(exp=...), F.TIME, "`exp` is missing"),
    "an end that is a text": (_token(exp="9999999999"), F.TIME, "not a time"),
    "a number that is infinite": (
        _raw(b'{"alg":"ES256"}', json.dumps(_claims())[:-1].encode() + b',"x":1e999}'),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "not valid yet": (_token(nbf=NOW + DAY // 2), F.TIME, "not valid yet (`nbf`)"),
    "from the future": (_token(iat=NOW + DAY // 2), F.TIME, "not valid yet (`iat`)"),
    "without a beginning": (_token(iat=...), F.TIME, "`iat` is missing"),
    # Claims
    "no subject": (_token(sub=...), F.CLAIMS, "names no subject"),
    "a subject that ends at NUL": (_token(sub="agent-7\0x"), F.CLAIMS, "holds a NUL"),
    "a subject that forges a line": (_token(sub="a\nb"), F.CLAIMS, "not a plain text"),
    "groups that are one text": (_token(groups="admins"), F.CLAIMS, "`google.groups`"),
    "groups without end": (_token(groups=["g"] * 999), F.CLAIMS, "at most 256"),
    # Delegation (RFC 8693 sections 4.1 and 4.4)
    "an actor, where its issuer may name none": (
        _token(act={"sub": "agent-8"}), F.DELEGATION, "`act`), which its issuer may not say here"
    ),
    "an actor of another shape": (_token(act="agent-8"), F.DELEGATION, "may not say here"),
    "a person's token without the agent's": (
        _token(may_act={"sub": "agent-8"}), F.DELEGATION, "no actor came with it"
    ),
}  # fmt: skip


async def _exchange(identity: Identity, token: str) -> str:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": OURS,
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    return (await identity.exchange.exchange(urlencode(form).encode(), FORM)).access_token


@pytest.fixture
def depth_of_a_server() -> Iterator[None]:
    """Let texts nest as deep as in a server: hypothesis allows more, and does not take it back."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("depth_of_a_server")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_it_is_refused_in_its_own_words_and_counted(identity: Identity, attack: str) -> None:
    token, fault, message = ATTACKS[attack]
    with pytest.raises(TokenRefusedError) as caught:
        await _exchange(identity, token)
    assert message in caught.value.message
    metrics = Metrics()
    answer = endpoint.refusal(caught.value, metrics)
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "invalid_request"
    assert f'keystile_token_refusals_total{{fault="{fault}"}} 1.0' in metrics.text().decode()
    # INVARIANT: no part of a token is ever repeated, so that no log holds one.
    assert not any(part in str(caught.value) for part in token.split(".") if len(part) > 20)


async def test_what_the_attacks_are_made_of_is_taken(identity: Identity) -> None:
    """Else all of them could be refused for a reason that is none of theirs."""
    assert await _exchange(identity, _token())
    assert await _exchange(identity, _token(header={"typ": "at+jwt", "kid": ""}, aud=[OURS]))
    assert await _exchange(identity, _token(KEY_B, iss=B, aud=THEIRS))
    both = {"alg": "RS256", "kid": "r1"}
    assert await _exchange(identity, jwt.encode(both, _claims(), RSA_A))


async def test_a_replayed_token_gives_nobody_else_and_ends_with_itself(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = _token(exp=int(time.time()) + 300)
    given = [await _exchange(identity, token) for _ in range(2)]
    who = [await identity.tokens.principal(each) for each in given]
    assert who[0] == who[1]
    assert given[0] != given[1]
    later = time.time() + 400
    monkeypatch.setattr("keystile.identity.tokens.time.time", lambda: later)
    with pytest.raises(TokenRefusedError, match="has expired"):
        await _exchange(identity, token)
