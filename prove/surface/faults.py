"""What is wrong with an answer, whatever was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_JSON = "application/json; charset=UTF-8"
_OVERLOAD = 503
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_NO_CONTENT = 204
_LEFT = 499
_UNAUTHENTICATED = 401
_INSIDE = re.compile(r"Traceback|\.py\b|, line \d+, in |0x[0-9a-f]{6,}|internal fault|msgspec\.")
_TEXTS = {"/metrics": "text/plain; version=0.0.4; charset=utf-8"}
_FREE = re.compile(r"/(healthz|readyz|metrics|issuer/.*|discovery/.*|v1/token)")


def fault_of(path: str, status: int, headers: Mapping[str, str], text: str) -> str:
    """Say what is wrong with an answer; nothing if nothing is.

    Google's clients read errors in one shape only, and retry a 5xx in silence: so there is none but
    for overload.
    """
    if status >= _CLIENT_ERROR and (found := _INSIDE.search(text)):
        return f"the answer tells of the inside: `{found[0]}`"
    if not text and (status in {_NO_CONTENT, _LEFT} or "/upload/" in path):
        return ""
    kind = headers.get("content-type", "")
    if kind != _TEXTS.get(path, _JSON):
        return f"the content type is `{kind}`"
    return "" if path in _TEXTS else _of_json(path, status, text)


def lets_in(path: str, status: int) -> bool:
    """Tell whether an answer to nobody gives what only an agent may have."""
    return not _FREE.fullmatch(path) and status != _UNAUTHENTICATED


def _of_json(path: str, status: int, text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return "the answer is no JSON"
    if status < _CLIENT_ERROR:
        return ""
    return _of_token(status, body) if path == "/v1/token" else _of_error(status, body)


def _of_error(status: int, body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "the error is not in Google's shape"
    listed = error.get("errors")
    first = listed[0] if isinstance(listed, list) and listed else {}
    words = (error.get("message"), error.get("status"), first.get("message"), first.get("reason"))
    if error.get("code") != status or not all(isinstance(one, str) and one for one in words):
        return "the error is not in Google's shape"
    if status >= _SERVER_ERROR and (status, first["reason"]) != (_OVERLOAD, "backendError"):
        return f"the status is {status}"
    return ""


def _of_token(status: int, body: Any) -> str:
    """Look at a refusal in OAuth's words (RFC 6749 section 5.2)."""
    words = body.keys() if isinstance(body, dict) else set()
    if status not in {_CLIENT_ERROR, _UNAUTHENTICATED} or words != {"error", "error_description"}:
        return "the refusal is not in OAuth's shape"
    return ""
