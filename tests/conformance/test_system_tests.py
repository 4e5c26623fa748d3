"""How the proof with the system tests of Google's client reads and compares their outcomes.

`script/prove system-tests` fetches and runs them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prove.clients.environments import LOCKS
from prove.system_tests.__main__ import compared
from prove.system_tests.refused import REFUSED
from prove.system_tests.suite import SUITE, pinned
from prove.system_tests.trial import Outcome, outcomes, ran

PASSED, FAILED, SKIPPED = Outcome("passed"), Outcome("failed", "403 no"), Outcome("skipped")
REPORT = """<testsuites><testsuite>
<testcase classname="tests.system.test_client.TestBigQuery" name="test_a" />
<testcase classname="tests.system.test_query" name="test_b[x]">
  <failure message="NotFound: 404&#10;  no such table">trace</failure></testcase>
<testcase classname="tests.system.test_query" name="test_c">
  <error message="failed on setup">trace</error></testcase>
<testcase classname="tests.system.test_query" name="test_d"><skipped message="no net" />
</testcase>
<testcase classname="tests.system.test_query" name="test_e" />
<testcase classname="tests.system.test_query" name="test_e"><error message="on teardown" />
</testcase>
</testsuite></testsuites>"""


def test_a_report_is_read() -> None:
    assert outcomes(REPORT) == {
        "test_client.TestBigQuery.test_a": PASSED,
        "test_query.test_b[x]": Outcome("failed", "NotFound: 404 no such table"),
        "test_query.test_c": Outcome("failed", "failed on setup"),
        "test_query.test_d": Outcome("skipped", "no net"),
        "test_query.test_e": Outcome("failed", "on teardown"),
    }


def test_what_passes_directly_alone_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    direct = {"a": PASSED, "b": PASSED, "c": PASSED, "d": FAILED, "e": SKIPPED, "f": PASSED}
    gateway = {"a": PASSED, "b": FAILED, "c": SKIPPED, "d": FAILED, "e": FAILED}
    figures = compared(direct, gateway)
    assert figures["lost"] == ["b", "c", "f"]
    assert figures["direct"] == {"passed": 4, "failed": 1, "skipped": 1}
    assert figures["gateway"] == {"passed": 1, "failed": 3, "skipped": 1}
    assert "b: 403 no\n" in capsys.readouterr().out


def test_what_is_refused_on_purpose_is_told_with_its_reason_and_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, why = next(iter(REFUSED.items()))
    figures = compared({name: PASSED}, {name: FAILED})
    assert (figures["refused"], figures["lost"], figures["served"]) == ([name], [], [])
    assert why in capsys.readouterr().out
    assert compared({name: PASSED}, {name: PASSED})["served"] == [name]


def test_the_tests_are_of_the_locked_client() -> None:
    name, *hashes = pinned().split("\n")[:-1]
    assert name.startswith("google-cloud-bigquery==")
    assert all("--hash=sha256:" in line for line in hashes)
    assert name in (LOCKS / "google-cloud-bigquery.txt").read_text()
    assert SUITE.kind == "python"


def test_tests_that_do_not_run_are_no_outcome(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": str(Path(sys.executable).parent)}
    with pytest.raises(RuntimeError, match="the tests did not run"):
        ran(tmp_path / "a" / "b", environment, ("--no-such-option",))
