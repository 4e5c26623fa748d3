from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.deciding import masking_key
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.sources import Secrets


def settings_in(folder: Path, **more: object) -> Settings:
    file = folder / "keystile.yaml"
    upstream = {"service_account_file": "key.json"}
    file.write_text(json.dumps({"upstream": upstream, **more}), encoding="utf-8")
    return load(file)


async def key_of(settings: Settings) -> bytes:
    return await masking_key(settings, Secrets(settings))


async def test_the_masking_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    key = await key_of(settings)
    assert len(key) == 64
    assert await key_of(settings) == key
    file = settings.data_folder / "masking-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in settings.data_folder.iterdir()] == ["masking-key"]


@pytest.mark.parametrize("key", ["", "short", "x" * 65])
async def test_a_masking_key_of_an_unsafe_size_is_refused_clearly(tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(key, encoding="ascii")
    settings = settings_in(tmp_path, masking_key_file="key")
    with pytest.raises(UnsafeConfigurationError, match=r"not 32 to 64|is empty"):
        await key_of(settings)


async def test_the_masking_key_may_stand_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, masking_key={"environment": "MASKING_KEY"})
    monkeypatch.setenv("MASKING_KEY", "short")
    with pytest.raises(UnsafeConfigurationError, match=r"in `\$MASKING_KEY` is 5 bytes long"):
        await key_of(settings)
    monkeypatch.setenv("MASKING_KEY", "k" * 32 + "\n")
    assert await key_of(settings) == b"k" * 32
    assert not settings.data_folder.exists()


def test_two_masking_keys_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(UnsafeConfigurationError, match="both `masking_key` and"):
        settings_in(tmp_path, masking_key={"file": "one"}, masking_key_file="other")
