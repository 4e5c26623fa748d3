"""Google's servers that give credentials, played at one address, with Google's own checks.

The token endpoint (`/token`, JWT bearer: RFC 7523, and refresh tokens of people), STS
(`/v1/token`), IAM Credentials (`:generateAccessToken`), the metadata server (`/computeMetadata/`)
and Secret Manager (`:access`).
What they say to what is wrong are Google's words where these are known.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, RSAKey
from joserfc.util import urlsafe_b64decode
from tests.support import aws, metadata_server, secret_manager
from tests.support.google_words import SCOPE, RefusedError, api_error, oauth_error
from tests.support.played import Played

TOKEN_URI = "https://oauth2.googleapis.com/token"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_AWS = "urn:ietf:params:aws:token-type:aws4_request"
_SUBJECT_TYPES = {f"urn:ietf:params:oauth:token-type:{kind}" for kind in ("jwt", "id_token")}
_PROVIDER = re.compile(
    r"//iam\.googleapis\.com/(projects/\d+/locations/global/workloadIdentityPools/[\w-]+)"
    r"/providers/[\w-]+"
)
_TIMES = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    " Check your iat and exp values in the JWT claim."
)
_SCOPES = {
    "iamcredentials": {SCOPE, "https://www.googleapis.com/auth/iam"},
    "secretmanager": {SCOPE},
}
_HOUR, _SKEW = 3600, 60


def write_key_file(path: Path, email: str, key_id: str, token_uri: str = TOKEN_URI) -> RSAKey:
    """Write a service-account key file as Google makes them; give the key."""
    key = RSAKey.generate_key(2048, auto_kid=False)
    pem = key.raw_value.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    document = {
        "type": "service_account",
        "project_id": email.partition("@")[2].partition(".")[0],
        "private_key_id": key_id,
        "private_key": pem,
        "client_email": email,
        "client_id": "100000000000000000001",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return key


class Grant(NamedTuple):
    """Whom an access token stands for, and until when."""

    principal: str
    scopes: frozenset[str]
    expires: float


@dataclass
class Provider:
    """A provider of a workload identity pool, with the keys of its issuer by their ids."""

    issuer: str
    keys: dict[str, Key]
    audiences: frozenset[str] = frozenset()


class Person(NamedTuple):
    """Who has agreed that a client acts for them, and the client."""

    email: str
    client_id: str
    client_secret: str


@dataclass
class Secret:
    """A secret of Secret Manager: versions count from 1, each with its state."""

    accessors: set[str]
    versions: list[bytes] = field(default_factory=list)
    states: dict[int, str] = field(default_factory=dict)


class Google(Played):
    """All of them; what they know is in plain sight, for tests to change while it is used.

    `keys` has the public keys of each service account by their ids: take one out, and what it signs
    counts no more. `tokens` are those given, and `revoke` ends them. `providers` are those of
    workload identity pools, by their full names. `impersonators` says who may have tokens of an
    account. `people` have refresh tokens. `aws` has the secrets of access keys at AWS, which every
    provider takes for its own. `attached` is the account of the machine, for the metadata server.
    With `signs`, access tokens are JWTs of that key, which the sandbox takes.
    """

    def __init__(self, signs: RSAKey | None = None) -> None:
        super().__init__(self._handle)
        self._signs = signs
        self._own = RSAKey.generate_key(2048, {"kid": "google-1"})
        self.keys: dict[str, dict[str, RSAKey]] = {}
        self.disabled: set[str] = set()
        self.tokens: dict[str, Grant] = {}
        self.providers: dict[str, Provider] = {}
        self.impersonators: dict[str, set[str]] = {}
        self.people: dict[str, Person] = {}
        self.aws: dict[str, str] = {}
        self.attached = ""
        self.project = "acme-shop"
        self.secrets: dict[str, Secret] = {}
        self.lifetime = _HOUR
        self.corrupts = False

    def __enter__(self) -> Self:
        super().__enter__()
        self.token_uri = f"{self.url}/token"
        self.metadata_host = self.url.removeprefix("http://")
        return self

    def account(self, path: Path, email: str, key_id: str = "key-1") -> RSAKey:
        """Make a further key of an account, and write its file."""
        key = write_key_file(path, email, key_id, self.token_uri)
        self.keys.setdefault(email, {})[key_id] = key
        return key

    def revoke(self, principal: str) -> None:
        """End every token of an account or a federated principal."""
        for token in [one for one, grant in self.tokens.items() if grant.principal == principal]:
            del self.tokens[token]

    def jwks(self) -> dict[str, Any]:
        """Give the keys that sign ID tokens."""
        return {"keys": [self._own.as_dict(private=False)]}

    def give(self, principal: str, scopes: Collection[str], lifetime: float) -> str:
        """Make an access token."""
        now = int(time.time())
        token = f"ya29.c.{secrets.token_urlsafe(40)}"
        if self._signs:
            claims = {"iss": principal, "sub": principal, "scope": " ".join(scopes)}
            claims |= {"iat": now, "exp": now + int(lifetime), "jti": secrets.token_hex(8)}
            token = jwt.encode({"alg": "RS256"}, claims, self._signs, algorithms=["RS256"])
        self.tokens[token] = Grant(principal, frozenset(scopes), now + lifetime)
        return token

    def principal(self, request: web.Request, service: str) -> str:
        """Say who asks a service: by an access token, or a JWT that is self-signed (AIP-4111)."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        grant = self.tokens.get(token)
        if scheme == "Bearer" and grant and time.time() < grant.expires:
            if grant.scopes.isdisjoint(_SCOPES[service]):
                words = "Request had insufficient authentication scopes."
                raise api_error(403, "PERMISSION_DENIED", words)
            return grant.principal
        try:
            claims = self.signed(token)
            if claims.get("aud") == f"https://{service}.googleapis.com/":
                return str(claims["iss"])
            if not _SCOPES[service].isdisjoint(str(claims.get("scope", "")).split()):
                return str(claims["iss"])
        except RefusedError:
            pass
        raise api_error(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login"
            " cookie or other valid authentication credential.",
        )

    def signed(self, token: str) -> dict[str, Any]:
        """Check what a service account's key has signed, as far as it is the same everywhere."""
        try:
            header, claims = _unverified(token)
        except (ValueError, JoseError):
            raise oauth_error("invalid_grant", "Bad Request") from None
        keys = self.keys.get(str(claims.get("iss")))
        if keys is None:
            raise oauth_error("invalid_grant", "Invalid grant: account not found")
        if claims["iss"] in self.disabled:
            raise oauth_error("disabled_client", "The OAuth client was disabled.", 401)
        key = keys.get(str(header.get("kid")))
        if key is None or header.get("alg") != "RS256" or not _verified(token, key, "RS256"):
            raise oauth_error("invalid_grant", "Invalid JWT Signature.")
        if not _in_time(claims):
            raise oauth_error("invalid_grant", _TIMES)
        return claims

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        try:
            if path == "/token" and request.method == "POST":
                return web.json_response(self._jwt_bearer(await request.post()))
            if path == "/v1/token" and request.method == "POST":
                return web.json_response(self._exchange(await request.post()))
            if path.endswith(":generateAccessToken") and request.method == "POST":
                return web.json_response(self._impersonate(request, await request.json()))
            if path.endswith(":access") and request.method == "GET":
                return web.json_response(secret_manager.access(self, request))
            return metadata_server.answer(self, self._own, request)
        except RefusedError as no:
            return web.json_response(no.body, status=no.status)

    def _jwt_bearer(self, form: Mapping[str, Any]) -> Any:
        if form.get("grant_type") == "refresh_token":
            return self._refreshed(form)
        if form.get("grant_type") != _JWT_BEARER:
            words = f"Invalid grant_type: {form.get('grant_type', '')}"
            raise oauth_error("unsupported_grant_type", words)
        claims = self.signed(str(form.get("assertion", "")))
        # Clients name the real one whatever their key file says.
        if claims.get("aud") not in {self.token_uri, TOKEN_URI}:
            raise oauth_error("invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = str(claims.get("scope", "")).split()
        if not scopes:
            raise oauth_error("invalid_scope", "Empty or missing scope not allowed.")
        return self._answered(str(claims["iss"]), scopes)

    def _refreshed(self, form: Mapping[str, Any]) -> Any:
        person = self.people.get(str(form.get("refresh_token")))
        if person is None:
            raise oauth_error("invalid_grant", "Token has been expired or revoked.")
        if (person.client_id, person.client_secret) != (
            form.get("client_id"),
            form.get("client_secret"),
        ):
            raise oauth_error("invalid_client", "Unauthorized", 401)
        if form.get("scope"):
            raise oauth_error("invalid_scope", "Bad Request")
        header = {"alg": "RS256", "kid": "google-1"}
        claims = {"aud": person.client_id, "email": person.email}
        token = jwt.encode(header, claims, self._own, algorithms=["RS256"])
        return {**self._answered(person.email, [SCOPE]), "id_token": token}

    def _exchange(self, form: Mapping[str, Any]) -> Any:
        if form.get("grant_type") != _EXCHANGE:
            raise oauth_error("unsupported_grant_type", "Unsupported grant type.")
        audience = str(form.get("audience", ""))
        named = _PROVIDER.fullmatch(audience)
        if not named:
            words = (
                'Invalid value for "audience". This value should be the full resource name of the'
                " Identity Provider."
            )
            raise oauth_error("invalid_request", words)
        provider = self.providers.get(audience)
        if provider is None:
            words = (
                'The target service indicated by the "audience" parameters is invalid. This might'
                " either be because the pool or provider is disabled or deleted or because it"
                " doesn't exist."
            )
            raise oauth_error("invalid_target", words)
        if form.get("requested_token_type") != _ACCESS_TOKEN:
            raise oauth_error("invalid_request", 'Invalid value for "requested_token_type".')
        if form.get("subject_token_type") not in {_AWS, *_SUBJECT_TYPES}:
            raise oauth_error("invalid_request", 'Invalid value for "subject_token_type".')
        given = str(form.get("subject_token", ""))
        if form["subject_token_type"] == _AWS:
            subject = aws.signer(given, audience, self.aws)
            if not subject:
                raise oauth_error("invalid_grant", "Error connecting to the given credential")
        else:
            subject = _subject(given, audience, provider)
        scopes = str(form.get("scope", "")).split()
        if not scopes:
            raise oauth_error("invalid_request", 'Invalid value for "scope".')
        principal = f"principal://iam.googleapis.com/{named[1]}/subject/{subject}"
        return {**self._answered(principal, scopes), "issued_token_type": _ACCESS_TOKEN}

    def _answered(self, principal: str, scopes: Collection[str]) -> dict[str, Any]:
        token = self.give(principal, scopes, self.lifetime)
        return {"access_token": token, "expires_in": self.lifetime - 1, "token_type": "Bearer"}

    def _impersonate(self, request: web.Request, body: Mapping[str, Any]) -> Any:
        found = re.fullmatch(
            r"/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken", request.path
        )
        target = found[1] if found else ""
        caller = self.principal(request, "iamcredentials")
        if caller not in self.impersonators.get(target, ()) or target in self.disabled:
            words = (
                "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not"
                " exist)."
            )
            raise api_error(403, "PERMISSION_DENIED", words)
        lifetime = re.fullmatch(r"(\d+)s", str(body.get("lifetime", "3600s")))
        if not body.get("scope") or not lifetime or not 0 < int(lifetime[1]) <= _HOUR:
            raise api_error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
        seconds = min(int(lifetime[1]), self.lifetime)
        end = time.gmtime(time.time() + seconds)
        token = self.give(target, body["scope"], seconds)
        return {"accessToken": token, "expireTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", end)}


def _subject(token: str, audience: str, provider: Provider) -> str:
    """Check the token of a foreign issuer; give its subject."""
    try:
        header, claims = _unverified(token)
    except (ValueError, JoseError):
        raise oauth_error("invalid_grant", "Unable to parse the ID Token.") from None
    if claims.get("iss") != provider.issuer:
        words = f"The issuer in ID Token {claims.get('iss')} does not match the expected ones."
        raise oauth_error("invalid_grant", words)
    expected = provider.audiences or {audience, f"https:{audience}"}
    given = claims.get("aud")
    if expected.isdisjoint(given if isinstance(given, list) else [given]):
        words = f"The audience in ID Token [{given}] does not match the expected audience."
        raise oauth_error("invalid_grant", words)
    key = provider.keys.get(str(header.get("kid")))
    if key is None or not _verified(token, key, str(header.get("alg"))):
        raise oauth_error("invalid_grant", "The signature of the ID Token is not valid.")
    if not claims.get("iat", 0) - _SKEW <= time.time() < claims.get("exp", 0):
        words = f"ID Token issued at {claims.get('iat')} is stale to sign-in."
        raise oauth_error("invalid_grant", words)
    return str(claims["sub"])


def _in_time(claims: Mapping[str, Any]) -> bool:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or not isinstance(expires, int):
        return False
    now = time.time()
    return issued - _SKEW <= now < expires + _SKEW and 0 < expires - issued <= _HOUR


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = token.split(".")
    read = [json.loads(urlsafe_b64decode(part.encode())) for part in (header, claims)]
    if not all(isinstance(part, dict) for part in read):
        raise ValueError("no JWT")
    return read[0], read[1]


def _verified(token: str, key: Key, algorithm: str) -> bool:
    try:
        jwt.decode(token, key, algorithms=[algorithm])
    except (JoseError, ValueError):
        return False
    return algorithm != "none"
