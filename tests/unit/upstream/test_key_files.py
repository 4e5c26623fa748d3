from __future__ import annotations

import stat
from pathlib import Path

import pytest

from keystile.model.errors import UnsafeConfigurationError
from keystile.upstream.key_files import KeyFiles


def test_only_the_owner_can_read_a_key(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path / "data")
    written = files.write("reports", "k1", b"key")
    assert written == tmp_path / "data" / "connections" / "reports" / "k1.json"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700
    assert [*written.parent.iterdir()] == [written]
    assert files.read("reports", "k1") == b"key"
    files.remove("reports", "k1")
    files.remove("reports", "k1")
    with pytest.raises(UnsafeConfigurationError, match="cannot read"):
        files.read("reports", "k1")


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UnsafeConfigurationError, match="cannot write"):
        KeyFiles(tmp_path / "data").write("reports", "k1", b"key")
