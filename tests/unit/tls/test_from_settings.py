from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.authority import Authority

from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.model.errors import UnsafeConfigurationError
from keystile.tls.from_settings import listening, to_google, to_issuer, to_upstream


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _settings(folder: Path, **sections: Any) -> Settings:
    sections["upstream"] = {"service_account_file": "key.json"} | sections.get("upstream", {})
    file = folder / "keystile.yaml"
    file.write_text(json.dumps(sections))
    return load(file)


def test_each_listener_has_its_own_pair(authority: Authority, tmp_path: Path) -> None:
    sections = {}
    for name in ("gateway", "console", "storage"):
        authority.write(name)
        sections[name] = {
            "port": 9000,
            "certificate_file": f"{name}.pem",
            "key_file": f"{name}-key.pem",
        }
    sections["gateway"]["client_ca_file"] = "ca.pem"
    ends = listening(_settings(tmp_path, **sections))
    for name, end in ends.items():
        assert end.material.pair
        assert end.material.pair.certificate == (tmp_path / f"{name}.pem").read_bytes()
        assert bool(end.material.authorities) is (name == "gateway")
    assert list(ends) == list(sections)


def test_a_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    missing = {"certificate_file": "gone.pem", "key_file": "gone-key.pem"}
    with pytest.raises(UnsafeConfigurationError, match=r"cannot read `.*gone\.pem`"):
        listening(_settings(tmp_path, console=missing))


def test_plain_http_that_others_could_read_is_logged(tmp_path: Path) -> None:
    chosen = {"host": "192.0.2.1", "port": 9000, "unsafe_plain_http": True}
    with capture_logs() as logs:
        assert listening(_settings(tmp_path, gateway=chosen)) == {}
    assert [(log["event"], log["at"]) for log in logs] == [("unsafe_plain_http", "gateway")]


async def test_without_settings_the_way_out_is_direct(tmp_path: Path) -> None:
    issuer = {"issuer": "https://i.example", "audiences": ["a"]}
    settings = _settings(tmp_path, identity={"issuers": [issuer]})
    for outward in (to_upstream(settings), to_issuer(settings, 0)):
        assert await outward.options() == {"ssl": True}
        assert outward.ends == ()


async def test_the_way_to_bigquery_has_all_that_is_chosen(
    authority: Authority, tmp_path: Path
) -> None:
    authority.write("me", "client")
    chosen = {
        "ca_file": "ca.pem",
        "client_certificate_file": "me.pem",
        "client_key_file": "me-key.pem",
        "proxy": {"address": "http://proxy.example:3128"},
    }
    outward = to_upstream(_settings(tmp_path, upstream=chosen))
    assert (await outward.options())["proxy"] == "http://proxy.example:3128"
    (end,) = outward.ends
    before = (await outward.options())["ssl"]
    authority.write("me", "client")
    end.renew()
    assert (await outward.options())["ssl"] is not before


async def test_a_proxy_has_authorities_and_a_password_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority(tmp_path)
    monkeypatch.setenv("PROXY_PASSWORD", "planted-at-the-proxy")
    proxy = {
        "address": "https://proxy.example:3128",
        "user": "gateway",
        "password": {"environment": "PROXY_PASSWORD"},
        "ca_file": "ca.pem",
    }
    settings = _settings(
        tmp_path,
        upstream={"proxy": proxy},
        identity={"issuers": [{"issuer": "https://i.example", "audiences": ["a"]}], "proxy": proxy},
    )
    for way in (to_upstream, to_google, lambda given: to_issuer(given, 0)):
        outward = way(settings)
        (end,) = outward.ends
        assert end.material.authorities == (tmp_path / "ca.pem").read_bytes()
        options = await outward.options()
        assert options["proxy_headers"]["Proxy-Authorization"].startswith("Basic ")
        before = options["ssl"]
        assert (await outward.options())["ssl"] is before
        Authority(tmp_path)  # another one, in the same file
        end.renew()
        assert (await outward.options())["ssl"] is not before
        assert "planted" not in f"{outward!r} {settings!r}"
        await outward.close()


def test_a_password_that_others_could_read_is_logged(tmp_path: Path) -> None:
    proxy = {
        "address": "http://proxy.example:3128",
        "user": "gateway",
        "password": {"environment": "PROXY_PASSWORD"},
        "unsafe_plain_http": True,
    }
    with capture_logs() as logs:
        to_upstream(_settings(tmp_path, upstream={"proxy": proxy}))
    assert [(log["event"], log["at"]) for log in logs] == [("unsafe_plain_http", "upstream.proxy")]
