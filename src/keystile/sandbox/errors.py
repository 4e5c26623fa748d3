"""The sandbox's own errors. No sandbox path raises anything that is not a `KeystileError`."""

from __future__ import annotations

from keystile.model.errors import InvalidQueryError, KeystileError


class UnsupportedError(InvalidQueryError):
    """BigQuery can do this and the sandbox cannot. No script can handle it as an exception."""


def unsupported(what: str) -> UnsupportedError:
    """Say honestly that BigQuery can do this and the sandbox cannot."""
    return UnsupportedError(f"not supported by the sandbox: {what}")


class BadDataError(KeystileError):
    """The data folder is missing or a file in it is wrong, so the sandbox does not start."""


class AccessDeniedError(KeystileError):
    """The account may not do this to what it names, which may not even be there."""

    http_status = 403
    reason = "accessDenied"
    status = "PERMISSION_DENIED"
