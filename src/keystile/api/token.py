"""The token endpoints, in OAuth's words.

Token Exchange (RFC 8693) as Google's credentials speak it, and Token Revocation (RFC 7009).
"""

from __future__ import annotations

import msgspec

from keystile.api.http import Answer, Headers, Request
from keystile.api.ports import TokenExchange
from keystile.identity.dpop import ALGORITHMS as PROOF_ALGORITHMS
from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    TokenFault,
    TokenRefusedError,
    UnauthenticatedError,
)
from keystile.telemetry.metrics import Exchange, Metrics

PATH = b"/v1/token"
REVOCATION = b"/v1/revoke"


async def exchange(
    request: Request, url: str, exchanger: TokenExchange, metrics: Metrics
) -> Answer:
    """Exchange an agent's own token for a gateway token (RFC 8693 section 2.2.1).

    Raises `KeystileError`; `refusal` turns it into OAuth's words.
    """
    issued = await exchanger.exchange(*await _form(request), request.sender(url))
    metrics.token_exchanges.labels(Exchange.ISSUED).inc()
    body = {
        "access_token": issued.access_token,
        "issued_token_type": issued.issued_token_type,
        "token_type": issued.token_type,
        "expires_in": issued.expires_in,
    }
    return Answer(200, msgspec.json.encode(body))


async def revoke(request: Request, url: str, exchanger: TokenExchange) -> Answer:
    """End a gateway token: an empty answer, whether there was one or not (RFC 7009 section 2.2).

    Raises `KeystileError`; `refusal` turns it into OAuth's words.
    """
    await exchanger.revoke(*await _form(request), request.sender(url))
    return Answer(200, b"", b"text/plain; charset=UTF-8")


async def _form(request: Request) -> tuple[bytes, str]:
    if request.method != "POST":
        raise InvalidRequestError("the token endpoints take only POST requests")
    kind = (request.header(b"content-type") or b"").decode("latin-1")
    return await request.body(), kind


def count(error: UnauthenticatedError, metrics: Metrics) -> None:
    """Count what was wrong with a token that was to be used."""
    if error.fault is not None:
        metrics.token_refusals.labels(error.fault).inc()


def challenge(error: UnauthenticatedError) -> Headers:
    """Say what a request lacks (RFC 6750 section 3, RFC 9449 section 7.1)."""
    bearer = (b"www-authenticate", b'Bearer realm="keystile"')
    if error.fault not in {TokenFault.PROOF, TokenFault.REPLAY}:
        return (bearer,)
    dpop = f'DPoP realm="keystile", error="invalid_token", algs="{" ".join(PROOF_ALGORITHMS)}"'
    return (bearer, (b"www-authenticate", dpop.encode()))


def refusal(error: KeystileError, metrics: Metrics, *, exchanging: bool = True) -> Answer:
    """Say an error in OAuth's words (RFC 6749 section 5.2): always 400, or 401 for the client's.

    A 503 is never answered here either: clients would retry it in silence. `exchanging` tells that
    a token was asked for.
    """
    if isinstance(error, TokenRefusedError):
        code, outcome, fault = error.oauth_error, Exchange.REFUSED, error.fault
    elif isinstance(error, InvalidRequestError):
        code, outcome, fault = "invalid_request", Exchange.REFUSED, TokenFault.REQUEST
    else:
        code, outcome, fault = "temporarily_unavailable", Exchange.FAILED, None
    if fault is not None:
        metrics.token_refusals.labels(fault).inc()
    if exchanging:
        metrics.token_exchanges.labels(outcome).inc()
    body = {"error": code, "error_description": _description(str(error))}
    headers = ((b"www-authenticate", b'Basic realm="keystile"'),)
    if code == "invalid_client":
        return Answer(401, msgspec.json.encode(body), headers=headers)
    return Answer(400, msgspec.json.encode(body))


def _description(text: str) -> str:
    r"""Keep to the characters that RFC 6749 section 5.2 allows: ASCII without `"` and `\`."""
    plain = text.replace('"', "'").replace("\\", "/")
    return "".join(char if " " <= char <= "~" else "?" for char in plain)
