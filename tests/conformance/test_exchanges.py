"""Google's own library for Python exchanges tokens of a real issuer, from each place of them.

`script/prove identity` tries the libraries for Node and Go as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from prove.clients.environments import AbsentError
from prove.identity import sources
from prove.identity.exchanges import exchanges
from prove.identity.libraries import LIBRARIES
from prove.identity.stage import standing


def test_tokens_are_exchanged_from_every_source_and_refusals_are_read_at_once(
    tmp_path: Path,
) -> None:
    try:
        with standing(tmp_path) as stage, sources.standing(tmp_path / "sources") as found:
            tried = [*exchanges(stage, found, LIBRARIES[:1], small=True)]
    except AbsentError as error:
        pytest.skip(str(error))
    assert [one.fault for one in tried] == [""] * 9
    assert sum(one.refusal for one in tried) == 3
    # A client that tried again in silence would hold its agent up.
    assert {one.attempts for one in tried} == {1}
