from __future__ import annotations

from typing import get_args

from keystile.detecting.entities import ENTITIES
from keystile.policy.document import EntityName


def test_the_policys_words_are_the_entities() -> None:
    assert set(get_args(EntityName)) == ENTITIES.keys()
