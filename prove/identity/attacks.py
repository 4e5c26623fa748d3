"""What a forger tries with tokens, each with what it is counted as and the words of the refusal."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from keystile.model.errors import TokenFault
from prove.identity.forging import (
    DAY,
    KEY_A,
    KEY_B,
    OURS,
    RSA_A,
    STRANGER,
    THEIRS,
    A,
    B,
    as_der,
    claims,
    picked,
    raw,
    respelled,
    signed,
    signed_by,
    symmetric,
    unsigned,
)


class Attack(NamedTuple):
    """A token, what was wrong with it, and a part of the message that says so."""

    token: str
    fault: TokenFault
    words: str


JWK = dict(STRANGER.as_dict(private=False))
PUBLIC = json.dumps(KEY_A.as_dict(private=False)).encode()
NOW = int(time.time())
F = TokenFault
_ATTACKS: dict[str, tuple[str, TokenFault, str]] = {
    # Algorithms (RFC 8725 sections 2.1 and 3.1)
    "alg none, no signature": (unsigned("none"), F.MALFORMED, "not a signed JWT"),
    "alg none": (unsigned("none", b"x"), F.ALGORITHM, "signed with `none`"),
    "alg nOnE": (unsigned("nOnE", b"x"), F.ALGORITHM, "signed with `nOnE`"),
    "alg left out": (unsigned(None, b"x"), F.ALGORITHM, "does not accept"),
    "alg as a list": (unsigned(["ES256"], b"x"), F.ALGORITHM, "does not accept"),
    "HS256 with the public key as PEM": (
        symmetric("HS256", KEY_A.as_pem(private=False)), F.ALGORITHM, "signed with `HS256`"
    ),
    "HS512 with the public key as JWK": (
        symmetric("HS512", PUBLIC), F.ALGORITHM, "signed with `HS512`"
    ),
    "HS256 with an empty key": (symmetric("HS256", b""), F.ALGORITHM, "signed with `HS256`"),
    "an algorithm that the issuer may not use": (
        signed(header={"alg": "ES384"}), F.ALGORITHM, "signed with `ES384`"
    ),
    "the key of another algorithm": (signed(header={"kid": "r1"}), F.KEY, "no key that fits"),
    "RS256 by an EC key": (signed(header={"alg": "RS256"}), F.KEY, "no key that fits"),
    "an algorithm in wide letters": (
        unsigned("\N{FULLWIDTH LATIN CAPITAL LETTER E}S256", b"x"), F.ALGORITHM, "does not accept"
    ),
    "an algorithm with a space": (unsigned("ES256 ", b"x"), F.ALGORITHM, "does not accept"),
    "HS256 with the public RSA key as PEM": (
        symmetric("HS256", RSA_A.as_pem(private=False)), F.ALGORITHM, "signed with `HS256`"
    ),
    # Signatures
    "a signature of zeros": (unsigned("ES256", bytes(64)), F.SIGNATURE, "does not fit"),
    "a signature cut short": (signed()[:-20], F.SIGNATURE, "does not fit"),
    "another signature's": (
        ".".join([*signed(sub="admin").split(".")[:2], signed().split(".")[2]]),
        F.SIGNATURE, "does not fit",
    ),
    # One token must not be had in several spellings: what remembers texts would be misled
    "a signature spelled another way": (respelled(), F.SIGNATURE, "does not fit"),
    "signs that base64url has not": (f"{signed()}!!!!", F.SIGNATURE, "does not fit"),
    "a line break in the signature": (
        f"{signed()[:-8]}\n\n\n\n{signed()[-8:]}", F.SIGNATURE, "does not fit"
    ),
    "the letters of plain base64": (
        picked("-").replace("-", "+"),
        F.SIGNATURE, "does not fit",
    ),
    "a signature as DER": (as_der(), F.SIGNATURE, "does not fit"),
    # Keys (RFC 8725 section 3.10)
    "an unknown kid": (signed(header={"kid": "k9"}), F.KEY, "no key that fits"),
    "no kid, of a stranger": (signed(STRANGER, {"kid": ""}), F.SIGNATURE, "does not fit"),
    "a kid that is a path": (
        signed(STRANGER, {"kid": "../../../../dev/null"}), F.KEY, "no key that fits"
    ),
    "a kid that is SQL": (
        signed(STRANGER, {"kid": "k1' UNION SELECT 'x' --"}), F.KEY, "no key that fits"
    ),
    "a kid that is an address": (
        signed(STRANGER, {"kid": "https://mallory.test/keys"}), F.KEY, "no key that fits"
    ),
    "a kid cut at NUL": (signed(header={"kid": "k1\0"}), F.KEY, "no key that fits"),
    "a kid that is a list": (signed(header={"kid": ["k1"]}), F.HEADER, "key id is not a text"),
    "a key in the header": (signed_by({"jwk": JWK}), F.SIGNATURE, "does not fit"),
    "an address of keys in the header": (
        signed_by({"jku": "https://mallory.test/keys"}), F.SIGNATURE, "does not fit"
    ),
    "a certificate in the header": (signed_by({"x5c": ["MIIB"]}), F.SIGNATURE, "does not fit"),
    "an address of certificates in the header": (
        signed_by({"x5u": "https://mallory.test/cert"}), F.SIGNATURE, "does not fit"
    ),
    "a kid with a wide digit": (
        signed(header={"kid": "k\N{FULLWIDTH DIGIT ONE}"}), F.KEY, "no key that fits"
    ),
    "a huge kid": (signed(header={"kid": "k" * 9000}), F.KEY, "no key that fits"),
    # Headers
    "an unknown critical extension": (
        signed(header={"crit": ["exp"], "exp": 1}), F.HEADER, "extension that is not supported"
    ),
    "crit without anything": (signed(header={"crit": []}), F.HEADER, "not supported"),
    "an unencoded payload": (
        signed(header={"b64": False, "crit": ["b64"]}), F.HEADER, "not supported"
    ),
    "a logout token": (signed(header={"typ": "logout+jwt"}), F.HEADER, "another type"),
    "a DPoP proof": (signed(header={"typ": "dpop+jwt"}), F.HEADER, "another type"),
    "an event": (signed(header={"typ": "secevent+jwt"}), F.HEADER, "another type"),
    "an authorization request": (signed(header={"typ": "oauth-authz-req+jwt"}), F.HEADER, "type"),
    "a type that is no text": (signed(header={"typ": ["JWT"]}), F.HEADER, "another type"),
    # Form
    "a key twice in the header": (
        raw(b'{"alg":"none","alg":"ES256","kid":"k1"}', json.dumps(claims()).encode()),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a claim twice": (
        raw(b'{"alg":"ES256","kid":"k1"}', json.dumps(claims())[:-1].encode() + b',"sub":"x"}'),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a claim twice, once escaped": (
        raw(b'{"alg":"ES256"}', json.dumps(claims())[:-1].encode() + b',"s\\u0075b":"x"}'),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a huge token": (signed(more="x" * 20_000), F.MALFORMED, "larger than 16384 bytes"),
    "a deep token": (
        raw(b'{"alg":"ES256"}', b'{"iss":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "a token in a token": (
        raw(b'{"alg":"ES256","kid":"k1","cty":"JWT"}', signed().encode()),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "an encrypted token": (".".join(["e30"] * 5), F.MALFORMED, "not a signed JWT"),
    "a JWS as JSON": (
        json.dumps({"payload": "e30", "signatures": []}), F.MALFORMED, "not a signed JWT"
    ),
    "a text in UTF-16": (
        raw(b'{"alg":"ES256"}', json.dumps(claims()).encode("utf-16")), F.MALFORMED, "well-formed"
    ),
    "spaces around": (f" {signed()}", F.MALFORMED, "not a "),
    "padding": (
        ".".join(f"{part}==" for part in signed().split(".")), F.MALFORMED, "not a well-formed JWT"
    ),
    "half a letter": (signed(sub="agent\ud800"), F.MALFORMED, "well-formed"),
    "a byte order mark": (
        raw(b'\xef\xbb\xbf{"alg":"ES256"}', json.dumps(claims()).encode()),
        F.MALFORMED, "not a well-formed JWT",
    ),
    # Issuers
    "an unknown issuer": (signed(iss="https://mallory.test"), F.ISSUER, "not one that this"),
    "no issuer": (signed(iss=...), F.ISSUER, "names no issuer"),
    "an issuer with a slash more": (signed(iss=f"{A}/"), F.ISSUER, "not one that this gateway"),
    "an issuer in look-alike letters": (
        signed(iss="https://\N{CYRILLIC SMALL LETTER A}.test"), F.ISSUER, "not one that this"
    ),
    "an issuer of which ours is a part": (
        signed(iss=f"{A}.mallory.test"), F.ISSUER, "not one that this gateway"
    ),
    "two issuers": (signed(iss=[A, B]), F.ISSUER, "names no issuer"),
    "the other issuer's key of the same id": (signed(KEY_B), F.SIGNATURE, "does not fit"),
    "the other issuer's name": (signed(KEY_A, iss=B, aud=THEIRS), F.SIGNATURE, "does not fit"),
    "a token of the other issuer for us": (
        signed(KEY_B, iss=B), F.AUDIENCE, "for the audience `//keystile/agents`, not"
    ),
    "a trust domain that nobody trusts": (
        signed(iss=..., sub="spiffe://mallory.test/agent-7"), F.ISSUER, "names no issuer"
    ),
    "an issuer in wide letters": (
        signed(iss="https://\N{FULLWIDTH LATIN SMALL LETTER A}.test"), F.ISSUER, "not one that this"
    ),
    # Audiences
    "another audience": (signed(aud="https://other.test"), F.AUDIENCE, "for the audience"),
    "a token for another gateway": (
        signed(aud="https://another-gateway.example.com"), F.AUDIENCE, "not for this gateway"
    ),
    "no audience": (signed(aud=...), F.AUDIENCE, "has no audience"),
    "an empty list of audiences": (signed(aud=[]), F.AUDIENCE, "has no audience"),
    "one of several audiences": (
        signed(aud=[OURS, "https://other.test"]), F.AUDIENCE, "`https://other.test`, not for this"
    ),
    "a part of the audience": (signed(aud=OURS[:-1]), F.AUDIENCE, "not for this gateway"),
    "the audience in capitals": (signed(aud=OURS.upper()), F.AUDIENCE, "not for this gateway"),
    "an audience in look-alike letters": (
        signed(aud=OURS.replace("e", "\N{CYRILLIC SMALL LETTER IE}")), F.AUDIENCE, "not for this"
    ),
    "an audience with a joiner in it": (
        signed(aud=f"{OURS}\N{ZERO WIDTH JOINER}"), F.AUDIENCE, "not for this"
    ),
    "a claim in look-alike letters": (
        signed(aud=..., аud=OURS), F.AUDIENCE, "has no audience"
    ),
    "an audience within a list": (signed(aud=[[OURS]]), F.AUDIENCE, "has no audience"),
    "an audience as an object": (signed(aud={OURS: True}), F.AUDIENCE, "has no audience"),
    # Times
    "expired": (signed(exp=NOW - 60), F.TIME, "has expired"),
    "without an end": (signed(exp=...), F.TIME, "`exp` is missing"),
    "an end that is a text": (signed(exp="9999999999"), F.TIME, "not a time"),
    "a number that is infinite": (
        raw(b'{"alg":"ES256"}', json.dumps(claims())[:-1].encode() + b',"x":1e999}'),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "not valid yet": (signed(nbf=NOW + DAY // 2), F.TIME, "not valid yet (`nbf`)"),
    "from the future": (signed(iat=NOW + DAY // 2), F.TIME, "not valid yet (`iat`)"),
    "without a beginning": (signed(iat=...), F.TIME, "`iat` is missing"),
    "a time that is no number": (
        raw(b'{"alg":"ES256"}', json.dumps(claims(exp=float("nan"))).encode()),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "an end that is true": (signed(exp=True), F.TIME, "not a time"),
    "a number of very many digits": (
        raw(b'{"alg":"ES256"}', b'{"x":' + b"9" * 5000 + b"," + json.dumps(claims())[1:].encode()),
        F.MALFORMED, "not a well-formed JWT",
    ),
    "an end beyond all numbers": (signed(exp=10**400), F.CLAIMS, "`google.subject`"),
    "an end before all time": (signed(exp=-1), F.TIME, "has expired"),
    # Claims
    "no subject": (signed(sub=...), F.CLAIMS, "names no subject"),
    "a subject that ends at NUL": (signed(sub="agent-7\0x"), F.CLAIMS, "holds a NUL"),
    "a subject that forges a line": (signed(sub="a\nb"), F.CLAIMS, "not a plain text"),
    "groups that are one text": (signed(groups="admins"), F.CLAIMS, "`google.groups`"),
    "groups without end": (signed(groups=["g"] * 999), F.CLAIMS, "at most 256"),
    "a subject that is written backwards": (
        signed(sub="a\N{RIGHT-TO-LEFT OVERRIDE}b"), F.CLAIMS, "not a plain text"
    ),
    "a subject with a joiner in it": (
        signed(sub="agent\N{ZERO WIDTH JOINER}-7"), F.CLAIMS, "not a plain text"
    ),
    # Delegation (RFC 8693 sections 4.1 and 4.4)
    "an actor, where its issuer may name none": (
        signed(act={"sub": "agent-8"}), F.DELEGATION, "`act`), which its issuer may not say here"
    ),
    "an actor of another shape": (signed(act="agent-8"), F.DELEGATION, "may not say here"),
    "a person's token without the agent's": (
        signed(may_act={"sub": "agent-8"}), F.DELEGATION, "no actor came with it"
    ),
}  # fmt: skip
ATTACKS = {name: Attack(*attack) for name, attack in _ATTACKS.items()}
