from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.approvals.machine import (
    ApprovalRequest,
    ApprovalState,
    Person,
    Summary,
    Vote,
    cast,
    close,
)
from keystile.model.decision import ApprovalDemand
from keystile.model.errors import RefusedError
from keystile.model.principal import Principal

PRINCIPAL = Principal("https://issuer", "agent-7", "demo-agent", "s1", on_behalf_of="dana")


def request(count: int = 2, approvers: tuple[str, ...] = ("data-stewards",)) -> ApprovalRequest:
    return ApprovalRequest(
        id="r1",
        job="j1",
        digest="d",
        session="s1",
        principal=PRINCIPAL,
        summary=Summary("SELECT 1"),
        demand=ApprovalDemand("raw-pii", approvers, count, 600),
        state=ApprovalState.PENDING,
        requested_at=0.0,
        expires_at=600.0,
    )


def voted(
    found: ApprovalRequest, name: str, *groups: str, approve: bool = True, at: float = 1.0
) -> ApprovalRequest:
    person = Person(name, groups or ("data-stewards",))
    return cast(found, person, Vote(name, approve, "", "cli", at))


def test_a_quorum_of_distinct_people_approves() -> None:
    once = voted(request(), "ann")
    assert (once.state, once.missing) == (ApprovalState.PENDING, 1)
    twice = voted(once, "ann", at=2.0)
    assert (twice.state, twice.missing, len(twice.votes)) == (ApprovalState.PENDING, 1, 1)
    done = voted(twice, "bob", at=3.0)
    assert (done.state, done.closed_at) == (ApprovalState.APPROVED, 3.0)


def test_a_person_who_stands_twice_in_the_votes_counts_once() -> None:
    vote = Vote("ann", approve=True, comment="", via="cli", at=1.0)
    assert msgspec.structs.replace(request(), votes=(vote, vote)).missing == 1


def test_one_denial_denies_even_after_an_approval_of_the_same_person() -> None:
    denied = voted(voted(request(), "ann"), "ann", approve=False, at=2.0)
    assert denied.state is ApprovalState.DENIED
    assert [vote.approve for vote in denied.votes] == [False]


def test_being_in_two_groups_counts_once() -> None:
    found = voted(request(2, ("data-stewards", "admins")), "ann", "data-stewards", "admins")
    assert found.state is ApprovalState.PENDING


@pytest.mark.parametrize("at", [600.0, 601.0])
def test_a_vote_at_or_after_expiry_does_not_count(at: float) -> None:
    with pytest.raises(RefusedError, match="has expired"):
        voted(request(1), "ann", at=at)


def test_someone_outside_the_groups_does_not_count() -> None:
    for approve in (True, False):
        with pytest.raises(RefusedError, match="ask someone of data-stewards"):
            voted(request(1), "eve", "analysts", approve=approve)


@pytest.mark.parametrize("name", ["dana", "demo-agent", "agent-7"])
def test_nobody_approves_their_own_agent_but_may_deny_it(name: str) -> None:
    with pytest.raises(RefusedError, match="own behalf"):
        voted(request(1), name)
    assert voted(request(1), name, approve=False).state is ApprovalState.DENIED


@pytest.mark.parametrize("state", [state for state in ApprovalState if state != "pending"])
def test_every_end_is_final(state: ApprovalState) -> None:
    ended = close(request(1), state, 5.0)
    with pytest.raises(RefusedError, match=f"is {state} already"):
        voted(ended, "ann")
    with pytest.raises(RefusedError, match=f"is {state} already"):
        close(ended, ApprovalState.CANCELLED, 6.0)


NAMES = st.sampled_from(["ann", "bob", "cem", "dana", "eve"])
GROUPS = st.sets(st.sampled_from(["data-stewards", "admins", "analysts"])).map(tuple)


@given(
    st.lists(st.tuples(NAMES, GROUPS, st.booleans(), st.floats(0, 700))),
    st.integers(1, 4),
)
def test_approved_means_a_quorum_in_time_and_no_denial(
    votes: list[tuple[str, tuple[str, ...], bool, float]], count: int
) -> None:
    found = request(count, ("data-stewards", "admins"))
    counted: list[tuple[str, bool]] = []
    for name, groups, approve, at in votes:
        person = Person(name, groups)
        try:
            found = cast(found, person, Vote(name, approve, "", "cli", at))
        except RefusedError:
            continue
        assert at < 600
        assert {"data-stewards", "admins"} & set(groups)
        assert not (approve and name == "dana")
        counted.append((name, approve))
    denials = [name for name, approve in counted if not approve]
    approvers = {name for name, approve in counted if approve}
    expected = (
        ApprovalState.DENIED
        if denials
        else ApprovalState.APPROVED
        if len(approvers) >= count
        else ApprovalState.PENDING
    )
    assert found.state is expected
    assert len(approvers) <= count
    assert len(denials) <= 1


def test_it_stores_as_json() -> None:
    found = voted(request(), "ann")
    assert msgspec.json.decode(msgspec.json.encode(found), type=ApprovalRequest) == found
