"""The metadata server of Google's machines, as `Google` plays it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.support.google_words import SCOPE

if TYPE_CHECKING:
    from tests.support.google import Google

_ROOT = "/computeMetadata/v1/"
_NUMBER = "123456789012"
_FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}


def answer(google: Google, key: RSAKey, request: web.Request) -> web.Response:
    """Answer a request; `key` signs ID tokens."""
    if request.path == "/":
        return _text("computeMetadata/\n")
    if not request.path.startswith(_ROOT):
        return _text("Not Found", 404)
    # What a browser or a proxy was tricked into asking has the one not, or the other.
    if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers:
        return _text("Missing Metadata-Flavor:Google header.", 403)
    path = request.path.removeprefix(_ROOT)
    accounts = "instance/service-accounts/"
    if path.startswith(accounts) and google.attached:
        return _of_accounts(google, key, request, path.removeprefix(accounts))
    fixed = {
        "project/project-id": google.project,
        "project/numeric-project-id": _NUMBER,
        "universe/universe-domain": "googleapis.com",
    }
    return _text(fixed[path]) if path in fixed else _text("Not Found", 404)


def _of_accounts(google: Google, key: RSAKey, request: web.Request, path: str) -> web.Response:
    who, _, what = path.partition("/")
    if not who:
        return _text(f"default/\n{google.attached}/\n")
    if who not in {"default", google.attached}:
        return _text("Not Found", 404)
    return _of_account(google, key, request, what)


def _of_account(google: Google, key: RSAKey, request: web.Request, what: str) -> web.Response:
    if not what and request.query.get("recursive") == "true":
        told = {"aliases": ["default"], "email": google.attached, "scopes": [SCOPE]}
        return web.json_response(told, headers=_FLAVOR)
    if what == "email":
        return _text(google.attached)
    if what == "token":
        asked = request.query.get("scopes", "")
        scopes = asked.split(",") if asked else [SCOPE]
        token = google.give(google.attached, scopes, google.lifetime)
        given = {"access_token": token, "expires_in": google.lifetime - 1, "token_type": "Bearer"}
        return web.json_response(given, headers=_FLAVOR)
    if what == "identity":
        audience = request.query.get("audience")
        if not audience:
            return _text("non-empty audience parameter required", 400)
        return _text(_id_token(google, key, audience))
    return _text("Not Found", 404)


def _id_token(google: Google, key: RSAKey, audience: str) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "https://accounts.google.com",
        "aud": audience,
        "azp": "100000000000000000001",
        "sub": "100000000000000000001",
        "email": google.attached,
        "email_verified": True,
        "iat": now,
        "exp": now + google.lifetime,
    }
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key, algorithms=["RS256"])


def _text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, headers={**_FLAVOR, "Content-Type": "text/plain"})
