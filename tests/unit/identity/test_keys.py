from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64encode
from structlog.testing import capture_logs

from keystile.identity import keys as module
from keystile.identity.keys import Documents, IssuerKeys, parse_jwks, pick
from keystile.model.errors import TokenRefusedError, UnsafeConfigurationError


def _public(key: Any, **more: Any) -> dict[str, Any]:
    return dict(key.as_dict(private=False)) | more


def _jwks(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


EC = ECKey.generate_key("P-256")
EC_384 = ECKey.generate_key("P-384")
RSA = RSAKey.generate_key(2048)


def _rsa(modulus: bytes) -> dict[str, Any]:
    return {"kty": "RSA", "n": urlsafe_b64encode(modulus).decode(), "e": "AQAB"}


def test_keys_of_each_kind_are_read() -> None:
    ed = OKPKey.generate_key("Ed25519")
    keys = parse_jwks(_jwks(_public(EC), _public(RSA), _public(ed), _public(EC_384)))
    assert [key.key_type for key in keys] == ["EC", "RSA", "OKP", "EC"]


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {},
        {"kty": "EC"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": "", "e": "AQAB"},
        _rsa(b"\xff" * 128),
        _rsa(b"\x00" * 128 + b"\xff" * 128),
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ"},
        {"kty": ["RSA"]},
        _public(EC, use="enc"),
        _public(EC, key_ops=["sign"]),
        _public(EC, key_ops="verify"),
        _public(EC, x="AAAA"),
        _public(EC, crv="secp256k1"),
        dict(EC.as_dict(private=True)),
        dict(OctKey.generate_key(256).as_dict(private=True)),
    ],
)
def test_weak_private_symmetric_and_broken_keys_are_left_out(entry: Any) -> None:
    assert len(parse_jwks(_jwks(entry, _public(EC)))) == 1


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda c: (
            st.dictionaries(st.sampled_from(["kty", "n", "e", "x", "y", "crv", "use"]), c)
            | st.lists(c)
        ),
        max_leaves=8,
    )
)
def test_no_document_does_worse_than_a_refusal(value: Any) -> None:
    parse_jwks(_jwks(value, value))
    for document in (json.dumps(value).encode(), b"\xff", b'{"keys":1}', b'{"keys":[],"keys":[]}'):
        with suppress(TokenRefusedError):
            parse_jwks(document)


def test_picking_needs_exactly_one_fitting_key() -> None:
    one = parse_jwks(_jwks(_public(EC, kid="a"), _public(RSA, kid="b", alg="RS256")))
    assert pick(one, "a", "ES256") is one[0]
    assert pick(one, "", "ES256") is one[0]
    assert pick(one, "b", "RS256") is one[1]
    assert pick(one, "b", "PS256") is None
    assert pick(one, "a", "RS256") is None
    assert pick(one, "c", "ES256") is None
    assert pick(one, "a", "HS256") is None
    twice = parse_jwks(_jwks(_public(EC, kid="a"), _public(ECKey.generate_key("P-256"), kid="a")))
    assert pick(twice, "a", "ES256") is None
    assert pick(twice, "", "ES256") is None


class Site:
    """An issuer's web server with two key sets and switches for its faults."""

    def __init__(self) -> None:
        self.url = ""
        self.entries = [_public(EC, kid="a")]
        self.discovery: dict[str, Any] = {}
        self.fetches = 0
        self.broken = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()

    async def well_known(self, _: web.Request) -> web.Response:
        document = {"issuer": self.url, "jwks_uri": self.url + "/keys?p=1"}
        return web.json_response(document | self.discovery)

    async def keys(self, _: web.Request) -> web.Response:
        self.fetches += 1
        self.asked.set()
        await self.answers.wait()
        if self.broken:
            return web.Response(status=500)
        return web.Response(body=_jwks(*self.entries))

    async def large(self, _: web.Request) -> web.Response:
        return web.Response(body=b" " * 300_000)

    async def redirect(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/keys"})

    async def slow(self, _: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", site.well_known)
    for name in ("keys", "large", "redirect", "slow"):
        app.router.add_get(f"/{name}", getattr(site, name))
    async with TestServer(app) as server:
        site.url = str(server.make_url("")).rstrip("/")
        yield site


@pytest.fixture
async def documents() -> AsyncIterator[Documents]:
    made = Documents()
    yield made
    await made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


async def test_discovery_leads_to_the_keys_once(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    keys = IssuerKeys(site.url, "", documents)
    found = await asyncio.gather(*(keys.find("a", "ES256") for _ in range(5)))
    assert len(found) == 5
    assert site.fetches == 1
    clock[0] += 301
    await keys.find("a", "ES256")
    assert site.fetches == 2


@pytest.mark.parametrize(
    ("discovery", "message"),
    [
        ({"issuer": "https://other.test"}, "names another issuer or no keys"),
        ({"issuer": None}, "names another issuer or no keys"),
        ({"jwks_uri": None}, "names another issuer or no keys"),
        ({"jwks_uri": "http://keys.test/k"}, "without encryption"),
        ({"jwks_uri": "file:///etc/keys"}, "not a plain http(s) address"),
    ],
)
async def test_a_discovery_document_that_does_not_fit_gives_no_keys(
    site: Site, documents: Documents, discovery: dict[str, Any], message: str
) -> None:
    site.discovery = discovery
    keys = IssuerKeys(site.url, "", documents)
    with capture_logs() as logs, pytest.raises(TokenRefusedError, match="cannot be fetched"):
        await keys.find("a", "ES256")
    assert logs[0]["event"] == "issuer_keys_unavailable"
    assert message in logs[0]["error"]
    assert site.fetches == 0


async def test_the_issuer_must_be_named_to_the_character(site: Site, documents: Documents) -> None:
    keys = IssuerKeys(site.url + "/", "", documents)
    with capture_logs(), pytest.raises(TokenRefusedError, match="cannot be fetched"):
        await keys.find("a", "ES256")


async def test_a_new_key_is_found_at_once_but_bad_ids_cannot_flood_the_issuer(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    keys = IssuerKeys(site.url, site.url + "/keys", documents)
    await keys.find("a", "ES256")
    site.entries = [_public(EC_384, kid="b", alg="ES384")]
    clock[0] += 11
    assert (await keys.find("b", "ES384")).kid == "b"
    assert site.fetches == 2
    for _ in range(5):
        with pytest.raises(TokenRefusedError, match="has no key that fits"):
            await keys.find("nonsense", "ES256")
    assert site.fetches == 2
    with pytest.raises(TokenRefusedError, match="has no key that fits"):
        await keys.find("a", "ES256")


async def test_a_key_is_found_that_signs_right_after_the_others_were_fetched(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    """Tokens of an issuer that changed its key just then were refused for ten seconds."""
    keys = IssuerKeys(site.url, "", documents)
    await keys.find("a", "ES256")
    site.entries.append(_public(ECKey.generate_key("P-256"), kid="b"))
    clock[0] += 1
    assert (await keys.find("b", "ES256")).kid == "b"
    assert site.fetches == 2


async def test_the_first_token_of_all_causes_one_fetch_even_if_its_key_is_unknown(
    site: Site, documents: Documents
) -> None:
    with pytest.raises(TokenRefusedError, match="has no key that fits"):
        await IssuerKeys(site.url, "", documents).find("nonsense", "ES256")
    assert site.fetches == 1


async def test_an_outage_is_bridged_for_an_hour_and_no_longer(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    keys = IssuerKeys(site.url, site.url + "/keys", documents)
    await keys.find("a", "ES256")
    site.broken = True
    with capture_logs() as logs:
        clock[0] += 3599
        await keys.find("a", "ES256")
        await keys.find("a", "ES256")
        assert site.fetches == 2
        clock[0] += 11
        with pytest.raises(TokenRefusedError, match="cannot be fetched"):
            await keys.find("a", "ES256")
        site.broken = False
        clock[0] += 11
        await keys.find("a", "ES256")
    assert len(logs) == 2


async def test_a_withdrawn_key_stops_within_five_minutes(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    keys = IssuerKeys(site.url, "", documents)
    await keys.find("a", "ES256")
    site.entries = [_public(ECKey.generate_key("P-256"), kid="b")]
    clock[0] += 299
    await keys.find("a", "ES256")
    clock[0] += 1
    with pytest.raises(TokenRefusedError, match="has no key that fits"):
        await keys.find("a", "ES256")


async def test_both_keys_of_a_rotation_are_taken_and_many_tokens_cause_one_fetch(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    keys = IssuerKeys(site.url, "", documents)
    await keys.find("a", "ES256")
    site.entries.append(_public(ECKey.generate_key("P-256"), kid="b"))
    clock[0] += 11
    wanted = ["b", "a"] * 10
    found = await asyncio.gather(*(keys.find(kid, "ES256") for kid in wanted))
    assert [key.kid for key in found] == wanted
    assert site.fetches == 2


async def test_an_unknown_key_is_refused_in_an_outage_while_known_ones_serve(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    keys = IssuerKeys(site.url, "", documents)
    await keys.find("a", "ES256")
    site.broken = True
    clock[0] += 60
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(TokenRefusedError, match="has no key that fits"):
                await keys.find("b", "ES256")
            assert (await keys.find("a", "ES256")).kid == "a"
    assert len(logs) == 1
    assert site.fetches == 2


async def test_a_good_token_does_not_wait_for_what_a_bad_one_causes(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    """Anybody could hold up an issuer's agents with key ids that nobody has, while it was slow."""
    keys = IssuerKeys(site.url, "", documents)
    await keys.find("a", "ES256")
    site.answers.clear()
    site.asked.clear()
    clock[0] += 11
    bad = asyncio.ensure_future(keys.find("nonsense", "ES256"))
    await site.asked.wait()
    good = asyncio.ensure_future(keys.find("a", "ES256"))
    await asyncio.sleep(0)  # one step, which is all that it needs
    assert good.done()
    site.answers.set()
    with pytest.raises(TokenRefusedError, match="has no key that fits"):
        await bad


async def test_an_issuer_that_withdraws_all_keys_is_believed(
    site: Site, documents: Documents, clock: list[float]
) -> None:
    keys = IssuerKeys(site.url, "", documents)
    await keys.find("a", "ES256")
    site.entries = []
    clock[0] += 300
    with pytest.raises(TokenRefusedError, match="has no key that fits"):
        await keys.find("a", "ES256")


async def test_keys_come_from_a_file_too(tmp_path: Path, documents: Documents) -> None:
    file = tmp_path / "the keys.json"
    file.write_bytes(_jwks(_public(EC, kid="a")))
    keys = IssuerKeys("issuer-without-address", file.as_uri(), documents)
    assert (await keys.find("a", "ES256")).kid == "a"
    missing = IssuerKeys("x", (tmp_path / "gone").as_uri(), documents)
    with capture_logs(), pytest.raises(TokenRefusedError, match="cannot be fetched"):
        await missing.find("a", "ES256")


@pytest.mark.parametrize("name", ["large", "redirect", "slow", "absent"])
async def test_a_hostile_server_gives_nothing(
    site: Site, documents: Documents, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FETCH_SECONDS", 0.2)
    with pytest.raises(TokenRefusedError):
        await documents.get(f"{site.url}/{name}")
    assert site.fetches == 0


@pytest.mark.parametrize(
    ("issuer", "jwks_uri"),
    [("http://issuer.test", ""), ("issuer.test", ""), ("https://issuer.test", "http://a.test/k")],
)
def test_addresses_without_encryption_do_not_start(issuer: str, jwks_uri: str) -> None:
    with pytest.raises(UnsafeConfigurationError):
        IssuerKeys(issuer, jwks_uri, Documents())
