from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keystile.cli import app
from keystile.cli.common import run
from keystile.cli.store import database
from keystile.config.load import load
from keystile.gate.policy_versions import Draft, PolicyVersions

OLD = "rules:\n- {name: read, allow: [read]}\n"
NEW = "rules:\n- {name: read, allow: [read], message: look only}\n- {name: more, deny: [write]}\n"
TESTS = """
project: p
tables: {d.t: {n: INT64}}
tests:
- {name: reading goes, sql: SELECT n FROM d.t, expect: {effect: EFFECT}}
"""


class Machine:
    """A gateway's machine: its settings, its folder and a draft beside."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "keystile.yaml"
        self.config.write_text("upstream: {service_account_file: key.json}", encoding="utf-8")
        self.folder, self.draft = folder / "policy", folder / "draft"
        self.write(self.folder, OLD)
        self.write(self.draft, NEW)

    def write(self, folder: Path, text: str, name: str = "rules.yaml") -> None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["policy", *words, "--config", str(self.config)])

    def done(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.done(*words, "--json"))

    def publish(self, text: str) -> None:
        """Publish behind the back of whatever would check it."""

        async def published() -> None:
            async with database(load(self.config)) as store:
                draft = Draft({"rules.yaml": text}, "d", "bob", "later", "cli")
                await PolicyVersions(store).publish(draft, expect=None, first=None)

        run(published())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.chdir(tmp_path)
    return Machine(tmp_path)


def test_a_policy_is_shown_published_listed_and_rolled_back(machine: Machine) -> None:
    assert "nothing is published" in machine.done("history")
    shown = "+ rule `more` (`rules.yaml` line 3)\n~ rule `read` (`rules.yaml` line 2): `message`"
    assert machine.done("diff", "draft").startswith(shown)
    said = machine.done("apply", "draft", "-m", "no writing")
    assert shown in said
    assert "version 2 holds on every gateway within 5 seconds" in said
    assert "the folder of the settings does not count any more" in said
    listed = machine.json("history")
    assert listed["active"] == 2
    assert listed["folder_differs"] is True
    newest, first = listed["versions"]
    assert (newest["author"], newest["message"]) == (getpass.getuser(), "no writing")
    assert first["via"] == "folder"
    assert "the folder of the settings says something else" in machine.done("history")
    assert "- rule `more`" in machine.done("rollback", "1", "-m", "they must write")
    newest = machine.json("history")["versions"][0]
    assert (newest["version"], newest["restores"]) == (3, 1)
    assert newest["digest"] == first["digest"]
    history = machine.done("history")
    assert "3 (holds)" in history
    assert "they must write (as version 1)" in history
    assert "says something else" not in history


def test_tests_beside_the_policy_that_fail_keep_it_back(machine: Machine) -> None:
    assert "there are no tests" in machine.done("apply", "draft", "-m", "m", "--dry-run")
    machine.write(machine.draft, TESTS.replace("EFFECT", "deny"), "a.test.yaml")
    refused = machine.run("apply", "draft", "-m", "m")
    assert refused.exit_code == 1
    assert "FAILED `a.test.yaml` line 5: reading goes" in refused.stdout
    assert "of 1 tests of the policy 1 failed" in refused.stderr
    assert machine.json("history")["versions"] == []
    machine.write(machine.draft, TESTS.replace("EFFECT", "allow"), "a.test.yaml")
    assert "version 2 holds" in machine.done("apply", "draft", "-m", "m")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("apply", "draft", "-m", "m", "--expect", "4"), "version 0 of the policy holds, not 4"),
        (("apply", "draft", "-m", " "), "the message of a version has 1 to 2000 characters"),
        (("apply", "draft", "-m", "m", "--token-file", "t"), "give --gateway"),
        (("apply", "draft", "-m", "m", "--gateway", "http://127.0.0.1:9"), "with a token"),
        (("rollback", "7", "-m", "m"), "there is no version 7 of the policy"),
        (("diff", "1", "2"), "there is no version 1 of the policy"),
        (("diff", "nowhere"), "there is no policy in `nowhere`"),
    ],
)
def test_what_cannot_be_done_is_said(
    machine: Machine, words: tuple[str, ...], message: str
) -> None:
    refused = machine.run(*words)
    assert refused.exit_code == 1
    assert message in refused.stderr
    assert machine.json("history")["versions"] == []


def test_a_dry_run_and_what_holds_already_publish_nothing(machine: Machine) -> None:
    assert "nothing is published" in machine.done("apply", "draft", "-m", "m", "--dry-run")
    assert machine.json("history")["active"] == 0
    assert machine.json("apply", "draft", "-m", "m")["published"] is True
    assert "says the same already" in machine.done("apply", "draft", "-m", "again")
    assert machine.json("history")["active"] == 2


def test_two_folders_are_compared_without_a_configuration(machine: Machine) -> None:
    machine.config.unlink()
    arguments = ["policy", "diff", "policy", "draft"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    added, changed = json.loads(done.stdout)
    assert (added["change"], added["kind"], added["name"]) == ("added", "rule", "more")
    assert changed["words"][0][:3] == ["message", "", '"look only"']
    assert CliRunner().invoke(app, [*arguments, "--exit-code"]).exit_code == 3
    same = CliRunner().invoke(app, ["policy", "diff", "draft", "draft", "--exit-code"])
    assert (same.exit_code, same.stdout) == (0, "no difference in meaning\n")


def test_versions_are_compared_with_each_other_and_with_folders(machine: Machine) -> None:
    machine.done("apply", "draft", "-m", "m")
    assert machine.done("diff", "1", "2").startswith("+ rule `more`")
    assert machine.done("diff", "2", "1").startswith("- rule `more`")
    assert machine.done("diff").startswith("- rule `more`")
    assert machine.done("diff", "draft") == "no difference in meaning\n"
    assert machine.done("diff", "draft", "1").startswith("- rule `more`")


def test_a_version_that_cannot_be_read_is_said_and_can_be_replaced(machine: Machine) -> None:
    machine.publish("of_later: 1")
    assert "cannot be compared: `rules.yaml`" in machine.done("apply", "draft", "-m", "m")
    assert machine.json("history")["active"] == 2
