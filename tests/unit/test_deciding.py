from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from keystile import deciding
from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.deciding import PolicySource, masking_key
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.sources import Secrets

FILTER = "row_filters:\n- {{name: f, tables: [p.d.t], where: '{}'}}\n"
RULES = "rules:\n- {name: a, allow: [read]}\n"


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


async def test_a_changed_policy_takes_its_place_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "_POLICY_SECONDS", 0.01)
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    source = PolicySource(tmp_path, InlineRunner())
    await source.check()
    first = source.current().digest
    following = asyncio.ensure_future(source.follow())
    try:
        file.write_text("rules: [nonsense", encoding="utf-8")
        await asyncio.sleep(0.1)
        assert source.current().digest == first
        file.write_text(f"{RULES}{FILTER.format('a) OR (b')}", encoding="utf-8")
        await asyncio.sleep(0.2)
        assert source.current().digest == first
        file.write_text(RULES.replace("read", "write"), encoding="utf-8")
        async with asyncio.timeout(5):
            while source.current().digest == first:  # noqa: ASYNC110 - a file, not an event
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_half_a_file_that_is_being_written_is_no_policy(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    source = PolicySource(tmp_path, InlineRunner())
    first = source.current().digest
    after = f"{RULES}{FILTER.format('TRUE')}"
    for written in ("", RULES.replace("read", "write"), after):
        file.write_text(written, encoding="utf-8")
        await source._follow_once()
        assert source.current().digest == first
    await source._follow_once()
    assert source.current().digest == PolicySource(tmp_path, InlineRunner()).current().digest
    assert source.current().digest != first


async def test_a_row_filter_that_is_no_condition_stops_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(FILTER.format("a) OR (b"), encoding="utf-8")
    with pytest.raises(
        UnsafeConfigurationError, match=r"`rules.yaml` line \d: row filter `f`: it is no single"
    ):
        await PolicySource(tmp_path, InlineRunner()).check()
