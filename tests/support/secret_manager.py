"""Access to a version of a secret in Google's Secret Manager, as `Google` plays it."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import google_crc32c
from aiohttp import web
from tests.support.google_words import api_error

if TYPE_CHECKING:
    from tests.support.google import Google

_VERSION = re.compile(r"/v1/(projects/[^/]+/secrets/[\w-]+)/versions/(\d+|latest):access")


def access(google: Google, request: web.Request) -> Any:
    """Give a version's data, with its CRC32C; `corrupts` alters the data on its way."""
    caller = google.principal(request, "secretmanager")
    found = _VERSION.fullmatch(request.path)
    if not found:
        raise api_error(400, "INVALID_ARGUMENT", "The provided Secret Version ID is not valid.")
    name, asked = found[1], found[2]
    secret = google.secrets.get(name)
    if secret is None or caller not in secret.accessors:
        words = (
            "Permission 'secretmanager.versions.access' denied for resource"
            f" '{name}/versions/{asked}' (or it may not exist)."
        )
        raise api_error(403, "PERMISSION_DENIED", words)
    number = len(secret.versions) if asked == "latest" else int(asked)
    full = f"{name}/versions/{number}"
    if not 0 < number <= len(secret.versions):
        words = f"Secret [{name}] not found or has no versions."
        if asked != "latest":
            words = f"Secret Version [{full}] not found."
        raise api_error(404, "NOT_FOUND", words)
    state = secret.states.get(number, "ENABLED")
    if state != "ENABLED":
        words = f"Secret Version [{full}] is in {state} state."
        raise api_error(400, "FAILED_PRECONDITION", words)
    data = secret.versions[number - 1]
    checksum = int(google_crc32c.value(data))
    if google.corrupts:
        data = bytes([data[0] ^ 1]) + data[1:]
    payload = {"data": base64.b64encode(data).decode(), "dataCrc32c": str(checksum)}
    return {"name": full, "payload": payload}
