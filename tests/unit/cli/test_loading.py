"""A command takes no time for what it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.stack import ROOT

STORE, CLIENT, GATEWAY = "sqlalchemy", "aiohttp", "keystile.gate.planning"
CONDITIONS = "cel_expr_python"
UNUSED = {
    "agent": [CONDITIONS, GATEWAY],
    "approvals": [CLIENT],
    "person": [CLIENT, CONDITIONS],
    "policy_validate": [STORE, CLIENT, GATEWAY],
    "sandbox": [STORE, CLIENT, GATEWAY],
    "sessions": [STORE, CLIENT, GATEWAY],
}


@pytest.mark.parametrize("module", UNUSED)
def test_a_command_loads_nothing_that_it_does_not_use(module: str) -> None:
    program = f"import sys, keystile.cli.{module}\nprint(*sys.modules)"
    loaded = _python(program).stdout.split()
    assert f"keystile.cli.{module}" in loaded
    assert not {*UNUSED[module]} & {*loaded}


def test_validating_a_policy_loads_no_other_command_of_its_group(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: []")
    program = (
        "import sys\nfrom keystile import cli\n"
        f"sys.argv = ['keystile', 'policy', 'validate', {str(tmp_path)!r}]\n"
        "try:\n    cli.main()\nfinally:\n    print(*sys.modules)"
    )
    done = _python(program)
    assert done.stdout.startswith("the policy is valid")
    loaded = {one for one in done.stdout.split() if one.startswith("keystile.cli.policy")}
    assert loaded == {"keystile.cli.policy", "keystile.cli.policy_validate"}


def _python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
