from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from keystile.config.secret_places import Secret
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.source import SecretSource
from keystile.tls.from_settings import secrets_of


def source(folder: Path, **words: Any) -> SecretSource:
    settings = Settings(upstream=Upstream(service_account_file="key.json"), folder=folder)
    return secrets_of(settings).source(msgspec.convert(words, Secret))


async def test_a_file_counts_from_the_settings_folder_and_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"first")
    one = source(tmp_path, file="key")
    assert await one.read() == b"first"
    (tmp_path / "key").write_bytes(b"second")
    assert await one.read() == b"second"
    assert one.name == str(tmp_path / "key")


async def test_a_variable_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "planted")
    one = source(tmp_path, environment="A_SECRET")
    assert await one.read() == b"planted"
    assert one.name == "$A_SECRET"


@pytest.mark.parametrize("value", [None, ""])
async def test_a_variable_without_a_value_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("A_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("A_SECRET", value)
    with pytest.raises(UnsafeConfigurationError, match="variable `A_SECRET` is not set"):
        await source(tmp_path, environment="A_SECRET").read()


@pytest.mark.parametrize("words", [{}, {"file": ""}, {"file": "a", "environment": "B"}])
def test_a_secret_stands_in_exactly_one_place(words: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError, match="exactly one of `file`, `environment`"):
        msgspec.convert(words, Secret)
