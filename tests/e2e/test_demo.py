"""The demo with an issuer that is none of the gateway's; with the gateway's own, other tests go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from demo.journey import STEPS
from prove.clients.environments import AbsentError
from prove.identity.issuer import oidc_provider

ROOT = Path(__file__).parents[2]


def test_every_step_of_the_demo_is_right_with_an_external_issuer() -> None:
    try:
        with oidc_provider({}):
            pass
    except AbsentError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "demo.journey", "--once", "--issuer", "external"]
    wide = os.environ | {"COLUMNS": "500"}
    done = subprocess.run(
        command, cwd=ROOT, env=wide, capture_output=True, text=True, check=False, timeout=400
    )
    steps = json.loads(done.stdout.splitlines()[-1])["steps"]
    assert steps == {step.__name__: "ok" for step in STEPS}
    assert "knows them, the gateway 0" in done.stdout
