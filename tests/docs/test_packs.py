"""The packs hold their own tests, and the page lists each of them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from keystile.cli import app
from keystile.config.policy_folder import read_policy, read_policy_tests
from keystile.gate.policy_tests import PolicyTester
from keystile.googlesql.inline import InlineRunner
from keystile.policy.compile import assembled, compile_policy
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
def test_each_rule_that_refuses_or_asks_says_what_to_do(pack: Path) -> None:
    for file, text in read_policy(pack).items():
        for rule in parse(file, text).document.rules:
            assert rule.message or rule.allow, rule.name


@each_pack
async def test_nothing_of_a_pack_can_be_taken_away_without_a_test_that_fails(pack: Path) -> None:
    documents = {file: yaml.safe_load(text) for file, text in read_policy(pack).items()}
    places = [
        (file, word, number)
        for file, document in documents.items()
        for word in ("rules", "row_filters", "masks")
        for number in range(len(document.get(word, ())))
    ]
    assert places
    tests, engine = read_policy_tests(pack), InlineRunner()
    for file, word, number in places:
        less = copy.deepcopy(documents)
        taken = less[file][word].pop(number)
        # Without it another rule may never apply, which is not what its tests are asked for here.
        policy, _ = assembled({name: json.dumps(one) for name, one in less.items()})
        tester = PolicyTester(policy, engine, bytes(32))
        failed = [one async for one in tester.run(tests) if one.differences]
        assert failed, f"no test of `{pack.name}` needs {taken}"


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
