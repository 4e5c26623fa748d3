"""What an issuer's claims say of an agent."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

from keystile.config.settings import ClaimMap
from keystile.identity.keys import REFUSED
from keystile.identity.tokens import SignedClaims
from keystile.model.errors import TokenRefusedError
from keystile.model.principal import Principal

_MAX_TEXT = 512
_MAX_GROUPS = 256


def principal_of(claims: SignedClaims, paths: ClaimMap, now: float) -> Principal:
    """Map verified claims to a principal. `now` is in seconds since the epoch.

    Raises `TokenRefusedError` naming the claim that is missing or not a plain text: a group that is
    not understood could be one that a rule denies.
    """
    issuer, subject = str(claims["iss"]), _text(claims, "sub", required=True)
    attributes = {
        name: value
        for name, path in paths.attributes.items()
        if (value := _text(claims, path)) or _find(claims, path) is not None
    }
    return Principal(
        issuer=issuer,
        subject=subject,
        agent=_text(claims, paths.agent, required=True),
        session=session_id(issuer, subject, _text(claims, paths.session) or day(now)),
        service_account=_text(claims, paths.service_account),
        groups=_groups(claims, paths.groups),
        attributes=attributes,
        on_behalf_of=_text(claims, paths.on_behalf_of),
    )


def session_id(issuer: str, subject: str, word: str) -> str:
    """Give the id of the session that an issuer calls `word`.

    INVARIANT: it depends on issuer and subject, so no agent can put its doings into the session of
    another by naming it.
    """
    parts = f"{issuer}\0{subject}\0{word}"
    return f"s{hashlib.sha256(parts.encode()).hexdigest()[:24]}"


def day(now: float) -> str:
    """Give the UTC day, which groups what an agent does when its issuer names no session."""
    return dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%d")


def _find(claims: Mapping[str, Any], path: str) -> Any:
    if not path:
        return None
    # Many issuers name claims by URLs, whose dots lead nowhere.
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _text(claims: Mapping[str, Any], path: str, *, required: bool = False) -> str:
    value = _find(claims, path)
    if value is None and not required:
        return ""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
        value = str(value)
    return _checked(value, path, required=required)


def _checked(value: object, path: str, *, required: bool) -> str:
    good = isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()
    if not isinstance(value, str) or not good or (required and not value):
        raise TokenRefusedError(
            f"the token's claim `{path}` is missing or not a plain text", oauth_error=REFUSED
        )
    return value


def _groups(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    value = _find(claims, path)
    names = [value] if isinstance(value, str) else value
    if names is None:
        return ()
    if not isinstance(names, list) or len(names) > _MAX_GROUPS:
        message = f"the token's claim `{path}` is not a list of at most {_MAX_GROUPS} groups"
        raise TokenRefusedError(message, oauth_error=REFUSED)
    return tuple(dict.fromkeys(_checked(name, path, required=True) for name in names))
