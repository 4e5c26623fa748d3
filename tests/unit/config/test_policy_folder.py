from __future__ import annotations

from pathlib import Path

import pytest

from keystile.config.policy_folder import read_policy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "policy/main.yaml": "include: [common, teams/one.yaml]",
        "policy/common/labels.yaml": "labels: []",
        "policy/common/deep/masks.yaml": "include: [../labels.yaml]",
        "policy/common/shop.test.yaml": "tests: []",
        "policy/teams/one.yaml": "include: [../../outside.yaml, /etc/hostname, ../nowhere.yaml]",
        "policy/teams/two.yaml": "rules: []",
        "outside.yaml": "rules: []",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "policy")
    return tmp_path / "policy"


def test_a_file_brings_what_it_includes_and_no_more(folder: Path) -> None:
    found = read_policy(folder / "main.yaml")
    assert sorted(found) == [
        "common/deep/masks.yaml", "common/labels.yaml", "main.yaml", "teams/one.yaml"
    ]  # fmt: skip


@pytest.mark.parametrize("named", ["main.yaml", "./main.yaml", "../policy/main.yaml"])
def test_however_the_file_is_named_nothing_outside_of_its_folder_is_read(
    folder: Path, named: str
) -> None:
    assert read_policy(Path(named)) == read_policy(folder / "main.yaml")


def test_a_folder_is_all_of_its_files(folder: Path) -> None:
    assert sorted(read_policy(folder)) == [
        "common/deep/masks.yaml", "common/labels.yaml", "main.yaml", "teams/one.yaml",
        "teams/two.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "- a list", "include: 7", "include: [[a], 7]", "a: [", "&"])
def test_what_is_no_list_of_includes_is_left_to_who_compiles_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "main.yaml"
    file.write_text(text, encoding="utf-8")
    assert read_policy(file) == {"main.yaml": text}
