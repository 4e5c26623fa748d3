from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from keystile.recording.asked import AskedQueries, Wanted
from keystile.recording.decided import ShadowBody
from keystile.recording.events import Event, EventKind
from keystile.recording.shadows import ShadowSummary
from keystile.recording.writer import canonical, claim


def intent(at: float, agent: str, *shadows: tuple[str, str, bool], script: bool = False) -> Event:
    told = [{"rule": rule, "would": would, "failed": failed} for rule, would, failed in shadows]
    body = {"decision": {"effect": "allow", "shadows": told}}
    request = {"request": {"script": "j"}} if script else {}
    return Event(EventKind.INTENT, at, f"run-{at:.0f}", agent, body={**body, **request})


async def test_what_each_rule_would_have_done_is_counted(tmp_path: Path) -> None:
    writer = claim(tmp_path, segment_bytes=1 << 20)
    events = (
        intent(1.0, "a", ("no", "refuse", False), ("ask", "ask", True)),
        intent(2.0, "b", ("no", "refuse", True)),
        intent(3.0, "b", ("no", "nothing", True)),
        intent(4.0, "c"),
        intent(5.0, "a", ("no", "refuse", False), script=True),
    )
    writer.append([canonical(event) for event in events])
    writer.close()
    summary = ShadowSummary()
    async for batch in AskedQueries(tmp_path).batches(Wanted(0.0, 9.0)):
        summary.add(batch)
    ask, no = summary.rules
    assert (summary.queries, ask.rule, no.rule) == (4, "ask", "no")
    assert (+no.would, no.failed, no.agents) == (Counter(refuse=2), 2, {"a", "b"})
    assert (no.first_at, no.last_at, no.session) == (1.0, 3.0, "run-3")
    assert (ask.would["ask"], ask.failed) == (1, 1)


@pytest.mark.parametrize(
    ("shadow", "words"),
    [
        (ShadowBody(would="refuse", message="not here"), "would refuse: not here"),
        (ShadowBody(would="mask", columns=("a", "b")), "would mask: a, b"),
        (ShadowBody(would="nothing", failed=True), "its condition could not be evaluated"),
        (
            ShadowBody(would="ask", failed=True),
            "would ask, its condition could not be evaluated",
        ),
    ],
)
def test_each_is_said_in_words(shadow: ShadowBody, words: str) -> None:
    assert shadow.words == words
