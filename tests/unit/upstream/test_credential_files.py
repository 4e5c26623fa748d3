from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import UnsafeConfigurationError
from keystile.upstream.credential_files import credentials, read

PLANTED = "planted-refresh"
PERSON = {
    "type": "authorized_user",
    "client_id": "c",
    "client_secret": "s",
    "refresh_token": PLANTED,
}
URL = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken"
IMPERSONATED = {
    "type": "impersonated_service_account",
    "service_account_impersonation_url": URL,
    "source_credentials": PERSON,
}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no credential file of Google's"),
        (b"[]", "no credential file of Google's"),
        (b"{}", "no credential file of Google's"),
        (json.dumps({"type": f"Bearer {PLANTED}"}).encode(), "no credential file of Google's"),
        (b'{"type": "gdch_service_account"}', "of the kind `gdch_service_account`, which"),
        (b'{"type": "external_account_authorized_user"}', "which the gateway does not use"),
    ],
)
def test_what_is_not_served_is_refused_by_its_kind_and_without_its_content(
    content: bytes, match: str
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=match) as refused:
        read(content, "adc.json")
    assert "`adc.json`" in refused.value.message
    assert PLANTED not in str(refused.value)


@given(st.binary() | st.from_regex(r'\{"type": "[a-z_]{0,10}"\}', fullmatch=True).map(str.encode))
def test_whatever_stands_in_a_file_is_read_or_refused(content: bytes) -> None:
    try:
        read(content, "f")
    except UnsafeConfigurationError:
        return


FEDERATED = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
}


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("http://169.254.169.254/metadata/identity/oauth2/token?resource=a", True),
        ("http://[fd00:ec2::254]/latest", True),
        ("http://127.0.0.1:8080/token", True),
        ("https://tokens.example/t", True),
        (f"http://tokens.example/{PLANTED}", False),
        (f"http://10.0.0.1/{PLANTED}", False),
        ("http://169.254.169.254.example/", False),
        ("ftp://169.254.169.254/", False),
        ("http://[", False),
        (7, False),
    ],
)
def test_a_subject_token_was_fetched_where_others_read_it(url: Any, *, safe: bool) -> None:
    file = {**FEDERATED, "credential_source": {"url": url}}
    if safe:
        assert credentials(file, "wif.json")
        return
    with pytest.raises(UnsafeConfigurationError, match=r"`credential_source\.url`") as refused:
        credentials(file, "wif.json")
    assert PLANTED not in str(refused.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"service_account_impersonation_url": 1},
        {"service_account_impersonation_url": "https://iam.example/elsewhere"},
        {"service_account_impersonation_url": URL.replace("https", "http")},
        {"source_credentials": PLANTED},
        {"source_credentials": IMPERSONATED},
        {"source_credentials": {"type": "gdch_service_account"}},
        {"delegates": PLANTED},
    ],
)
def test_an_impersonation_that_is_not_clear_and_safe_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UnsafeConfigurationError) as refused:
        credentials({**IMPERSONATED, **changed}, "adc.json")
    assert PLANTED not in str(refused.value)


def test_no_address_of_a_file_may_expose_a_token() -> None:
    file = {"type": "external_account", "credential_source": {"file": "x"}}
    for word in ("token_url", "service_account_impersonation_url", "token_info_url"):
        with pytest.raises(UnsafeConfigurationError, match="without encryption"):
            credentials({**file, word: "http://sts.example/token"}, "wif.json")
    with pytest.raises(UnsafeConfigurationError, match="workload identity"):
        credentials({"type": "external_account"}, "wif.json")
