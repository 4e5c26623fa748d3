"""How Google's servers say no."""

from __future__ import annotations

from typing import Any

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class RefusedError(Exception):
    """What a server says no with."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


def oauth_error(error: str, description: str, status: int = 400) -> RefusedError:
    """Say no as the token endpoints do (RFC 6749 section 5.2)."""
    return RefusedError(status, {"error": error, "error_description": description})


def api_error(code: int, status: str, message: str) -> RefusedError:
    """Say no as Google's APIs do."""
    return RefusedError(code, {"error": {"code": code, "message": message, "status": status}})
