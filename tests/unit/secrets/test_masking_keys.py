from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets import masking_keys
from keystile.secrets.masking_keys import MaskingKeys
from keystile.tls.from_settings import secrets_of


def settings_in(folder: Path, **more: object) -> Settings:
    file = folder / "keystile.yaml"
    upstream = {"service_account_file": "key.json"}
    file.write_text(json.dumps({"upstream": upstream, **more}), encoding="utf-8")
    return load(file)


async def key_of(settings: Settings) -> bytes:
    return await (await opened(settings)).key("")


async def opened(settings: Settings) -> MaskingKeys:
    keys = MaskingKeys(settings, secrets_of(settings))
    await keys.open()
    return keys


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


async def test_each_name_has_its_own_key(tmp_path: Path) -> None:
    (tmp_path / "sales").write_bytes(b"s" * 32)
    keys = await opened(settings_in(tmp_path, masking_keys={"sales": {"file": "sales"}}))
    assert await keys.key("sales") == b"s" * 32
    assert len(await keys.key("")) == 64
    with pytest.raises(UnsafeConfigurationError, match="no masking key `other`"):
        await keys.key("other")


def test_a_name_that_no_policy_can_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeConfigurationError):
        settings_in(tmp_path, masking_keys={"No-Name": {"file": "x"}})


async def test_a_key_is_replaced_in_service_and_a_half_written_one_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"a" * 32)
    keys = await opened(settings_in(tmp_path, masking_key_file="key"))
    for half in (b"", b"b" * 31):
        file.write_bytes(half)
        assert await keys.key("") == b"a" * 32, "no query is lost"
    file.unlink()
    assert await keys.key("") == b"a" * 32
    file.write_bytes(b"b" * 33)
    assert await keys.key("") == b"b" * 33
    file.unlink()
    monkeypatch.setattr(masking_keys, "OUTAGE_SECONDS", -1)
    with pytest.raises(UnsafeConfigurationError, match="cannot read"):
        await keys.key("")


async def test_neither_logs_nor_errors_hold_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    planted = ["planted-one-" * 3, "planted-two-" * 3, "planted-long-" * 9]
    file.write_text(planted[0], encoding="ascii")
    keys = await opened(settings_in(tmp_path, masking_key_file="key"))
    for key in planted[1:]:
        file.write_text(key, encoding="ascii")
        await keys.key("")
    printed = "".join(capsys.readouterr())
    assert "masking_key_replaced" in printed
    assert "masking_key_not_replaced" in printed
    assert "planted" not in printed + repr(keys.__dict__)
