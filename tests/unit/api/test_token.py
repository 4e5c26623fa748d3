from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from google.oauth2 import sts

from keystile.api import token
from keystile.api.fake_identity import FakeExchange
from keystile.api.http import Answer, Message, Request
from keystile.model.errors import KeystileError, RefusedError, TokenRefusedError
from keystile.model.sender import Sender
from keystile.telemetry.metrics import Metrics

URL = "https://gateway.example"
PROOF = (b"dpop", b"proof")
FORM = (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")


def request(body: bytes, method: str = "POST") -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    client = ("192.0.2.1", 50_000)
    scope = {
        "client": client,
        "method": method,
        "raw_path": token.PATH,
        "query_string": b"",
        "headers": [FORM, PROOF],
    }
    return Request(scope, receive)


async def refused(asked: Request) -> tuple[Answer, Any]:
    with pytest.raises(KeystileError) as caught:
        await token.exchange(asked, URL, FakeExchange(), Metrics())
    answer = token.refusal(caught.value, Metrics())
    return answer, json.loads(answer.body)


async def test_a_good_token_is_exchanged() -> None:
    metrics = Metrics()
    asked = request(urlencode({"subject_token": "jwt", "scope": ""}).encode())
    exchanger = FakeExchange()
    answer = await token.exchange(asked, URL, exchanger, metrics)
    assert exchanger.sender == Sender("192.0.2.1", "POST", f"{URL}/v1/token", "proof")
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "access_token": "to-jwt",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 600,
    }
    assert 'keystile_token_exchanges_total{outcome="issued"} 1.0' in metrics.text().decode()


async def test_a_refused_token_is_said_in_oauth_s_words() -> None:
    answer, body = await refused(request(b"subject_token=bad"))
    assert answer.status == 400
    assert body["error"] == "invalid_request"
    assert body["error_description"] == "the subject token is expired; fetch a new one"


@pytest.mark.parametrize(
    "asked", [request(b"subject_token=a", method="GET"), request(b"a" * ((1 << 20) + 1))]
)
async def test_what_is_no_post_or_too_large_is_an_invalid_request(asked: Request) -> None:
    answer, body = await refused(asked)
    assert answer.status == 400
    assert body["error"] == "invalid_request"


def test_an_outage_is_not_answered_with_a_status_that_clients_retry() -> None:
    metrics = Metrics()
    answer = token.refusal(RefusedError("the issuer's keys cannot be fetched"), metrics)
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "temporarily_unavailable"
    assert 'keystile_token_exchanges_total{outcome="failed"} 1.0' in metrics.text().decode()


def test_a_bad_client_is_challenged() -> None:
    error = TokenRefusedError("no", oauth_error="invalid_client")
    answer = token.refusal(error, Metrics())
    assert answer.status == 401
    assert answer.headers[0][0] == b"www-authenticate"


def test_descriptions_keep_to_the_characters_of_the_rfc() -> None:
    answer = token.refusal(TokenRefusedError('a "b" \\ ä\n'), Metrics())
    assert json.loads(answer.body)["error_description"] == "a 'b' / ??"


def test_google_s_own_client_exchanges_and_shows_a_refusal(serve: Any) -> None:
    import google.auth.exceptions  # noqa: PLC0415  beside its only use
    import google.auth.transport.requests  # noqa: PLC0415  the same

    served = serve()
    client = sts.Client(f"{served.url}/v1/token")
    transport = google.auth.transport.requests.Request()
    kinds = "urn:ietf:params:oauth:grant-type:token-exchange", "jwt", "urn:x:jwt"
    answer = client.exchange_token(transport, *kinds, audience="//keystile/agents")
    assert answer["access_token"] == "to-jwt"
    with pytest.raises(google.auth.exceptions.OAuthError, match="token is expired"):
        client.exchange_token(transport, kinds[0], "bad", kinds[2])
    assert served.seen == ["POST /v1/token"] * 2
