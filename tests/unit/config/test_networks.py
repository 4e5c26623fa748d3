from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.model.errors import UnsafeConfigurationError

_PAIR = {"certificate_file": "cert.pem", "key_file": "key.pem"}


def _loaded(folder: Path, **sections: Any) -> Settings:
    file = folder / "keystile.yaml"
    sections["upstream"] = {"service_account_file": "key.json"} | sections.get("upstream", {})
    file.write_text(json.dumps(sections))
    return load(file)


@pytest.mark.parametrize("name", ["gateway", "console", "storage"])
class TestEachListener:
    def test_plain_http_is_for_this_machine_only(self, tmp_path: Path, name: str) -> None:
        for host in ("0.0.0.0", "::", "192.0.2.1", "gateway.example"):  # noqa: S104  refused here
            with pytest.raises(UnsafeConfigurationError, match=rf"`{name}\.host` `{host}`.*unsafe"):
                _loaded(tmp_path, **{name: {"host": host, "port": 9000}})
        for host in ("127.0.0.1", "::1", "localhost"):
            assert _loaded(tmp_path, **{name: {"host": host, "port": 9000}})

    def test_tls_is_served_anywhere(self, tmp_path: Path, name: str) -> None:
        chosen = {"host": "192.0.2.1", "port": 9000, **_PAIR}
        assert _loaded(tmp_path, **{name: chosen}).listeners[name].key_file

    def test_plain_http_in_a_trusted_network_must_be_said(self, tmp_path: Path, name: str) -> None:
        chosen = {"host": "192.0.2.1", "port": 9000, "unsafe_plain_http": True}
        assert _loaded(tmp_path, **{name: chosen})

    @pytest.mark.parametrize("given", sorted(_PAIR))
    def test_half_a_pair_is_refused(self, tmp_path: Path, name: str, given: str) -> None:
        chosen = {"port": 9000, given: "x.pem"}
        with pytest.raises(
            UnsafeConfigurationError, match=f"names one of `{name}.certificate_file"
        ):
            _loaded(tmp_path, **{name: chosen})


@pytest.mark.parametrize("name", ["gateway", "console"])
def test_a_proxy_is_trusted_by_its_address(tmp_path: Path, name: str) -> None:
    for given in ("*", "proxy.example", "10.0.0.1/8", "/run/socket"):
        with pytest.raises(UnsafeConfigurationError, match=f"`{name}.trusted_proxies` has"):
            _loaded(tmp_path, **{name: {"trusted_proxies": [given]}})
    fine = ["10.0.0.1", "10.0.0.0/8", "2001:db8::/32"]
    assert _loaded(tmp_path, **{name: {"trusted_proxies": fine}})


def test_a_listener_that_is_off_is_not_looked_at(tmp_path: Path) -> None:
    assert "storage" not in _loaded(tmp_path, storage={"host": "192.0.2.1"}).listeners


def test_certificates_of_clients_need_tls(tmp_path: Path) -> None:
    with pytest.raises(UnsafeConfigurationError, match="where no TLS is spoken"):
        _loaded(tmp_path, gateway={"client_ca_file": "ca.pem"})
    assert _loaded(tmp_path, gateway={"client_ca_file": "ca.pem", **_PAIR})


@pytest.mark.parametrize(
    ("name", "setting"), [("gateway", "public_url"), ("console", "console_url")]
)
def test_an_address_without_tls_contradicts_a_certificate(
    tmp_path: Path, name: str, setting: str
) -> None:
    chosen = {name: _PAIR, setting: "http://gw.example:9000"}
    with pytest.raises(UnsafeConfigurationError, match=f"`{setting}` .* is not https"):
        _loaded(tmp_path, **chosen)


def test_addresses_say_whether_tls_is_spoken(tmp_path: Path) -> None:
    settings = _loaded(tmp_path, gateway=_PAIR, console=_PAIR)
    assert settings.gateway_url == "https://127.0.0.1:8420"
    assert settings.people_url == "https://127.0.0.1:8421"
    settings = _loaded(tmp_path, gateway={"host": "::1"})
    assert settings.gateway_url == "http://[::1]:8420"


@pytest.mark.parametrize(
    "chosen",
    [
        {"ca_file": "ca.pem"},
        {"client_certificate_file": "cert.pem", "client_key_file": "key.pem"},
        {"proxy": {"address": "http://proxy.example:3128"}},
    ],
)
def test_certificates_and_a_proxy_are_for_an_encrypted_bigquery(
    tmp_path: Path, chosen: dict[str, Any]
) -> None:
    assert _loaded(tmp_path, upstream=chosen)
    with pytest.raises(UnsafeConfigurationError, match="is not https, so neither"):
        _loaded(tmp_path, upstream=chosen | {"endpoint": "http://127.0.0.1:9000"})


def test_half_a_pair_for_bigquery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"`upstream\.client_certificate_file` and"):
        _loaded(tmp_path, upstream={"client_key_file": "key.pem"})


@pytest.mark.parametrize("section", ["upstream", "identity"])
@pytest.mark.parametrize(
    "url",
    [
        "https://proxy.example:3128/?a=b",
        "https://user:w0rd@proxy.example:3128",
        "http://user:w0rd@proxy.example:3128",
        "http://proxy.example",
        "http://proxy.example:port",
        "http://proxy.example:3128/path",
        "socks5://proxy.example:1080",
        "proxy.example:3128",
    ],
)
def test_a_proxy_is_a_plain_address_and_a_password_in_it_is_not_shown(
    tmp_path: Path, section: str, url: str
) -> None:
    with pytest.raises(
        UnsafeConfigurationError, match=rf"`{section}\.proxy\.address` is no plain"
    ) as caught:
        _loaded(tmp_path, **{section: {"proxy": {"address": url}}})
    assert "w0rd" not in str(caught.value)


def test_a_proxy_with_tls_is_not_called_what_bigquery_is(tmp_path: Path) -> None:
    upstream = {
        "endpoint": "https://proxy.example:8443",
        "proxy": {"address": "https://proxy.example:3128"},
    }
    with pytest.raises(UnsafeConfigurationError, match="names one host"):
        _loaded(tmp_path, upstream=upstream)


_TOKEN = {"token": {"environment": "VAULT_TOKEN"}}


@pytest.mark.parametrize("word", ["vault", "secret_manager"])
def test_a_proxy_with_tls_is_not_called_what_keeps_secrets_is(tmp_path: Path, word: str) -> None:
    proxy = {"address": "https://proxy.example:3128"}
    sections = {
        "vault": {"vault": {"address": "https://proxy.example", **_TOKEN, "proxy": proxy}},
        "secret_manager": {
            "upstream": {"proxy": proxy},
            "secret_manager": {"endpoint": "https://proxy.example"},
        },
    }
    with pytest.raises(UnsafeConfigurationError, match="names one host"):
        _loaded(tmp_path, **sections[word])


@pytest.mark.parametrize(
    "chosen", [{"ca_file": "ca.pem"}, {"proxy": {"address": "http://proxy.example:1"}}]
)
def test_certificates_and_a_proxy_are_for_an_encrypted_vault(
    tmp_path: Path, chosen: dict[str, Any]
) -> None:
    assert _loaded(tmp_path, vault={"address": "https://v.example", **_TOKEN, **chosen})
    with pytest.raises(UnsafeConfigurationError, match="is not https, so neither"):
        _loaded(tmp_path, vault={"address": "http://127.0.0.1:8200", **_TOKEN, **chosen})


@pytest.mark.parametrize(
    "place", [{"vault": {"path": "p", "field": "f"}}, {"secret_manager": "projects/p/secrets/s"}]
)
def test_the_password_of_a_proxy_does_not_stand_beyond_it(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    vault = {"address": "https://v.example", **_TOKEN}
    proxy = {"address": "https://proxy.example:1", "user": "gateway", "password": place}
    with pytest.raises(UnsafeConfigurationError, match="stands on a server"):
        _loaded(tmp_path, vault=vault | {"proxy": proxy})
    sections = {"vault": vault, "upstream": {"proxy": proxy}}
    if "vault" in place:
        assert _loaded(tmp_path, **sections)
        return
    with pytest.raises(UnsafeConfigurationError, match="asked by way of that proxy"):
        _loaded(tmp_path, **sections)


_SECRET = {"user": "gateway", "password": {"environment": "X"}}


@pytest.mark.parametrize("section", ["upstream", "identity"])
@pytest.mark.parametrize(
    ("proxy", "match"),
    [
        ({"address": "https://proxy.example:1", "user": "gateway"}, "names one of"),
        ({"address": "https://proxy.example:1", "password": {"file": "x"}}, "names one of"),
        ({"address": "http://proxy.example:1", **_SECRET}, "without encryption"),
        ({"address": "http://proxy.example:1", "ca_file": "ca.pem"}, "is not https"),
        ({"address": "https://proxy.example:1", **_SECRET, "user": "a:b"}, "user"),
        ({"address": "https://proxy.example:1", **_SECRET}, ""),
        ({"address": "https://[::1]:1", "ca_file": "ca.pem"}, ""),
        ({"address": "http://127.0.0.1:1", **_SECRET}, ""),
        ({"address": "http://proxy.example:1", **_SECRET, "unsafe_plain_http": True}, ""),
    ],
)
def test_the_password_of_a_proxy_goes_nowhere_that_others_read(
    tmp_path: Path, section: str, proxy: dict[str, Any], match: str
) -> None:
    if not match:
        assert _loaded(tmp_path, **{section: {"proxy": proxy}})
        return
    with pytest.raises(UnsafeConfigurationError, match=match):
        _loaded(tmp_path, **{section: {"proxy": proxy}})


@pytest.mark.parametrize("address", ["http://127.0.0.1:9000", "file:keys.json"])
def test_an_authority_is_for_an_issuer_that_speaks_tls(tmp_path: Path, address: str) -> None:
    issuer = {"issuer": "https://i.example", "audiences": ["a"], "ca_file": "ca.pem"}
    assert _loaded(tmp_path, identity={"issuers": [issuer]})
    with pytest.raises(UnsafeConfigurationError, match=r"`identity\.issuers\[0\]\.ca_file`, and"):
        _loaded(tmp_path, identity={"issuers": [issuer | {"jwks_uri": address}]})
