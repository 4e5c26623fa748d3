from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

from keystile.identity.jws import MAX_BYTES
from keystile.identity.keys import parse_jwks, pick
from keystile.identity.tokens import TokenVerifier, TrustedIssuer
from keystile.model.errors import TokenRefusedError, UnsafeConfigurationError

ISSUER = "https://issuer.test"
AUDIENCE = "//keystile/agents"


class StaticKeys:
    def __init__(self, document: bytes) -> None:
        self.keys = parse_jwks(document)

    async def find(self, key_id: str, algorithm: str) -> Key:
        key = pick(self.keys, key_id, algorithm)
        if key is None:
            raise TokenRefusedError("no key that fits", oauth_error="invalid_request")
        return key


@pytest.fixture
def verifier(issuer: Any) -> TokenVerifier:
    return _verifier(StaticKeys(issuer.jwks()))


def _verifier(keys: Any, **changes: Any) -> TokenVerifier:
    values = {
        "audiences": frozenset({AUDIENCE, "also-ours"}),
        "algorithms": frozenset({"ES256", "RS256"}),
    }
    return TokenVerifier([TrustedIssuer(ISSUER, keys=keys, **(values | changes))], clock_skew=30)


async def _refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(TokenRefusedError) as caught:
        await verifier.verify(token)
    assert caught.value.oauth_error == "invalid_request"
    for part in token.split("."):
        assert len(part) < 8 or part not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": [AUDIENCE]},
        {"aud": [AUDIENCE, "also-ours"]},
        {"nbf": 20},
        {"exp": -20},
        {"nbf": ...},
        {"header": {"typ": "at+jwt"}},
    ],
)
async def test_a_good_token_gives_its_claims(
    issuer: Any, verifier: TokenVerifier, changes: dict[str, Any]
) -> None:
    claims = await verifier.verify(issuer.token(**changes))
    assert (claims["iss"], claims["sub"]) == (ISSUER, "agent-7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aud": "someone-else"}, "is for the audience `someone-else`, not for this gateway"),
        ({"aud": [AUDIENCE, "stranger"]}, "is for the audience `stranger`"),
        ({"aud": AUDIENCE + "/"}, "not for this gateway"),
        ({"aud": ...}, "has no audience"),
        ({"aud": []}, "has no audience"),
        ({"aud": ""}, "has no audience"),
        ({"aud": {AUDIENCE: 1}}, "has no audience"),
        ({"aud": [[AUDIENCE]]}, "has no audience"),
        ({"aud": None}, "has no audience"),
        ({"exp": -31}, "the token has expired"),
        ({"exp": ...}, "`exp` is missing or not a time"),
        ({"exp": "9999999999"}, "`exp` is missing or not a time"),
        ({"exp": True}, "`exp` is missing or not a time"),
        ({"nbf": 60}, "not valid yet (`nbf`)"),
        ({"iat": 60}, "not valid yet (`iat`)"),
        ({"iat": "now"}, "`iat` is missing or not a time"),
        ({"iat": ...}, "`iat` is missing or not a time"),
        ({"sub": ...}, "names no subject"),
        ({"sub": ""}, "names no subject"),
        ({"sub": 7}, "names no subject"),
        ({"iss": ...}, "names no issuer"),
        ({"iss": [ISSUER]}, "names no issuer"),
        (
            {"iss": ISSUER + "/"},
            "issuer `https://issuer.test/` is not one that this gateway trusts",
        ),
        ({"iss": "HTTPS://ISSUER.TEST"}, "is not one that this gateway trusts"),
        ({"iss": "https://evil.test\nforged line"}, "`https://evil.test?forged line`"),
        ({"header": {"typ": "logout+jwt"}}, "of another type"),
        ({"header": {"kid": "k2"}}, "no key that fits"),
        ({"sub": "x" * MAX_BYTES}, f"larger than {MAX_BYTES} bytes"),
    ],
)
async def test_each_fault_has_its_own_sentence(
    issuer: Any, verifier: TokenVerifier, changes: dict[str, Any], message: str
) -> None:
    assert message in await _refusal(verifier, issuer.token(**changes))


async def test_a_header_that_means_nothing_to_us_does_no_harm(
    issuer: Any, verifier: TokenVerifier
) -> None:
    head = b'{"alg":"ES256","kid":"k1","x5t":"abc","x-own":{"a":[1]}}'
    claims = await verifier.verify(issuer.raw(head, json.dumps(issuer.claims()).encode()))
    assert claims["sub"] == "agent-7"


async def test_a_token_of_another_key_is_refused(issuer: Any, verifier: TokenVerifier) -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "k1"})
    token = jwt.encode({"alg": "ES256", "kid": "k1"}, issuer.claims(), stranger)
    assert "signature does not fit" in await _refusal(verifier, token)


async def test_a_changed_payload_is_refused(issuer: Any, verifier: TokenVerifier) -> None:
    head, _, signature = issuer.token().split(".")
    payload = base64.urlsafe_b64encode(json.dumps(issuer.claims(sub="admin")).encode())
    token = f"{head}.{payload.rstrip(b'=').decode()}.{signature}"
    assert "signature does not fit" in await _refusal(verifier, token)


async def test_no_key_of_the_token_itself_is_ever_used(
    issuer: Any, verifier: TokenVerifier
) -> None:
    stranger = ECKey.generate_key("P-256")
    header = {"alg": "ES256", "kid": "k1", "jwk": stranger.as_dict(private=False)}
    token = jwt.encode(header, issuer.claims(), stranger)
    assert "signature does not fit" in await _refusal(verifier, token)
    header = {"alg": "ES256", "kid": "k1", "jku": "https://evil.test/jwks.json"}
    token = jwt.encode(header, issuer.claims(), stranger)
    assert "signature does not fit" in await _refusal(verifier, token)


async def test_algorithm_confusion_is_refused(issuer: Any, verifier: TokenVerifier) -> None:
    claims = json.dumps(issuer.claims()).encode()
    none = ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (b'{"alg":"none"}', claims, b"x")
    )
    assert "signed with `none`" in await _refusal(verifier, none)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').rstrip(b"=")
    text = head + b"." + base64.urlsafe_b64encode(claims).rstrip(b"=")
    digest = hmac.digest(issuer.key.as_pem(private=False), text, "sha256")
    token = (text + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()
    assert "signed with `HS256`" in await _refusal(verifier, token)
    # RS256 is allowed here, but the issuer has no RSA key.
    rsa = RSAKey.generate_key(2048)
    token = jwt.encode({"alg": "RS256", "kid": "k1"}, issuer.claims(), rsa)
    assert "no key that fits" in await _refusal(verifier, token)


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b'{"alg":"ES256","alg":"none"}', b"{}"),
        (b'{"alg":"ES256"}', b'{"iss":"https://issuer.test","aud":"a","aud":"//keystile/agents"}'),
        (b'{"alg":"ES256"}', b'{"iss":"x","iss":"https://issuer.test"}'),
        (b'{"alg":"ES256"}', b'{"iss":"https://issuer.test","exp":1e999}'),
        (b'{"alg":"ES256"}', b'{"exp":NaN}'),
        (b'{"alg":"ES256"}', b"[]"),
        (b"[]", b"{}"),
        (b'{"alg":"ES256"}', b"\xff"),
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(
    issuer: Any, verifier: TokenVerifier, header: bytes, payload: bytes
) -> None:
    assert "not a well-formed JWT" in await _refusal(verifier, issuer.raw(header, payload))


@pytest.mark.parametrize("header", [{"crit": ["b64"], "b64": False}, {"crit": []}, {"b64": True}])
async def test_extensions_are_refused(
    issuer: Any, verifier: TokenVerifier, header: dict[str, Any]
) -> None:
    head = json.dumps({"alg": "ES256", "kid": "k1"} | header).encode()
    token = issuer.raw(head, json.dumps(issuer.claims()).encode())
    assert "extension that is not supported" in await _refusal(verifier, token)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c.d", "..", "é.é.é", "a.b.\udc80", "*.*.*"])
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    assert "the token is not a" in await _refusal(verifier, token)


@given(token=st.text(max_size=60) | st.from_regex(r"[\w-]{1,40}\.[\w-]{1,40}\.[\w-]{1,40}"))
async def test_no_text_does_worse_than_a_refusal(token: str) -> None:
    with pytest.raises(TokenRefusedError):
        await _verifier(None).verify(token)


@given(data=st.data())
async def test_no_changed_character_of_a_good_token_is_accepted(issuer: Any, data: Any) -> None:
    token = issuer.token()
    # The last character of a part holds bits that base64 ignores.
    ends = {index - 1 for index, letter in enumerate(token) if letter == "."} | {len(token) - 1}
    place = data.draw(st.sampled_from([i for i in range(len(token)) if i not in ends]))
    letter = data.draw(st.sampled_from("ABCxyz019-_."))
    if letter != token[place]:
        with pytest.raises(TokenRefusedError):
            await _verifier(StaticKeys(issuer.jwks())).verify(
                token[:place] + letter + token[place + 1 :]
            )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audiences": frozenset()}, "has no audience"),
        ({"audiences": frozenset({""})}, "has no audience"),
        ({"algorithms": frozenset({"HS256"})}, "allows the algorithm `HS256`"),
        ({"algorithms": frozenset({"ES256", "none"})}, "allows the algorithm `none`"),
    ],
)
def test_an_unsafe_issuer_does_not_start(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match=message):
        _verifier(None, **changes)


def test_an_issuer_named_twice_does_not_start() -> None:
    issuer = TrustedIssuer(
        ISSUER, frozenset({"a"}), frozenset({"ES256"}), StaticKeys(b'{"keys":[]}')
    )
    with pytest.raises(UnsafeConfigurationError, match="configured twice"):
        TokenVerifier([issuer, issuer], 0)
