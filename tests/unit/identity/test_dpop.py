from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey
from prove.identity.forging import b64 as encoded
from prove.identity.holder import Holder

from keystile.identity import dpop as module
from keystile.identity.dpop import verify
from keystile.model.errors import TokenFault, TokenRefusedError
from keystile.model.sender import Sender

URL = "https://gw.test/bigquery/v2/projects/p/queries"
HOLDER = Holder()
RSA = RSAKey.generate_key(2048)
OTHER = ECKey.generate_key("P-256")
P384 = ECKey.generate_key("P-384")


def _verify(proof: str, token: str = "") -> module.Proof:
    return verify(Sender(method="POST", url=URL, proof=proof), token, 30)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"header": {"typ": "DPoP+JWT"}},
        {"htu": "HTTPS://GW.test:443/bigquery/v2/projects/p/queries"},
        {"htu": f"{URL}?alt=json#x"},
        {"ago": 10},
        {"nonce": "not asked for", "exp": 0, "more": [1]},
    ],
)
def test_a_proof_of_this_request_shows_whose_key_it_is(changes: dict[str, Any]) -> None:
    if ago := changes.get("ago"):
        changes = {"iat": time.time() - ago}  # not known before the test runs
    proof = _verify(HOLDER.proof("POST", URL, **changes))
    assert proof.thumbprint == HOLDER.thumbprint
    assert proof.expires_at > time.time() + 30


def test_it_is_known_again_by_key_and_id(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (_verify(HOLDER.proof("POST", URL, jti=id_)) for id_ in ("a", "b"))
    again = _verify(HOLDER.proof("POST", URL, jti="a"))
    assert first.digest == again.digest != second.digest
    assert _verify(Holder().proof("POST", URL, jti="a")).digest != first.digest
    # It is remembered for as long as it would be taken.
    proof = HOLDER.proof("POST", URL, iat=int(time.time()) + 20)
    until = _verify(proof).expires_at
    monkeypatch.setattr(module.time, "time", lambda: until)
    with pytest.raises(TokenRefusedError, match="not of now"):
        _verify(proof)


def test_a_proof_may_be_signed_with_ed25519() -> None:
    key = OKPKey.generate_key("Ed25519")
    holder = Holder()
    holder.key = key  # type: ignore[assignment]
    head = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": key.as_dict(private=False)}
    now = int(time.time())
    claims = {"jti": "a", "htm": "POST", "htu": URL, "iat": now}
    text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    from joserfc import jws  # noqa: PLC0415 - beside its only use

    signature = jws.JWSRegistry.algorithms["Ed25519"].sign(text.encode(), key)
    assert _verify(f"{text}.{encoded(signature)}").thumbprint == key.thumbprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": {"typ": "JWT"}}, "of another type"),
        ({"header": {"typ": ...}}, "of another type"),
        ({"header": {"crit": ["x"]}}, "of another type"),
        ({"header": {"alg": "none"}}, "signed in another way"),
        ({"header": {"alg": "HS256"}}, "signed in another way"),
        ({"header": {"alg": "RS256", "jwk": RSA.as_dict(private=False)}}, "in another way"),
        ({"header": {"alg": ...}}, "signed in another way"),
        ({"header": {"jwk": ...}}, "no public key"),
        ({"header": {"jwk": "x"}}, "no public key"),
        ({"header": {"jwk": HOLDER.key.as_dict(private=True)}}, "no public key"),
        ({"header": {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}}, "no public key"),
        ({"header": {"jwk": RSA.as_dict(private=False)}}, "no public key that fits"),
        ({"header": {"jwk": OTHER.as_dict(private=False)}}, "signature does not fit"),
        ({"header": {"jwk": P384.as_dict(private=False)}}, "signature does not fit"),
        ({"htm": "GET"}, "for another request"),
        ({"htm": "post"}, "for another request"),
        ({"htm": ...}, "for another request"),
        ({"htu": ...}, "for another request"),
        ({"htu": [URL]}, "for another request"),
        ({"htu": "https://gw.test/v1/token"}, "for another request"),
        ({"htu": URL.replace("https", "http")}, "for another request"),
        ({"htu": URL.replace("gw.test", "gw.test:8443")}, "for another request"),
        ({"htu": URL.replace("gw.test", "x@gw.test")}, "for another request"),
        ({"htu": URL.replace("gw.test", "gw.test.mallory.test")}, "for another request"),
        ({"htu": f"{URL}/"}, "for another request"),
        ({"htu": "https://gw.test:x/"}, "for another request"),
        ({"htu": "https://[gw.test/"}, "for another request"),
        ({"ath": ...}, "for another token"),
        ({"ath": "x"}, "for another token"),
        ({"iat": ...}, "`iat` is missing"),
        ({"iat": True}, "`iat` is missing"),
        ({"iat": "1"}, "`iat` is missing"),
        ({"iat": 10**400}, "not of now"),
        ({"iat": time.time() - 3600}, "not of now"),
        ({"iat": time.time() + 3600}, "not of now"),
        ({"jti": ...}, "`jti` is missing"),
        ({"jti": ""}, "`jti` is missing"),
        ({"jti": 7}, "`jti` is missing"),
        ({"jti": "x" * 257}, "longer than 256"),
        ({"more": "x" * 5000}, "larger than 4096 bytes"),
    ],
)
def test_any_other_proof_is_refused_in_its_own_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenRefusedError) as caught:
        _verify(HOLDER.proof("POST", URL, "ks_token", **changes), "ks_token")
    assert message in str(caught.value)
    assert caught.value.fault is TokenFault.PROOF
    assert caught.value.oauth_error == "invalid_dpop_proof"


@pytest.mark.parametrize("proof", ["x", "a.b.c", "..", "é.é.é", "e30.e30.e30"])
def test_what_is_no_proof_is_refused(proof: str) -> None:
    with pytest.raises(TokenRefusedError, match="the DPoP proof"):
        _verify(proof)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_HEADER = ("typ", "alg", "jwk", "kid", "crit")
_CLAIMS = ("jti", "htm", "htu", "iat", "ath")


@given(
    st.dictionaries(st.sampled_from(_HEADER), _JSON),
    st.dictionaries(st.sampled_from(_CLAIMS), _JSON),
)
def test_no_members_do_worse_than_a_refusal(header: dict[str, Any], claims: dict[str, Any]) -> None:
    faults = []
    try:
        assert _verify(HOLDER.proof("POST", URL, "t", header, **claims), "t").thumbprint
    except TokenRefusedError as error:
        faults.append(error.fault)
    assert faults in ([], [TokenFault.PROOF])


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_bytes_do_worse_than_a_refusal(header: bytes, payload: bytes) -> None:
    with pytest.raises(TokenRefusedError):
        _verify(HOLDER.signed(header, payload))


@given(st.text(max_size=60))
def test_no_text_does_worse_than_a_refusal(proof: str) -> None:
    with pytest.raises(TokenRefusedError):
        _verify(proof)
