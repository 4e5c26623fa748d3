"""BigQuery's error answers in Keystile's own tree."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec

from keystile.model.errors import (
    BytesBilledError,
    DuplicateError,
    InUseError,
    InvalidQueryError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    RefusedError,
    StoppedError,
)

_BY_REASON: dict[str, type[KeystileError]] = {
    "bytesBilledLimitExceeded": BytesBilledError,
    "invalidQuery": InvalidQueryError,
    "invalid": InvalidRequestError,
    "notFound": NotFoundError,
    "duplicate": DuplicateError,
    "resourceInUse": InUseError,
    "stopped": StoppedError,
}
_BY_STATUS: dict[int, type[KeystileError]] = {
    400: InvalidRequestError,
    404: NotFoundError,
    409: DuplicateError,
}
# Three base64url parts of which the first starts with `{"`: a JWT, such as the one we send.
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_MAX_MESSAGE = 4096
_WITHHELD = "BigQuery's message is withheld because it quotes a secret of the gateway"


class KeyRejectedError(RefusedError):
    """Google gives no token for a key, because it does not take the key itself."""


class _Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _Body(msgspec.Struct):
    code: int = 0
    message: str = ""
    errors: list[_Cause] = []


class _Envelope(msgspec.Struct):
    error: _Body


def from_response(status: int, body: bytes | bytearray, secrets: Collection[str]) -> KeystileError:
    """Translate an HTTP error answer. An outage or a lack of rights becomes `RefusedError`."""
    try:
        error = msgspec.json.decode(body, type=_Envelope).error
    except msgspec.MsgspecError:
        error = _Body()
    reason = error.errors[0].reason if error.errors else ""
    if status == 401:  # noqa: PLR2004  the HTTP status is clearer than a name for it
        return RefusedError(
            "BigQuery refused the gateway's own credential", hint="ask the operator of the gateway"
        )
    known = _BY_REASON.get(reason) or _BY_STATUS.get(status)
    if known and error.message:
        return known(scrub(error.message, secrets))
    # INVARIANT: never our 503 for BigQuery's: clients would retry it silently.
    text = scrub(error.message, secrets) or "it gave no reason"
    return RefusedError(f"BigQuery answered with status {status}: {text}")


def from_job(result: dict[str, Any], secrets: Collection[str]) -> KeystileError:
    """Translate a finished job's `status.errorResult`."""
    message = scrub(str(result.get("message") or "the job failed"), secrets)
    return _BY_REASON.get(str(result.get("reason")), RefusedError)(message)


def scrub(message: str, secrets: Collection[str]) -> str:
    """Give BigQuery's message, or a fixed text instead if it quotes a secret or holds a JWT."""
    if _JWT.search(message) or any(secret in message for secret in secrets):
        return _WITHHELD
    return message[:_MAX_MESSAGE]
