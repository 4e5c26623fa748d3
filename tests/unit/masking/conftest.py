from __future__ import annotations

import pytest
from prove.trial import Court

from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner


@pytest.fixture(scope="session")
def court() -> Court:
    return Court(InlineRunner(), Engine())
