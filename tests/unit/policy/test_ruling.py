from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.decision import ApprovalDemand, ColumnMask, Decision, Effect, Reason
from keystile.model.facts import Action, ColumnUse, QueryFacts, Use
from keystile.model.masks import DefaultMask, KeepLastMask
from keystile.model.schema import ColumnRef, TableId
from keystile.policy.ruling import (
    Demanded,
    Filtered,
    Kind,
    Masked,
    Ruling,
    change,
    demanded,
    mask_words,
    ruling_of,
)

SSN = Masked("p.d.t.ssn", "pii", "default")
OPEN = Ruling("allow", ("read",))
MASKED = Ruling("allow", ("read",), masked=(SSN,))
OTHER = Ruling("allow", ("read",), masked=(Masked("p.d.t.ssn", "pii", "null"),))
OWN = Ruling("allow", ("read",), row_filters=(Filtered("p.d.t", "own", "id = 1"),))
OWN_OTHER = Ruling("allow", ("read",), row_filters=(Filtered("p.d.t", "own", "id = 2"),))
ASKED = Ruling("require_approval", ("raw",), demands=(Demanded("raw", "1 person of stewards"),))
ASKED_OTHER = Ruling("require_approval", ("raw",), demands=(Demanded("raw", "2 people of x"),))
DENIED = Ruling("deny", ("no",))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (OPEN, DENIED, Kind.REFUSED),
        (ASKED, Ruling("not_found"), Kind.REFUSED),
        (DENIED, MASKED, Kind.ALLOWED),
        (Ruling("not_found"), ASKED, Kind.ALLOWED),
        (MASKED, OPEN, Kind.UNMASKED),
        (OPEN, MASKED, Kind.MASKED),
        (MASKED, OTHER, Kind.REMASKED),
        (OWN, OPEN, Kind.UNFILTERED),
        (OPEN, OWN, Kind.FILTERED),
        (OWN, OWN_OTHER, Kind.REFILTERED),
        (OPEN, ASKED, Kind.ASKED),
        (ASKED, OPEN, Kind.UNASKED),
        (ASKED, ASKED_OTHER, Kind.ASKED_OTHERWISE),
    ],
)
def test_each_difference_has_its_kind(before: Ruling, after: Ruling, kind: Kind) -> None:
    found = change(before, after)
    assert found
    assert found.kind is kind
    assert (found.before, found.after) == (before.effect, after.effect)


@pytest.mark.parametrize("ruling", [OPEN, MASKED, OWN, ASKED, DENIED, Ruling("not_found")])
def test_what_stays_the_same_is_no_change(ruling: Ruling) -> None:
    assert change(ruling, ruling) is None
    assert change(ruling, msgspec.structs.replace(ruling, rules=("other",))) is None


def test_what_stays_refused_is_no_change_whatever_refuses_it() -> None:
    assert change(DENIED, Ruling("not_found")) is None
    assert change(Ruling("invalid"), DENIED) is None


def test_what_shows_more_comes_before_what_shows_less() -> None:
    both = msgspec.structs.replace(OPEN, masked=(Masked("p.d.t.email", "pii", "default"),))
    found = change(MASKED, both)
    assert found
    assert found.kind is Kind.UNMASKED
    assert (found.unmasked, found.masked) == ((SSN,), both.masked)


def test_the_rules_that_take_part_now_and_those_that_no_longer_do_are_named() -> None:
    found = change(OPEN, DENIED)
    assert found
    assert (found.fires, found.rests) == (("no",), ("read",))


def test_what_is_newly_allowed_tells_what_is_masked_in_it() -> None:
    found = change(DENIED, MASKED)
    assert found
    assert found.masked == (SSN,)


def test_a_ruling_has_the_masks_of_what_is_used_and_a_denial_has_none() -> None:
    table = TableId("p", "d", "t")
    used, other = ColumnRef(table, ("ssn",)), ColumnRef(table, ("email",))
    facts = QueryFacts(
        "SELECT", (Action.READ,), (table,), columns=(ColumnUse(used, (Use.FILTER,)),)
    )
    reasons = (Reason("read", Effect.ALLOW, ""),) * 2
    masks = tuple(ColumnMask(one, "pii", DefaultMask()) for one in (other, used))
    made: dict[str, Any] = {"masks": masks, "reasons": reasons, "policy_digest": "1"}
    assert ruling_of(Decision(Effect.ALLOW, **made), facts) == MASKED
    assert ruling_of(Decision(Effect.DENY, **made), facts) == Ruling("deny", ("read",))


def test_masks_and_demands_are_said_in_words() -> None:
    assert mask_words(KeepLastMask(4)) == "keep_last (count 4)"
    assert mask_words({"kind": "null"}) == "null"
    demand = ApprovalDemand("raw", ("stewards", "owners"), 2, 1800, ("pii",))
    assert demanded(demand) == Demanded(
        "raw", "2 people of stewards or owners within 1800 s", ("pii",)
    )
