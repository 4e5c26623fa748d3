from __future__ import annotations

import pytest

from keystile.config.listeners import Storage
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream


@pytest.mark.parametrize(
    ("url", "port", "domain"),
    [
        ("https://bigquery.gw.example", 8423, "gw.example"),
        ("https://bigquery.gw.example/", 8423, "gw.example"),
        ("https://bigquery.gw.example", 0, ""),
        ("https://bigquery.gw.example:8420", 8423, ""),
        ("https://bigquery.gw.example/path", 8423, ""),
        ("http://bigquery.gw.example", 8423, ""),
        ("https://gateway.example", 8423, ""),
        ("", 8423, ""),
    ],
)
def test_a_domain_has_both_apis_at_their_names_and_googles_port(
    url: str, port: int, domain: str
) -> None:
    upstream = Upstream(service_account_file="key.json")
    settings = Settings(upstream=upstream, public_url=url, storage=Storage(port=port))
    assert settings.domain == domain
