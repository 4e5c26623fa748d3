from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from google.oauth2 import service_account
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import UnauthenticatedError
from keystile.sandbox.errors import BadDataError
from keystile.sandbox.tokens import TokenCheck

_KEY = rsa.generate_private_key(65537, 2048)
_PEM = serialization.Encoding.PEM


def _private_pem() -> bytes:
    return _KEY.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(_KEY.public_key()).serial_number(1).not_valid_before(now)
    made = builder.not_valid_after(now + dt.timedelta(days=1)).sign(_KEY, hashes.SHA256())
    return made.public_bytes(_PEM)


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> TokenCheck:
    file = tmp_path_factory.mktemp("keys") / "key.pem"
    file.write_bytes(_public_pem(_KEY))
    return TokenCheck(file)


def _token(**audience: str) -> str:
    info = {
        "private_key": _private_pem().decode(),
        "client_email": "a@example.com",
        "token_uri": "https://example.com",
    }
    made = service_account.Credentials.from_service_account_info(
        info, always_use_jwt_access=True, **audience
    )
    made._create_self_signed_jwt("https://bigquery.googleapis.com/")
    made.refresh(None)
    return str(made.token)


@pytest.mark.parametrize("pem", [_public_pem(_KEY), _certificate()])
def test_tokens_as_google_auth_makes_them_are_accepted(tmp_path: Path, pem: bytes) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem)
    assert TokenCheck(file).account(f"Bearer {_token()}") == "a@example.com"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot read the public key"),
        (b"junk", "is not a PEM public key"),
        (_private_pem(), "holds a private key"),
        (_public_pem(ec.generate_private_key(ec.SECP256R1())), "is not an RSA key"),
    ],
)
def test_any_other_file_is_explained(tmp_path: Path, content: bytes | None, text: str) -> None:
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadDataError, match=text):
        TokenCheck(file)


def test_keys_count_while_they_are_in_the_file(tmp_path: Path) -> None:
    """As at Google: of an account with two keys each is good, until it is deleted."""
    file, other = tmp_path / "keys.pem", _public_pem(rsa.generate_private_key(65537, 2048))
    file.write_bytes(other + _public_pem(_KEY))
    check, bearer = TokenCheck(file), f"Bearer {_token()}"
    assert check.account(bearer) == "a@example.com"
    file.write_bytes(other)
    with pytest.raises(UnauthenticatedError):
        check.account(bearer)
    file.write_bytes(_certificate() + other)
    assert check.account(bearer) == "a@example.com"


@given(st.text(max_size=60) | st.text(max_size=60).map("Bearer {}".format))
def test_any_text_is_refused_in_one_way(check: TokenCheck, authorization: str) -> None:
    with pytest.raises(UnauthenticatedError):
        check.account(authorization)


def test_an_account_with_keys_of_its_own_is_nobody_elses_to_sign_for(tmp_path: Path) -> None:
    other = rsa.generate_private_key(65537, 2048)
    shared, own = tmp_path / "shared.pem", tmp_path / "own.pem"
    shared.write_bytes(_public_pem(_KEY))
    own.write_bytes(_public_pem(other))
    bearer = f"Bearer {_token()}"
    assert TokenCheck(shared, {"b@example.com": own}).account(bearer) == "a@example.com"
    # Its key is known, but not as this account's; or only as another's.
    for check in (TokenCheck(shared, {"a@example.com": own}), TokenCheck(own, {"b@x.y": shared})):
        with pytest.raises(UnauthenticatedError):
            check.account(bearer)
    assert TokenCheck(own, {"a@example.com": shared}).account(bearer) == "a@example.com"
