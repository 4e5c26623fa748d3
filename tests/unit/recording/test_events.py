from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from keystile.recording import decided, events, own_events, people_events, query_events
from keystile.recording.events import Event, EventKind

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "recording.md"
KINDS = (events, decided, query_events, people_events, own_events)
BODIES = {
    one
    for kind in KINDS
    for one in vars(kind).values()
    if isinstance(one, type) and issubclass(one, msgspec.Struct)
}


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_is_in_the_reference(kind: EventKind) -> None:
    assert f"| `{kind}` |" in REFERENCE.read_text()


@pytest.mark.parametrize("body", sorted(BODIES, key=str))
def test_every_field_is_in_the_reference(body: type[msgspec.Struct]) -> None:
    text = REFERENCE.read_text()
    assert [name for name in body.__struct_fields__ if f"`{name}`" not in text] == []


def test_an_old_event_without_newer_fields_reads() -> None:
    assert msgspec.json.decode(b'{"kind":"viewed","at":1}', type=Event) == Event(
        EventKind.VIEWED, 1.0
    )
