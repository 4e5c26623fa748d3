from __future__ import annotations

from bench.detectors import ENTITY_OF, ours, score

from keystile.detecting.entities import ENTITIES
from keystile.detecting.finder import Finder


def test_recall_and_precision_by_entity() -> None:
    labelled = [[("ssn", 3, 14), ("email", 20, 25)], [("ssn", 0, 11)]]
    found = [[("ssn", 3, 14), ("phone", 3, 14), ("email", 21, 25)], [("ip", 50, 60)]]
    figures = score(labelled, found)
    assert figures["ssn"] == {"values": 2, "recall": 0.5, "precision": 1.0}
    assert figures["email"] == {"values": 1, "recall": 0.0, "precision": 1.0}
    assert figures["ip"] == {"values": 0, "recall": None, "precision": 0.0}


def test_places_are_in_characters() -> None:
    _, marks = ours(Finder(ENTITIES), ["\u00e9\u00e9 123-45-6789", "nothing"])
    assert marks == [[("ssn", 3, 14)], []]


def test_both_look_for_entities_that_there_are() -> None:
    assert set(ENTITY_OF.values()) <= ENTITIES.keys()
