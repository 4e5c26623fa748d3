from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from keystile.googlesql import library
from keystile.model.errors import UnsafeConfigurationError


def test_only_the_archive_that_was_tested_is_unpacked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    other = tmp_path / "other.jar"
    other.write_bytes(b"PK something else")
    with pytest.raises(UnsafeConfigurationError, match="is not the archive that"):
        library.install(other)
    assert not library.installed()


@pytest.mark.parametrize("ask", [library.load, library.messages.__wrapped__])
def test_an_environment_without_the_engine_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: object
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(UnsafeConfigurationError, match="script/setup"):
        ask()  # type: ignore[operator]


def test_another_kind_of_machine_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(UnsafeConfigurationError, match="not on `linux` on `aarch64`"):
        library.load()


def test_it_names_what_to_fetch_only_where_that_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.prefix = sys.argv.pop()\n"
        "from keystile.googlesql import library; library.main()"
    )
    for prefix, printed in ((sys.prefix, ""), (str(tmp_path), f"{library.ARTIFACT}\n")):
        done = subprocess.run(
            [sys.executable, "-c", code, prefix], check=True, capture_output=True, text=True
        )
        assert done.stdout == printed


def test_the_messages_are_those_of_the_library() -> None:
    described = library._described(library.load())
    assert described == library.messages()
    assert "zetasql/parser/parse_tree.proto" in [file.name for file in described.file]
