"""A small `script/prove identity`: with Google's own library for Python, as it is here."""

from __future__ import annotations

import pytest
from prove.clients.environments import AbsentError
from prove.identity.__main__ import SMALL, run
from prove.identity.attacks import ATTACKS
from prove.identity.presets import EXAMPLES, OTHERS
from prove.identity.thefts import THEFTS

SOURCES = 6
"""A file and an address, each with the token as text and in JSON, and a program of either type."""


def test_agents_sign_in_attacks_are_refused_keys_rotate_and_the_kill_switch_works() -> None:
    try:
        figures, faults = run(SMALL)
    except AbsentError as error:
        pytest.skip(str(error))
    assert faults == []
    assert figures["presets"] == len(EXAMPLES) == 9
    assert figures["exchanges"] == SOURCES
    # A client that tried again in silence would hold its agent up.
    assert figures["attempts"] == {"google-auth": 1}
    tried = len(ATTACKS) + len(OTHERS) + len(EXAMPLES) + len(THEFTS)
    assert figures["attacks"] == figures["attacks_refused"] == tried
    assert figures["rotation_queries"] > 0
    assert figures["rotation_failures"] == 0
    assert figures["kill_seconds"] < 5
