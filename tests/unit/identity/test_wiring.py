from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keystile.config.settings import BuiltinIssuer, Issuer, Settings
from keystile.identity.wiring import build, builtin_issuer, issuer_url
from keystile.model.errors import UnsafeConfigurationError
from keystile.store.database import Database


def test_the_built_in_issuer_is_named_after_the_gateway(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> None:
    identity = build(settings(), database)
    assert identity.builtin
    assert identity.builtin.url == issuer_url(settings()) == "http://127.0.0.1:8420/issuer"
    assert (tmp_path / "keystile-data" / "issuer-key.pem").exists()


def test_a_disabled_built_in_issuer_makes_no_key(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> None:
    disabled = settings(builtin_issuer=BuiltinIssuer(enabled=False))
    assert build(disabled, database).builtin is None
    assert not (tmp_path / "keystile-data").exists()
    with pytest.raises(UnsafeConfigurationError, match="built-in issuer is disabled"):
        builtin_issuer(disabled)


@pytest.mark.parametrize(
    ("trusted", "message"),
    [
        (Issuer(issuer="http://127.0.0.1:8420/issuer", audiences=["a"]), "configured twice"),
        (Issuer(issuer="http://issuer.test", audiences=["a"]), "without encryption"),
        (Issuer(issuer="https://i.test", audiences=["a"], algorithms=["HS256"]), "`HS256`"),
        (Issuer(issuer="https://i.test", audiences=[]), "has no audience"),
    ],
)
def test_an_unsafe_issuer_does_not_start(
    settings: Callable[..., Settings], database: Database, trusted: Issuer, message: str
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=message):
        build(settings(issuers=[trusted]), database)
