from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keystile.cli.connecting import source_of, way_of
from keystile.identity.token_source import TokenSource
from keystile.model.errors import InvalidRequestError, UnsafeConfigurationError

URL = "https://metadata.example.com/token?audience=x"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((None, "", None, "", ""), None),
        ((Path("/t"), "", [], "", "f"), TokenSource(file="/t", field="f")),
        ((None, URL, ["A=b=c"], "", ""), TokenSource(url=URL, headers={"A": "b=c"})),
        ((None, "", None, "get-token now", ""), TokenSource(command="get-token now")),
    ],
)
def test_what_the_options_say_is_a_source(given: Any, wanted: TokenSource | None) -> None:
    assert source_of(*given) == wanted


def test_a_file_is_named_from_anywhere() -> None:
    found = source_of(Path("t"), "", None, "", "")
    assert found
    assert Path(found.file).is_absolute()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((Path("/t"), URL, None, "", ""), "one place only"),
        ((None, URL, None, "cmd", ""), "one place only"),
        ((Path("/t"), "", ["A=b"], "", ""), "nothing that --token-header"),
        ((None, "", None, "cmd", "f"), "nothing that --token-header or --token-field"),
        ((None, URL, ["A"], "", ""), "not a NAME=VALUE"),
        ((None, URL, ["A=1", "A=2"], "", ""), "not a NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_together_is_refused(given: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        source_of(*given)


def test_a_token_does_not_travel_unencrypted() -> None:
    with pytest.raises(UnsafeConfigurationError, match="without encryption"):
        source_of(None, "http://metadata.example.com/", None, "", "")


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal", "127.0.0.1:80"])
def test_a_clouds_metadata_server_is_asked_as_it_is(host: str) -> None:
    assert source_of(None, f"http://{host}/token?audience=x", None, "", "")


def test_without_its_configuration_a_gateway_is_named_by_its_address(tmp_path: Path) -> None:
    source, absent = TokenSource(file="/t"), tmp_path / "absent.yaml"
    way = way_of(absent, "https://gw.example.com/", "", source)
    assert (way.gateway, way.audience) == ("https://gw.example.com", "//keystile/agents")
    assert (way.source, way.issuer) == (source, None)
    with pytest.raises(UnsafeConfigurationError, match="cannot read the configuration"):
        way_of(absent, "", "", source)
