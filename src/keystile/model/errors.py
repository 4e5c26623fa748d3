"""The one tree of errors. Each knows how BigQuery would say it and what the reader can do next.

Messages are one sentence, name the user's own input in backticks and never hold a secret or a
protected value. `hint` says what to do next.
"""

from __future__ import annotations

from copy import copy
from enum import StrEnum
from typing import ClassVar, Self

from keystile.model.decision import Decision


class KeystileError(Exception):
    """Root of every error that Keystile raises on purpose.

    `http_status`, `reason` and `status` are the three words of BigQuery's error shape. `place` is
    the line and column of the query's text that the error is about, counted from 1; zeros where
    there is none, or where the message says it in BigQuery's own words. `because` is the decision
    that it comes from, where there was no query yet to decide on.
    """

    http_status: ClassVar[int] = 500
    reason: ClassVar[str] = "internalError"
    status: ClassVar[str] = "INTERNAL"
    because: Decision | None = None

    def __init__(self, message: str, *, hint: str = "", place: tuple[int, int] = (0, 0)) -> None:
        """Keep sentence, hint and place apart; `str()` joins them for a reader."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place

    def __str__(self) -> str:
        """Give the text that a client shows: the sentence, where, then what to do next."""
        line, column = self.place
        placed = f"{self.message.rstrip('.')} at [{line}:{column}]" if line else self.message
        return f"{placed}; {self.hint}" if self.hint else placed

    def at(self, place: tuple[int, int]) -> Self:
        """Give the same error about another place of the text."""
        error = copy(self)
        error.place = place
        return error

    def by(self, decision: Decision | None) -> Self:
        """Give the same error with the decision that is the reason for it."""
        error = copy(self)
        error.because = decision
        return error


class InvalidRequestError(KeystileError):
    """The request itself is malformed or has a field that is not understood (400 `invalid`)."""

    http_status = 400
    reason = "invalid"
    status = "INVALID_ARGUMENT"


class RequestTooLargeError(InvalidRequestError):
    """The request is larger than any that is served (413 `requestTooLarge`)."""

    http_status = 413
    reason = "requestTooLarge"


class MethodNotAllowedError(KeystileError):
    """The path is one of the API's, the HTTP verb is not (405 `httpMethodNotAllowed`)."""

    http_status = 405
    reason = "httpMethodNotAllowed"
    status = "UNIMPLEMENTED"


class InvalidQueryError(KeystileError):
    """The SQL does not parse or resolve (400 `invalidQuery`), in GoogleSQL's own words."""

    http_status = 400
    reason = "invalidQuery"
    status = "INVALID_ARGUMENT"


class TokenFault(StrEnum):
    """What was wrong with a token, as the metric counts it."""

    REQUEST = "request"
    MALFORMED = "malformed"
    ISSUER = "issuer"
    ALGORITHM = "algorithm"
    HEADER = "header"
    KEY = "key"
    KEYS_UNAVAILABLE = "keys_unavailable"
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    TIME = "time"
    CLAIMS = "claims"
    CONDITION = "condition"
    DELEGATION = "delegation"
    REPLAY = "replay"
    PROOF = "proof"
    RATE = "rate"
    AGENT = "agent"


class UnauthenticatedError(KeystileError):
    """No valid token came with the request (401 `authError`).

    `fault` is what was wrong with one that is bound to a key, or an agent's own.
    """

    http_status = 401
    reason = "authError"
    status = "UNAUTHENTICATED"

    def __init__(self, message: str, *, hint: str = "", fault: TokenFault | None = None) -> None:
        """Keep the fault beside the sentence."""
        super().__init__(message, hint=hint)
        self.fault = fault


class RefusedError(KeystileError):
    """Policy, a missing fact, an outage or anything not understood refused it (403 `accessDenied`).

    INVARIANT: time-outs, outages and unknowns raise this, never 503: clients retry a 503 silently
    for a quarter of an hour.
    """

    http_status = 403
    reason = "accessDenied"
    status = "PERMISSION_DENIED"


class ShutOutError(RefusedError):
    """Rules about every table leave the agent nothing, so it is told whatever it names."""


class OpaqueQueryError(RefusedError):
    """The analysis met something that it does not understand, so the query is refused."""


class UnmaskableError(RefusedError):
    """What policy hides from the agent cannot be hidden in this query, so the query is refused."""


class EngineFailedError(RefusedError):
    """The SQL engine gave no answer: too much time or memory, or its process ended."""


class RecordingUnavailableError(RefusedError):
    """The record could not be made durable, so nothing is released."""


class StoreUnavailableError(RefusedError):
    """The control store cannot be reached or is locked; what it holds is still there."""


class PolicyUnreadableError(RefusedError):
    """The published policy cannot be read by this gateway, so it decides on nothing."""


class NotFoundError(KeystileError):
    """No such thing, or not this principal's: the two are never told apart (404 `notFound`).

    `because` is the decision by which policy hides it, for records and for people. INVARIANT: no
    agent is told of it.
    """

    http_status = 404
    reason = "notFound"
    status = "NOT_FOUND"


def because(error: BaseException | None) -> Decision | None:
    """Give the decision that an error, or one that led to it, comes from."""
    while error is not None:
        if isinstance(error, KeystileError) and error.because is not None:
            return error.because
        error = error.__cause__
    return None


class DuplicateError(KeystileError):
    """A job with this id exists already for this principal (409 `duplicate`)."""

    http_status = 409
    reason = "duplicate"
    status = "ALREADY_EXISTS"


class InUseError(KeystileError):
    """A dataset that is to be dropped is not empty (400 `resourceInUse`)."""

    http_status = 400
    reason = "resourceInUse"
    status = "FAILED_PRECONDITION"


class PreconditionError(KeystileError):
    """The thing is not what `If-Match` says it is: someone changed it since (412)."""

    http_status = 412
    reason = "conditionNotMet"
    status = "FAILED_PRECONDITION"


class StoppedError(KeystileError):
    """The job was cancelled before it finished (499 in BigQuery's table, `stopped`)."""

    http_status = 400
    reason = "stopped"
    status = "CANCELLED"


class OverloadedError(KeystileError):
    """Too much work is queued (503 `backendError`); the one error that clients should retry."""

    http_status = 503
    reason = "backendError"
    status = "UNAVAILABLE"


class TooManyError(KeystileError):
    """The agent does as much at once as one agent may (403 `quotaExceeded`)."""

    http_status = 403
    reason = "quotaExceeded"
    status = "RESOURCE_EXHAUSTED"


class LimitError(TooManyError):
    """A rule's limit is used up, or too small for the query (403 `quotaExceeded`).

    Clients do not send the query again by themselves.
    """


class RateLimitError(LimitError):
    """A limit that is soon free again is used up (403 `rateLimitExceeded`).

    Google's clients send the request again by themselves, each time after a longer pause.
    `retry_after` is in seconds.
    """

    reason = "rateLimitExceeded"

    def __init__(self, message: str, *, hint: str = "", retry_after: int = 1) -> None:
        """Keep the seconds beside the sentence."""
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class BytesBilledError(KeystileError):
    """The query would be billed for more bytes than it may (400 `bytesBilledLimitExceeded`)."""

    http_status = 400
    reason = "bytesBilledLimitExceeded"
    status = "INVALID_ARGUMENT"


class UnsafeConfigurationError(KeystileError):
    """The configuration is invalid or unsafe, so the process does not start."""


class TokenRefusedError(KeystileError):
    """A request was not accepted at the token endpoint (RFC 8693 section 2.2.2).

    `oauth_error` is the RFC 6749 section 5.2 code; `invalid_request` is what RFC 8693 demands for a
    subject token that is not accepted.
    """

    http_status = 400

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        fault: TokenFault = TokenFault.REQUEST,
        oauth_error: str = "invalid_request",
    ) -> None:
        """Keep the fault and the OAuth error code beside the sentence."""
        super().__init__(message, hint=hint)
        self.fault = fault
        self.oauth_error = oauth_error
