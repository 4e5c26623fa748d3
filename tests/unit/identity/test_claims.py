from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.settings import ClaimMap
from keystile.identity.claims import principal_of, session_id
from keystile.identity.tokens import SignedClaims
from keystile.model.errors import TokenRefusedError

NOON = 1_700_000_000.0
BASE = {"iss": "https://issuer.test", "sub": "agent-7"}


def _principal(paths: ClaimMap | None = None, now: float = NOON, **claims: Any) -> Any:
    return principal_of(SignedClaims(BASE | claims), paths or ClaimMap(), now)


def test_the_least_that_a_token_says() -> None:
    principal = _principal()
    assert (principal.issuer, principal.subject) == ("https://issuer.test", "agent-7")
    assert principal.agent == "agent-7"
    assert (principal.groups, principal.service_account, principal.on_behalf_of) == ((), "", "")
    assert principal.attributes == {}


def test_every_claim_that_is_mapped() -> None:
    paths = ClaimMap(
        agent="client.name",
        groups="realm.roles",
        service_account="https://acme.test/account",
        attributes={"purpose": "use", "level": "deep.level", "gone": "nowhere", "flag": "flag"},
    )
    principal = _principal(
        paths,
        client={"name": "support-bot"},
        realm={"roles": ["a", "b", "a"]},
        use="support",
        deep={"level": 3},
        flag=True,
        act={"sub": "sample-person"},
        **{"https://acme.test/account": "bot@acme-shop"},
    )
    assert principal.agent == "support-bot"
    assert principal.groups == ("a", "b")
    assert principal.service_account == "bot@acme-shop"
    assert principal.attributes == {"purpose": "support", "level": "3", "flag": "true"}
    assert principal.on_behalf_of == "sample-person"
    assert _principal(groups="only-one").groups == ("only-one",)


def test_a_claim_name_with_dots_goes_before_a_path() -> None:
    paths = ClaimMap(groups="a.b")
    assert _principal(paths, **{"a.b": ["flat"], "a": {"b": ["deep"]}}).groups == ("flat",)


@pytest.mark.parametrize(
    ("paths", "claims"),
    [
        (ClaimMap(agent="name"), {}),
        (ClaimMap(agent="name"), {"name": ""}),
        (ClaimMap(agent="name"), {"name": ["x"]}),
        (ClaimMap(agent="name"), {"name": "line\nbreak"}),
        (ClaimMap(agent="name"), {"name": "right\u202eleft"}),
        (ClaimMap(agent="name"), {"name": "x" * 513}),
        (ClaimMap(agent=""), {}),
        (ClaimMap(), {"groups": {"a": 1}}),
        (ClaimMap(), {"groups": 7}),
        (ClaimMap(), {"groups": ["a", 7]}),
        (ClaimMap(), {"groups": ["a", ""]}),
        (ClaimMap(), {"groups": [["a"]]}),
        (ClaimMap(), {"groups": ["g"] * 257}),
        (ClaimMap(), {"sid": {}}),
        (ClaimMap(), {"act": {"sub": ["x"]}}),
        (ClaimMap(attributes={"x": "y"}), {"y": [1]}),
        (ClaimMap(service_account="y"), {"y": "a\x00b"}),
    ],
)
def test_a_claim_that_is_not_understood_is_refused(paths: ClaimMap, claims: dict[str, Any]) -> None:
    with pytest.raises(TokenRefusedError, match="the token's claim"):
        _principal(paths, **claims)


def test_a_session_is_what_the_issuer_names_or_one_utc_day() -> None:
    named = {_principal(sid="run-1").session, _principal(sid="run-1", now=NOON + 1e6).session}
    assert len(named) == 1
    assert _principal(sid="run-2").session not in named
    assert _principal().session == _principal(now=NOON + 60).session
    assert _principal().session != _principal(now=NOON + 86_400).session


def test_no_agent_gets_into_the_session_of_another() -> None:
    theirs = _principal(sid="run-1").session
    assert _principal(sid="run-1", sub="agent-8").session != theirs
    assert _principal(sid="run-1", iss="https://other.test").session != theirs
    assert session_id("a", "bc", "d") != session_id("ab", "c", "d")
    # Not even by naming the id that was made of it.
    assert _principal(sid=theirs, sub="agent-8").session != theirs


CLAIM = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(groups=CLAIM, sid=CLAIM, act=CLAIM, extra=CLAIM)
def test_no_claims_do_worse_than_a_refusal(groups: Any, sid: Any, act: Any, extra: Any) -> None:
    paths = ClaimMap(agent="extra", attributes={"x": "extra.deep"}, service_account="act.x")
    try:
        principal = _principal(paths, groups=groups, sid=sid, act=act, extra=extra)
    except TokenRefusedError:
        return
    assert principal.agent.isprintable()
    assert all(group and group.isprintable() for group in principal.groups)
