"""The packs hold their own tests, and the page lists each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keystile.cli import app
from keystile.config.policy_folder import read_policy
from keystile.policy.compile import compile_policy
from keystile.policy.parse import parse

ROOT = Path(__file__).parents[2]
PACKS = sorted(folder for folder in (ROOT / "examples" / "policies").iterdir() if folder.is_dir())

each_pack = pytest.mark.parametrize("pack", PACKS, ids=[pack.name for pack in PACKS])


@each_pack
def test_a_pack_holds_its_own_tests(pack: Path) -> None:
    done = CliRunner().invoke(app, ["policy", "test", str(pack)])
    assert done.exit_code == 0, done.stdout
    assert re.fullmatch(r"\d+ passed, 0 failed\n", done.stdout)


@each_pack
def test_each_rule_that_refuses_or_asks_says_what_to_do_and_is_tested(pack: Path) -> None:
    tests = (pack / "pack.test.yaml").read_text(encoding="utf-8")
    for file, text in read_policy(pack).items():
        for rule in parse(file, text).document.rules:
            if not rule.allow:
                assert rule.message, rule.name
                assert rule.name in tests or rule.limits or rule.name == "nothing-by-other-ways"


@each_pack
def test_a_pack_says_what_it_is_and_what_to_change_first(pack: Path) -> None:
    readme = (pack / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# ")
    assert "**Change first:**" in readme


def test_the_page_lists_every_pack() -> None:
    page = (ROOT / "docs" / "how-to" / "start-from-a-pack.md").read_text(encoding="utf-8")
    listed = re.findall(
        r"^\| \[`([a-z-]+)`\]\(\.\./\.\./examples/policies/\1/README.md\)", page, re.MULTILINE
    )
    assert sorted(listed) == [pack.name for pack in PACKS]


def test_packs_go_together() -> None:
    texts = {
        f"{pack.name}/{file}": text.replace("name: agents-read\n", f"name: {pack.name}-read\n")
        for pack in PACKS
        for file, text in read_policy(pack).items()
    }
    assert compile_policy(texts).digest
