"""The examples for CI, whose very commands are run as a runner runs them, against a gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import yaml
from prove.identity.presets import GITHUB, GITLAB, Example, signed, trusted
from tests.support.stack import ROOT, Stack

CI = ROOT / "examples" / "ci"
SECRET = "runner-secret"
CONDITIONS = {
    "github-actions": "assertion.repository == 'acme/shop' && assertion.ref == 'refs/heads/main'",
    "gitlab-ci": "assertion.project_path == 'acme/shop' && assertion.ref_protected == 'true'",
}


class Runner:
    """A runner with a repository in which a change is merged."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.repository = stack, folder, folder / "checkout"
        self.rule = f"nobody-exports-{uuid4().hex}"
        self.repository.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.email", "ci@example.com")
        self.git("config", "user.name", "ci")
        (self.repository / "policy").mkdir()
        for file in (ROOT / "examples" / "policy").glob("*.yaml"):
            (self.repository / "policy" / file.name).write_bytes(file.read_bytes())
        self.commit("what is there")
        self.git("checkout", "--quiet", "-b", "change")
        added = f"rules:\n- {{name: {self.rule}, deny: [export]}}\n"
        (self.repository / "policy" / "export.yaml").write_text(added, encoding="utf-8")
        self.commit("nobody exports")
        self.git("checkout", "--quiet", "main")
        self.git("merge", "--quiet", "--no-ff", "-m", "merge of #12", "change")
        self.base = self.git("rev-parse", "HEAD^1")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words],  # noqa: S607 - whichever there is
            cwd=self.repository,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", message)

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script with bash, which ends where any command of a pipe fails."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        known = {"PATH": path, "HOME": str(self.folder), "NO_COLOR": "1", **variables}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607
            cwd=self.repository,
            env=known,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def done(self, script: str, **variables: str) -> str:
        finished = self.run(script, **variables)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def newest(self) -> dict[str, Any]:
        versions: list[dict[str, Any]] = self.stack.json("policy", "history")["versions"]
        return versions[0] if versions else {"version": 0}

    @property
    def shown(self) -> str:
        """What a diff shows of the change."""
        return f"+ rule `{self.rule}` (`export.yaml` line 2)"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway that takes policies of both CIs; tests publish there one after the other."""
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(folder)
    issuers = [trusted(one, folder) for one in (GITHUB, GITLAB)]
    publishers = [
        {"issuer": one.claims["iss"], "condition": CONDITIONS[one.preset]}
        for one in (GITHUB, GITLAB)
    ]
    stack.configure(identity={"issuers": issuers}, publishing={"publishers": publishers})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def runner(stack: Stack, tmp_path: Path) -> Runner:
    return Runner(stack, tmp_path)


@pytest.fixture
def token_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve tokens as GitHub's runners do, with changes to the claims."""
    changes: dict[str, Any] = getattr(request, "param", {})

    class Tokens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            knows = self.headers["Authorization"] == f"bearer {SECRET}"
            (audience,) = parse_qs(urlsplit(self.path).query)["audience"]
            body = json.dumps({"value": signed(GITHUB, **({"aud": audience} | changes))}).encode()
            self.send_response(200 if knows else 401)
            self.end_headers()
            self.wfile.write(body if knows else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def github(job: str) -> dict[str, str]:
    """Give the scripts of a job's steps by name."""
    workflow = yaml.safe_load((CI / "github" / "policy.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"][job]["steps"]
    return {step["name"]: step["run"] for step in steps if "run" in step}


def gitlab(job: str) -> list[str]:
    """Give the lines of a job's script."""
    pipeline = yaml.safe_load((CI / "gitlab" / "policy.gitlab-ci.yml").read_text(encoding="utf-8"))
    lines: list[str] = pipeline[job]["script"]
    return lines


def github_variables(runner: Runner, token_url: str) -> dict[str, str]:
    return {
        "GATEWAY": runner.stack.url,
        "MESSAGE": "merge of #12\n\nnobody exports",
        "ACTIONS_ID_TOKEN_REQUEST_URL": token_url,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": SECRET,
    }


def test_github_shows_what_a_pull_request_changes(runner: Runner) -> None:
    steps, summary, before = github("review"), runner.folder / "summary.md", runner.newest()
    variables = {"RUNNER_TEMP": str(runner.folder), "GITHUB_STEP_SUMMARY": str(summary)}
    assert "the policy is valid" in runner.done(steps["Validate"])
    assert "0 failed" in runner.done(steps["Test"])
    runner.done(steps["Show what changes"], **variables)
    shown = (runner.folder / "diff.md").read_text(encoding="utf-8")
    assert f"\n```diff\n{runner.shown}\n```\n" in shown
    assert summary.read_text(encoding="utf-8") == shown
    assert "--body-file" in steps["Comment"]
    assert runner.newest() == before


def test_a_policy_that_its_tests_refuse_ends_the_review_and_is_not_published(
    runner: Runner, token_url: str
) -> None:
    before = runner.newest()
    (runner.repository / "policy" / "open.yaml").write_text(
        "rules:\n- {name: all, unmask: [pii.ssn, pii], allow: [read]}\n", encoding="utf-8"
    )
    assert runner.run(github("review")["Test"]).returncode == 1
    failed = runner.run(
        github("publish")["Test and publish"], **github_variables(runner, token_url)
    )
    assert failed.returncode == 1
    assert "tests of the policy" in failed.stderr
    assert runner.newest() == before


def test_github_publishes_what_is_merged(runner: Runner, token_url: str) -> None:
    script = github("publish")["Test and publish"]
    said = runner.done(script, **github_variables(runner, token_url))
    newest = runner.newest()
    assert runner.shown in said
    assert f"version {newest['version']} holds on every gateway within 5 seconds" in said
    assert newest["author"].startswith("sample-person by repo:acme/shop:environment:production at")
    assert newest["message"].startswith("merge of #12")
    again = runner.done(script, **github_variables(runner, token_url))
    assert "says the same already" in again
    assert runner.newest() == newest


@pytest.mark.parametrize(
    ("token_url", "words"),
    [
        ({"repository": "acme/other"}, "the condition on who may publish"),
        ({"aud": "//keystile/agents"}, "for the audience `//keystile/agents`"),
    ],
    indirect=["token_url"],
)
def test_what_is_no_merge_publishes_nothing(runner: Runner, token_url: str, words: str) -> None:
    script, before = github("publish")["Test and publish"], runner.newest()
    refused = runner.run(script, **github_variables(runner, token_url))
    assert refused.returncode == 1
    assert words in refused.stderr
    assert runner.newest() == before


def test_gitlab_shows_what_changes_and_publishes_what_is_merged(runner: Runner) -> None:
    variables = {
        "CI_PROJECT_DIR": str(runner.repository),
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": runner.base,
        "KEYSTILE_GATEWAY": runner.stack.url,
        "KEYSTILE_TOKEN": _gitlab_token(GITLAB),
        "CI_COMMIT_TITLE": "merge of !12",
        "CI_COMMIT_SHORT_SHA": "01234567",
    }
    # The base is here already, and there is no server to fetch it from.
    review = [line for line in gitlab("policy-review") if not line.startswith("git fetch")]
    assert len(review) == len(gitlab("policy-review")) - 1
    runner.done("\n".join(review), **variables)
    shown = (runner.repository / "policy-diff.txt").read_text(encoding="utf-8")
    assert shown == f"{runner.shown}\n"
    runner.done("\n".join(gitlab("policy-publish")), **variables)
    newest = runner.newest()
    assert newest["message"] == "merge of !12 (01234567)"
    assert newest["author"].startswith("sample-person by project_path:acme/shop")
    token = Path(f"{runner.repository}.token")
    assert token.stat().st_mode & 0o077 == 0


def _gitlab_token(example: Example) -> str:
    pipeline = yaml.safe_load((CI / "gitlab" / "policy.gitlab-ci.yml").read_text(encoding="utf-8"))
    audience = pipeline["policy-publish"]["id_tokens"]["KEYSTILE_TOKEN"]["aud"]
    return signed(example, aud=audience)
