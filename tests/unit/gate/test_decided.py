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
    words = r"first reason \(rule `a`\); second reason \(rule `b`\)"
    with pytest.raises(RefusedError, match=words):
        refuse_denied(Decision(Effect.DENY, reasons, "p1"))
    refuse_denied(Decision(Effect.ALLOW, reasons, "p1"))
