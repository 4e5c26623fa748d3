"""What an issuer's claims say of an agent: mapping and conditions in CEL.

The words are those of Google's workload identity federation (`google.subject`, `google.groups`,
`attribute.NAME`, and `assertion` for the token's claims); what it has no word for is `keystile.…`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from keystile.identity.tokens import SignedClaims
from keystile.model.errors import TokenFault, TokenRefusedError, UnsafeConfigurationError
from keystile.model.principal import Principal
from keystile.policy.expressions import BOOL, TEXT, TEXTS, compiled, evaluated

_SUBJECT, _GROUPS = "google.subject", "google.groups"
_AGENT, _SESSION = "keystile.agent", "keystile.session"
_SERVICE_ACCOUNT, _ON_BEHALF_OF = "keystile.service_account", "keystile.on_behalf_of"
_WORDS = (_SUBJECT, _GROUPS, _AGENT, _SESSION, _SERVICE_ACCOUNT, _ON_BEHALF_OF)
_ATTRIBUTE = re.compile(r"attribute\.([A-Za-z_][A-Za-z0-9_]{0,62})")
_MAX_EXPRESSION = 4096
_MAX_ATTRIBUTES = 50
_MAX_TEXT = 512
_MAX_GROUPS = 256
_MISSING = re.compile(r'Key not found in map : "([^"]{1,100})"')

_CLAIMS: dict[str, Any] = {"assertion": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}
_MAPPED: dict[str, Any] = {
    _SUBJECT: cel.Type.STRING,
    _GROUPS: cel.Type.List(cel.Type.STRING),
    "attribute": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}


class Condition(msgspec.Struct, frozen=True):
    """What must hold of a token: the setting that says so, its CEL, and the refusal's words."""

    setting: str
    text: str
    refusal: str
    hint: str = ""


class ClaimMapping:
    """Turns the verified claims of one issuer into a principal.

    INVARIANT: what cannot be evaluated, or is not a plain text, refuses the token: a group that is
    not understood could be one that a rule denies.
    """

    def __init__(
        self,
        setting: str,
        mapping: Mapping[str, str],
        conditions: Sequence[Condition] = (),
        *,
        required: Mapping[str, str] | None = None,
    ) -> None:
        """Compile the `mapping` that stands under `setting`, and the conditions.

        `required` are claims without which a token is refused, each with what has it.

        Raises `UnsafeConfigurationError` naming the setting that is not understood.
        """
        strings = [ext_strings.ExtStrings()]
        self._env = cel.NewEnv(variables=_CLAIMS | _MAPPED, extensions=strings)
        claims = cel.NewEnv(variables=_CLAIMS, extensions=strings)
        self._words = {
            word: _compiled(claims, f"{setting}.{word}", text, _kind(setting, word))
            for word, text in mapping.items()
        }
        if _SUBJECT not in mapping:
            message = f"`{setting}` does not say what `{_SUBJECT}` is"
            raise UnsafeConfigurationError(message, hint="write `google.subject: assertion.sub`")
        if len(mapping) > len(_WORDS) + _MAX_ATTRIBUTES:
            message = f"`{setting}` has more than {_MAX_ATTRIBUTES} attributes"
            raise UnsafeConfigurationError(message)
        self._conditions = [
            (condition, _compiled(self._env, condition.setting, condition.text, BOOL))
            for condition in conditions
        ]
        self._required = required or {}

    def principal(self, claims: SignedClaims, now: float) -> Principal:
        """Give who the claims name. `now` is in seconds since the epoch.

        Raises `TokenRefusedError` naming what is missing, not a plain text, or not fulfilled.
        """
        if "\\u0000" in json.dumps(claims):
            # INVARIANT: the CEL runtime ends a text at NUL, so `admin\\0…` would be `admin`.
            raise TokenRefusedError("a claim of the token holds a NUL", fault=TokenFault.CLAIMS)
        for claim, what in self._required.items():
            if claim not in claims:
                message = f"the token has no claim `{claim}`, as {what} has"
                raise TokenRefusedError(message, fault=TokenFault.CLAIMS)
        known = {"assertion": dict(claims)}
        values = {word: _value(word, expr, known) for word, expr in self._words.items()}
        subject = _text(values, _SUBJECT, required=True)
        groups = _groups(values)
        attributes = {
            found[1]: value
            for word in values
            if (found := _ATTRIBUTE.fullmatch(word)) and (value := _text(values, word))
        }
        self._require(
            {
                "assertion": dict(claims),
                _SUBJECT: subject,
                _GROUPS: list(groups),
                "attribute": attributes,
            }
        )
        issuer = str(claims["iss"])
        return Principal(
            issuer=issuer,
            subject=subject,
            agent=_text(values, _AGENT, required=True) if _AGENT in values else subject,
            session=session_id(issuer, subject, _text(values, _SESSION) or day(now)),
            service_account=_text(values, _SERVICE_ACCOUNT),
            groups=groups,
            attributes=attributes,
            on_behalf_of=_text(values, _ON_BEHALF_OF),
        )

    def _require(self, known: Mapping[str, Any]) -> None:
        for condition, expression in self._conditions:
            try:
                # INVARIANT: only `true` itself; a condition that fails does not hold.
                holds = evaluated(expression, known) is True
            except ValueError:
                holds = False
            if not holds:
                raise TokenRefusedError(
                    condition.refusal, hint=condition.hint, fault=TokenFault.CONDITION
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


def _kind(setting: str, word: str) -> str:
    if word == _GROUPS:
        return TEXTS
    if word not in _WORDS and not _ATTRIBUTE.fullmatch(word):
        raise UnsafeConfigurationError(
            f"`{setting}` has the unknown word `{word}`",
            hint=f"use {', '.join(f'`{known}`' for known in _WORDS)} or `attribute.NAME`",
        )
    return TEXT


def _compiled(env: Any, setting: str, text: str, wanted: str) -> Any:
    if len(text) > _MAX_EXPRESSION:
        message = f"`{setting}` is longer than {_MAX_EXPRESSION} characters"
        raise UnsafeConfigurationError(message)
    try:
        return compiled(env, text, wanted, dynamic=True)
    except ValueError as error:
        raise UnsafeConfigurationError(
            f"`{setting}` {error}",
            hint="write CEL over `assertion`, such as `assertion.sub`; "
            "see docs/reference/issuers.md",
        ) from error


def _value(word: str, expression: Any, known: Any) -> Any:
    try:
        return evaluated(expression, known)
    except ValueError as error:
        missing = _MISSING.search(str(error))
        claim = missing[1] if missing and missing[1].isprintable() else ""
        raise TokenRefusedError(
            f"the token has no claim `{claim}`, which `{word}` asks for"
            if claim
            else f"the token's claims do not tell `{word}`",
            hint="compare the token with `attribute_mapping` of its issuer",
            fault=TokenFault.CLAIMS,
        ) from error


def _text(values: Mapping[str, Any], word: str, *, required: bool = False) -> str:
    return _checked(values.get(word, ""), word, required=required)


def _checked(value: object, word: str, *, required: bool) -> str:
    good = isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()
    if not isinstance(value, str) or not good or (required and not value):
        raise TokenRefusedError(
            f"by the token's claims, `{word}` is "
            + ("empty" if value == "" else "not a plain text"),
            hint="compare the token with `attribute_mapping` of its issuer",
            fault=TokenFault.CLAIMS,
        )
    return value


def _groups(values: Mapping[str, Any]) -> tuple[str, ...]:
    names = values.get(_GROUPS, [])
    if not isinstance(names, list) or len(names) > _MAX_GROUPS:
        raise TokenRefusedError(
            f"by the token's claims, `{_GROUPS}` is not a list of at most {_MAX_GROUPS} texts",
            hint="compare the token with `attribute_mapping` of its issuer",
            fault=TokenFault.CLAIMS,
        )
    return tuple(dict.fromkeys(_checked(name, _GROUPS, required=True) for name in names))
