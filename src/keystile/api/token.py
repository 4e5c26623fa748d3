"""The token endpoint: OAuth 2.0 Token Exchange (RFC 8693) as Google's credentials speak it."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from keystile.api.http import Answer, Request
from keystile.api.ports import TokenExchange
from keystile.model.errors import InvalidRequestError, KeystileError, TokenRefusedError
from keystile.telemetry.metrics import Exchange, Metrics

PATH = b"/v1/token"

_FORM = b"application/x-www-form-urlencoded"
_MAX_FIELDS = 32
_ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name, RFC 8693 section 3


async def exchange(request: Request, exchanger: TokenExchange, metrics: Metrics) -> Answer:
    """Exchange an agent's own token for a gateway token (RFC 8693 section 2.2.1).

    Raises `KeystileError`; `refusal` turns it into OAuth's words.
    """
    form = await _form(request)
    issued = await exchanger.exchange(form)
    metrics.token_exchanges.labels(Exchange.ISSUED).inc()
    body = {
        "access_token": issued.access_token,
        "issued_token_type": _ACCESS_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
    }
    return Answer(200, msgspec.json.encode(body))


def refusal(error: KeystileError, metrics: Metrics) -> Answer:
    """Say an error in OAuth's words (RFC 6749 section 5.2): always 400, or 401 for the client's.

    A 503 is never answered here either: clients would retry it in silence.
    """
    if isinstance(error, TokenRefusedError):
        code, outcome = error.oauth_error, Exchange.REFUSED
    elif isinstance(error, InvalidRequestError):
        code, outcome = "invalid_request", Exchange.REFUSED
    else:
        code, outcome = "temporarily_unavailable", Exchange.FAILED
    metrics.token_exchanges.labels(outcome).inc()
    body = {"error": code, "error_description": _description(str(error))}
    headers = ((b"www-authenticate", b'Basic realm="keystile"'),)
    if code == "invalid_client":
        return Answer(401, msgspec.json.encode(body), headers=headers)
    return Answer(400, msgspec.json.encode(body))


async def _form(request: Request) -> dict[str, str]:
    """Read the form; RFC 6749 section 3.2 allows each parameter once."""
    if request.method != "POST":
        message = f"the token endpoint takes POST and not `{request.method[:16]}`"
        raise InvalidRequestError(message)
    kind = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind != _FORM:
        raise InvalidRequestError(f"the token request is not `{_FORM.decode()}`")
    body = await request.body()
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise InvalidRequestError("the token request is not a valid form") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidRequestError("a parameter of the token request is given twice")
    return form


def _description(text: str) -> str:
    r"""Keep to the characters that RFC 6749 section 5.2 allows: ASCII without `"` and `\`."""
    plain = text.replace('"', "'").replace("\\", "/")
    return "".join(char if " " <= char <= "~" else "?" for char in plain)
