from __future__ import annotations

import pytest

from keystile.gate.decided import refuse_denied
from keystile.model.decision import Decision, Effect, Reason
from keystile.model.errors import RefusedError


def test_a_denial_tells_every_reason_with_its_rule() -> None:
    reasons = (
        Reason("a", Effect.DENY, "first reason."),
        Reason("b", Effect.DENY, "second reason"),
    )
    words = r"first reason \(rule `a`\); second reason \(rule `b`\); ask the owner of the policy if"
    with pytest.raises(RefusedError, match=words):
        refuse_denied(Decision(Effect.DENY, reasons, "p1"))
    refuse_denied(Decision(Effect.ALLOW, reasons, "p1"))


@pytest.mark.parametrize("message", ["no; ask us", "No. Ask us.", "closed: see the wiki"])
def test_an_author_who_says_what_to_do_is_left_alone(message: str) -> None:
    reasons = (Reason("a", Effect.DENY, "closed"), Reason("b", Effect.DENY, message))
    with pytest.raises(RefusedError, match=r"\(rule `b`\)$"):
        refuse_denied(Decision(Effect.DENY, reasons, "p1"))
    with pytest.raises(RefusedError, match=r"\(rule `a`\); this would be allowed: SELECT 1$"):
        refuse_denied(Decision(Effect.DENY, reasons[:1], "p1"), "SELECT 1")
