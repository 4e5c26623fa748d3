from __future__ import annotations

import pytest

from keystile.config.urls import is_loopback, require_safe_url
from keystile.model.errors import UnsafeConfigurationError


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.test", "127.0.0.1.test", "::", ""])
def test_other_machines(host: str) -> None:
    assert not is_loopback(host)


def test_clear_text_is_for_this_machine_only() -> None:
    require_safe_url("https://a.test/x", "`s`")
    require_safe_url("http://[::1]:1/x", "`s`")
    with pytest.raises(UnsafeConfigurationError, match="`s` would be used without encryption"):
        require_safe_url("http://a.test", "`s`")


@pytest.mark.parametrize(
    "url", ["", "a.test", "file:///x", "https://", "https://u@a.test", "https://[", "https://a:b"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match="not a plain"):
        require_safe_url(url, "`s`")


def test_a_query_is_allowed_only_where_said() -> None:
    require_safe_url("https://a.test/keys?policy=p", "`s`", query_allowed=True)
    with pytest.raises(UnsafeConfigurationError, match="not a plain"):
        require_safe_url("https://a.test/keys?policy=p", "`s`")
