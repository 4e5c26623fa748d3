"""Google's credential files: what each kind stands for, and what google-auth makes of it.

A file is an operator's own, as a key is; even so no address in it may expose a token.

INVARIANT: no error quotes what is in a file beyond the kind that it names itself.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
from google.auth import aws, identity_pool, impersonated_credentials, pluggable
from google.oauth2 import credentials as people
from google.oauth2 import service_account
from joserfc.util import urlsafe_b64decode

from keystile.config.urls import is_loopback, require_safe_url
from keystile.model.errors import UnsafeConfigurationError
from keystile.upstream.keys import SigningKey

SCOPES = ("https://www.googleapis.com/auth/bigquery",)
LIFETIME_SECONDS = 3600

WORKLOAD_IDENTITY = "external_account"
SERVICE_ACCOUNT = "service_account"
KINDS: Mapping[str, str] = {
    SERVICE_ACCOUNT: "the key of a service account",
    WORKLOAD_IDENTITY: "workload identity",
    "authorized_user": "a person's sign-in",
    "impersonated_service_account": "impersonation of a service account",
}
"""What is served, by the `type` that files name, in words."""

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
_AWS_BY_IPV6 = "fd00:ec2::254"
_AWS = "urn:ietf:params:aws:token-type:aws4_request"
_ALLOWED = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"
_TYPE = re.compile(r"[a-z0-9_]{1,64}")
_ACCOUNT = re.compile(r"/serviceAccounts/([^/:]+):generateAccessToken$")
_SOURCES = ("url", "region_url", "imdsv2_session_token_url")
_ADDRESSES = ("token_url", "service_account_impersonation_url", "token_info_url")


def read(content: bytes, where: str) -> dict[str, Any]:
    """Read a credential file that is `where`.

    Raises `UnsafeConfigurationError` for what is none, or of a kind that is not served.
    """
    try:
        info = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        info = {}
    kind = info.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise UnsafeConfigurationError(
            f"`{where}` is no credential file of Google's",
            hint="make one with `gcloud`, or name another file",
        )
    if kind not in KINDS:
        raise UnsafeConfigurationError(
            f"`{where}` has credentials of the kind `{kind}`, which the gateway does not use",
            hint=f"use one of {', '.join(f'`{one}`' for one in KINDS)}",
        )
    return info


def credentials(info: Mapping[str, Any], where: str) -> Any:
    """Give google-auth's credentials for what `read` gave.

    Raises `UnsafeConfigurationError`; google-auth itself raises more for what is left out.
    """
    match info["type"]:
        case "service_account":
            return of_key(SigningKey(msgspec.json.encode(info), where))
        case "external_account":
            return _external(info, where)
        case "authorized_user":
            # No scopes: a refresh that asks for others than the person agreed to is refused.
            found = {word: value for word, value in info.items() if word != "scopes"}
            return people.Credentials.from_authorized_user_info(found)
        case _:
            return _impersonated(info, where)


def of_key(key: SigningKey) -> Any:
    """Give google-auth's credentials for a key."""
    return service_account.Credentials(
        key.signer, key.account, "", scopes=list(SCOPES), always_use_jwt_access=True
    )


def account_of(source: Any) -> str:
    """Say whose token it is, once there is one.

    That is a service account's or a person's e-mail, the audience of a federated identity, or a
    digest where nobody says who the person is.
    """
    if isinstance(source, people.Credentials):
        return _person(source)
    email = getattr(source, "service_account_email", None)
    return str(email or source.info["audience"])


def _external(info: Mapping[str, Any], where: str) -> Any:
    if not isinstance(info.get("credential_source"), dict):
        raise UnsafeConfigurationError(
            f"`{where}` is no credential file of workload identity federation",
            hint="make one with `gcloud iam workload-identity-pools create-cred-config`",
        )
    for word in _ADDRESSES:
        if word in info:
            require_safe_url(str(info[word]), f"`{word}` of `{where}`")
    for word in _SOURCES:
        url = info["credential_source"].get(word)
        if url is not None and not _is_safe_source(str(url)):
            raise UnsafeConfigurationError(
                f"`credential_source.{word}` of `{where}` would be asked without encryption",
                hint="use https, or this machine's own metadata service",
            )
    kind: Any = identity_pool.Credentials
    if info.get("subject_token_type") == _AWS:
        kind = aws.Credentials
    elif "executable" in info["credential_source"]:
        if os.environ.get(_ALLOWED) != "1":
            raise UnsafeConfigurationError(
                f"`{where}` has the token of an executable, which the gateway does not run",
                hint=f"set `{_ALLOWED}=1` for the gateway, or use a file or an address as its"
                " `credential_source`",
            )
        kind = pluggable.Credentials
    return kind.from_info(info, scopes=list(SCOPES))


def _is_safe_source(url: str) -> bool:
    """Tell whether nobody else reads a subject token on its way from there.

    A cloud's metadata service speaks no TLS, and is on the machine's own link.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https" or is_loopback(host):
            return bool(host)
        known = ip_address(host)
    except ValueError:
        return False
    return parts.scheme == "http" and (known.is_link_local or str(known) == _AWS_BY_IPV6)


def _impersonated(info: Mapping[str, Any], where: str) -> Any:
    url, inner = info.get("service_account_impersonation_url"), info.get("source_credentials")
    named = _ACCOUNT.search(url) if isinstance(url, str) else None
    delegates = info.get("delegates") or []
    if not named or not isinstance(inner, dict) or not isinstance(delegates, list):
        raise UnsafeConfigurationError(
            f"`{where}` does not say which account is impersonated, or by whom",
            hint="make one with `gcloud auth application-default login"
            " --impersonate-service-account`",
        )
    require_safe_url(str(url), f"`service_account_impersonation_url` of `{where}`")
    before = read(msgspec.json.encode(inner), where)
    if before["type"] == info["type"]:
        message = f"`{where}` impersonates by way of another impersonation"
        raise UnsafeConfigurationError(message, hint="name the accounts between as `delegates`")
    return impersonated_credentials.Credentials(
        credentials(before, where),
        named[1],
        list(SCOPES),
        delegates=delegates,
        lifetime=LIFETIME_SECONDS,
        iam_endpoint_override=url,
    )


def _person(source: Any) -> str:
    """Name the person: in the file, else as the ID token says that came with the last token.

    Its signature need not be looked at: it came from Google's own token endpoint by TLS (OpenID
    Connect Core section 3.1.3.7).
    """
    try:
        claims = urlsafe_b64decode(str(source.id_token).split(".")[1].encode("ascii"))
        email = msgspec.json.decode(claims, type=dict[str, Any]).get("email")
    except (ValueError, IndexError, msgspec.MsgspecError):
        email = None
    digest = hashlib.sha256(str(source.client_id).encode() + str(source.refresh_token).encode())
    return str(source.account or email or f"person {digest.hexdigest()[:16]}")
