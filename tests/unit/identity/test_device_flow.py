"""The polling client of RFC 8628, against an issuer that answers as a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from keystile.identity.device_flow import Code, DeviceFlow, Endpoints, OAuthError, Tokens
from keystile.model.errors import KeystileError, RefusedError, UnsafeConfigurationError


class Issuer:
    """Answers the requests one after the other; `forms` are what came."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Any] = []
        self.forms: list[dict[str, str]] = []
        self.slept: list[float] = []
        self.described: dict[str, Any] = {}

    async def describe(self, _request: web.Request) -> web.Response:
        return web.json_response(self.described)

    async def answer(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        status, body = self.answers.pop(0)
        if status == 0:
            assert request.transport
            request.transport.close()
        return web.json_response(body, status=status or 200)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def flow(self) -> DeviceFlow:
        return DeviceFlow(self.url, "laptop", self.sleep)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(f"{self.url}/post", f"{self.url}/post")


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made, app = Issuer(), web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.describe)
    app.router.add_post("/post", made.answer)
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        made.described = {
            "issuer": made.url,
            "device_authorization_endpoint": f"{made.url}/post",
            "token_endpoint": f"{made.url}/post",
        }
        yield made


CODE = Code("the-device", "ABCD", "https://login.example.com/device", 600)
PENDING = (400, {"error": "authorization_pending"})
GIVEN = (200, {"access_token": "a", "id_token": "i", "refresh_token": "r"})


async def test_what_the_issuer_says_of_itself_is_taken(issuer: Issuer) -> None:
    assert await issuer.flow().endpoints() == issuer.endpoints


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "https://elsewhere.example.com"}, "does not describe itself"),
        ({"device_authorization_endpoint": None}, "no device authorization endpoint"),
        ({"token_endpoint": 5}, "no device authorization endpoint"),
        ({"token_endpoint": "http://login.example.com/"}, "without encryption"),
    ],
)
async def test_another_description_is_refused(
    issuer: Issuer, changes: dict[str, Any], words: str
) -> None:
    issuer.described |= changes
    with pytest.raises(KeystileError, match=words):
        await issuer.flow().endpoints()


def test_nobody_signs_in_without_encryption() -> None:
    with pytest.raises(UnsafeConfigurationError, match="without encryption"):
        DeviceFlow("http://login.example.com", "laptop")


async def test_a_code_is_asked_for_with_the_audience(issuer: Issuer) -> None:
    issuer.answers = [
        (
            200,
            {
                "device_code": "the-device",
                "user_code": "ABCD",
                "verification_uri": "https://login.example.com/device",
                "expires_in": 600,
            },
        )
    ]
    code = await issuer.flow().begin(issuer.endpoints, "openid", "https://gw.example.com")
    assert (code.user_code, code.interval) == ("ABCD", 5)
    assert "the-device" not in repr(code)
    assert issuer.forms == [
        {"client_id": "laptop", "scope": "openid", "resource": "https://gw.example.com"}
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri_complete": "http://login.example.com/"},
        {"user_code": "A\x1b[2J"},
        {"expires_in": 0},
        {"expires_in": 1e9},
        {"device_code": None},
    ],
)
async def test_what_is_no_code_is_shown_to_nobody(issuer: Issuer, changes: Any) -> None:
    right = {
        "device_code": "d",
        "user_code": "ABCD",
        "verification_uri": "https://login.example.com/device",
        "expires_in": 600,
    }
    issuer.answers = [(200, right | changes)]
    with pytest.raises(KeystileError):
        await issuer.flow().begin(issuer.endpoints, "openid", "")


async def test_it_polls_as_the_rfc_says(issuer: Issuer) -> None:
    slow = (400, {"error": "slow_down"})
    issuer.answers = [PENDING, slow, PENDING, slow, GIVEN]
    tokens = await issuer.flow().wait(issuer.endpoints, CODE, "")
    assert (tokens.access_token, tokens.id_token, tokens.refresh_token) == ("a", "i", "r")
    assert issuer.slept == [5, 5, 10, 10, 15]
    assert issuer.forms[0] == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "laptop",
        "device_code": "the-device",
    }
    assert repr(tokens) == "Tokens()"


async def test_an_issuer_that_is_out_of_reach_is_asked_less_often(issuer: Issuer) -> None:
    issuer.answers = [(0, {}), (503, {}), GIVEN]
    await issuer.flow().wait(issuer.endpoints, CODE, "")
    assert issuer.slept == [5, 10, 20]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("access_denied", "did not agree"),
        ("expired_token", "nobody signed in in time"),
        ("invalid_client", "the issuer refuses: invalid_client"),
    ],
)
async def test_any_other_answer_ends_it(issuer: Issuer, error: str, words: str) -> None:
    issuer.answers = [PENDING, (400, {"error": error})]
    with pytest.raises(RefusedError, match=words):
        await issuer.flow().wait(issuer.endpoints, CODE, "")


async def test_it_ends_when_the_code_does(issuer: Issuer) -> None:
    code = Code("d", "ABCD", "https://login.example.com/device", 0.01)
    issuer.answers = [PENDING] * 100
    with pytest.raises(RefusedError, match="nobody signed in in time"):
        await issuer.flow().wait(issuer.endpoints, code, "")


async def test_fresh_tokens_are_asked_for(issuer: Issuer) -> None:
    issuer.answers = [GIVEN, (400, {"error": "invalid_grant", "error_description": "used\x1b"})]
    flow = issuer.flow()
    assert (await flow.refresh(f"{issuer.url}/post", "r1", "")).access_token == "a"
    assert issuer.forms[0]["refresh_token"] == "r1"
    with pytest.raises(OAuthError, match="refuses: invalid_grant") as error:
        await flow.refresh(f"{issuer.url}/post", "r1", "")
    assert "\x1b" not in str(error.value)


TOKENS = Tokens("an-access-token", "", "a-refresh-token")


async def test_all_that_was_given_is_revoked_the_refresh_token_first(issuer: Issuer) -> None:
    issuer.described["revocation_endpoint"] = f"{issuer.url}/post"
    issuer.answers = [(200, ["ignored"]), (400, {"error": "unsupported_token_type"})]
    assert await issuer.flow().revoke(TOKENS)
    assert [(form["token"], form["token_type_hint"]) for form in issuer.forms] == [
        ("a-refresh-token", "refresh_token"),
        ("an-access-token", "access_token"),
    ]
    assert {form["client_id"] for form in issuer.forms} == {"laptop"}


async def test_an_issuer_that_revokes_nothing_is_asked_for_nothing(issuer: Issuer) -> None:
    assert not await issuer.flow().revoke(TOKENS)
    assert issuer.forms == []


@pytest.mark.parametrize(
    "answer", [(400, {"error": "unsupported_token_type"}), (401, {"error": "invalid_client"})]
)
async def test_a_refresh_token_that_is_not_revoked_is_not_said_to_be(
    issuer: Issuer, answer: Any
) -> None:
    issuer.described["revocation_endpoint"] = f"{issuer.url}/post"
    issuer.answers = [answer]
    with pytest.raises(OAuthError) as refused:
        await issuer.flow().revoke(TOKENS)
    assert "a-refresh-token" not in str(refused.value)


async def test_no_token_goes_to_an_address_without_encryption(issuer: Issuer) -> None:
    issuer.described["revocation_endpoint"] = "http://login.example.com/revoke"
    with pytest.raises(UnsafeConfigurationError, match="without encryption"):
        await issuer.flow().revoke(TOKENS)
