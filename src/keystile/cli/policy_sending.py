"""Sends a policy to a gateway, with the token of whoever may publish there."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from keystile.config.urls import require_safe_url
from keystile.gate.publishing import Published
from keystile.http.bodies import short_body
from keystile.identity.token_source import TokenSource
from keystile.model.errors import RefusedError
from keystile.wire.publishing import PATH, PublishRequest

_SECONDS = 60.0
_MOST_BYTES = 16 << 20


async def send(
    gateway: str, source: TokenSource, audience: str, request: PublishRequest
) -> Published:
    """Have a gateway publish a policy, or say what it would change.

    Raises `RefusedError` with the gateway's own words, `InvalidRequestError` where there is no
    token, and `UnsafeConfigurationError` for an address without encryption.
    """
    require_safe_url(gateway, "the gateway's address")
    token = await source.read(audience)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url, timeout = gateway.rstrip("/") + PATH, aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                url, data=msgspec.json.encode(request), headers=headers, allow_redirects=False
            ) as answer,
        ):
            text = await short_body(answer, _MOST_BYTES)
            if answer.status == 200:  # noqa: PLR2004 - HTTP
                return msgspec.json.decode(text, type=Published)
            raise RefusedError(f"the gateway answers {answer.status}: {_words(text)}")
    except msgspec.MsgspecError as error:
        raise RefusedError(f"what `{gateway}` answers is not understood") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise RefusedError(f"`{gateway}` cannot be reached") from error


def _words(text: bytes) -> str:
    """Give the sentence of an answer in BigQuery's shape of errors."""
    found = msgspec.json.decode(text, type=dict[str, Any])
    error = found.get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""
