from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.identity.claims import ClaimMapping, Condition, session_id
from keystile.identity.tokens import SignedClaims
from keystile.model.errors import TokenRefusedError, UnsafeConfigurationError

NOON = 1_700_000_000.0
BASE = {"iss": "https://issuer.test", "sub": "agent-7"}
SUBJECT = {"google.subject": "assertion.sub"}
SETTING = "identity.issuers[0].attribute_mapping"


def _mapping(words: dict[str, str] | None = None, *conditions: str) -> ClaimMapping:
    demands = [Condition("the condition", text, "the token is not wanted") for text in conditions]
    return ClaimMapping(SETTING, SUBJECT | (words or {}), demands)


def _principal(words: dict[str, str] | None = None, now: float = NOON, **claims: Any) -> Any:
    return _mapping(words).principal(SignedClaims(BASE | claims), now)


def _admits(condition: str, words: dict[str, str] | None = None, **claims: Any) -> bool:
    try:
        _mapping(words, condition).principal(SignedClaims(BASE | claims), NOON)
    except TokenRefusedError as error:
        return error.message != "the token is not wanted"
    return True


def test_the_least_that_a_token_says() -> None:
    principal = _principal()
    assert (principal.issuer, principal.subject) == ("https://issuer.test", "agent-7")
    assert principal.agent == "agent-7"
    assert (principal.groups, principal.service_account, principal.on_behalf_of) == ((), "", "")
    assert principal.attributes == {}


def test_every_word_that_is_mapped() -> None:
    words = {
        "google.subject": "assertion.tenant + '/' + assertion.sub",
        "google.groups": "assertion.realm.roles",
        "keystile.agent": "assertion.client.name",
        "keystile.service_account": "assertion['https://acme.test/account']",
        "keystile.on_behalf_of": "assertion.act.sub",
        "attribute.purpose": "assertion.use",
        "attribute.level": "string(assertion.deep.level)",
        "attribute.gone": "has(assertion.nowhere) ? assertion.nowhere : ''",
        "attribute.part": "assertion.ref.split('/')[2]",
    }
    principal = _principal(
        words,
        tenant="t1",
        client={"name": "support-bot"},
        realm={"roles": ["a", "b", "a"]},
        use="support",
        deep={"level": 3},
        ref="refs/heads/main",
        act={"sub": "sample-person"},
        **{"https://acme.test/account": "bot@acme-shop"},
    )
    assert principal.subject == "t1/agent-7"
    assert principal.agent == "support-bot"
    assert principal.groups == ("a", "b")
    assert principal.service_account == "bot@acme-shop"
    assert principal.attributes == {"purpose": "support", "level": "3", "part": "main"}
    assert principal.on_behalf_of == "sample-person"


@pytest.mark.parametrize(
    ("words", "claims"),
    [
        ({"keystile.agent": "assertion.name"}, {}),
        ({"keystile.agent": "assertion.name"}, {"name": ""}),
        ({"keystile.agent": "assertion.name"}, {"name": None}),
        ({"keystile.agent": "assertion.name"}, {"name": ["x"]}),
        ({"keystile.agent": "assertion.name"}, {"name": "line\nbreak"}),
        ({"keystile.agent": "assertion.name"}, {"name": "right\u202eleft"}),
        ({"keystile.agent": "assertion.name"}, {"name": "x" * 513}),
        ({"keystile.agent": "assertion.name + 'x'"}, {"name": 7}),
        ({"keystile.agent": "string(assertion.name)"}, {"name": 2**64}),
        ({"google.subject": "''"}, {}),
        ({"google.groups": "assertion.groups"}, {}),
        ({"google.groups": "assertion.groups"}, {"groups": None}),
        ({"google.groups": "assertion.groups"}, {"groups": "admins"}),
        ({"google.groups": "assertion.groups"}, {"groups": {"a": 1}}),
        ({"google.groups": "assertion.groups"}, {"groups": ["a", 7]}),
        ({"google.groups": "assertion.groups"}, {"groups": ["a", ""]}),
        ({"google.groups": "assertion.groups"}, {"groups": [["a"]]}),
        ({"google.groups": "assertion.groups"}, {"groups": ["g"] * 257}),
        ({"keystile.session": "assertion.sid"}, {"sid": {}}),
        ({"keystile.on_behalf_of": "assertion.act.sub"}, {"act": {"sub": ["x"]}}),
        ({"attribute.x": "assertion.y"}, {"y": [1]}),
        ({"attribute.x": "assertion.y"}, {"y": True}),
        ({"keystile.service_account": "assertion.y"}, {"y": "a\x01b"}),
    ],
)
def test_what_the_claims_do_not_tell_plainly_is_refused(
    words: dict[str, str], claims: dict[str, Any]
) -> None:
    with pytest.raises(TokenRefusedError, match=r"`(google|keystile|attribute)") as caught:
        _principal(words, **claims)
    assert caught.value.oauth_error == "invalid_request"


def test_a_claim_that_is_missing_is_named() -> None:
    with pytest.raises(TokenRefusedError, match=r"has no claim `team`, which `attribute.team`"):
        _principal({"attribute.team": "assertion.team"})
    # In words that a token chose, nothing that forges a line.
    with pytest.raises(TokenRefusedError, match=r"no claim `a\\nb`"):
        _principal({"attribute.team": "assertion[assertion.key]"}, key="a\nb")


@pytest.mark.parametrize(
    "claims", [{"y": "admin\0"}, {"y\0z": "x"}, {"deep": [{"y": ["a\0b"]}]}, {"sub": "root\0"}]
)
def test_a_text_is_never_cut_at_nul(claims: dict[str, Any]) -> None:
    """CEL's runtime once gave `admin` for `admin\\0…`."""
    with pytest.raises(TokenRefusedError, match="holds a NUL"):
        _principal({"attribute.y": "has(assertion.y) ? assertion.y : ''"}, **claims)


def test_a_condition_admits_what_it_says_and_nothing_else() -> None:
    assert _admits("assertion.sub == 'agent-7'")
    assert not _admits("assertion.sub == 'agent-8'")
    assert _admits("google.subject.startsWith('agent-') && assertion.level > 2", level=3)
    words = {"google.groups": "assertion.g", "attribute.env": "assertion.e"}
    assert _admits("'a' in google.groups && attribute.env == 'prod'", words, g=["a"], e="prod")
    assert not _admits("'a' in google.groups", words, g=["b"], e="prod")
    assert not _admits("has(attribute.env)", words, g=["a"], e="")


@pytest.mark.parametrize(
    "condition",
    [
        "assertion.flag",
        "assertion.gone == 'x'",
        "assertion.gone.gone",
        "attribute.env == 'prod'",
        "assertion.flag + 1 == 2",
        "assertion.many.all(x, assertion.many.all(y, x == y))",
    ],
)
def test_a_condition_that_cannot_be_evaluated_does_not_hold(condition: str) -> None:
    assert not _admits(condition, flag="true", many=["x"] * 2000)


def test_every_condition_must_hold() -> None:
    claims = SignedClaims(BASE)
    assert _mapping(None, "true", "true").principal(claims, NOON)
    with pytest.raises(TokenRefusedError):
        _mapping(None, "true", "false").principal(claims, NOON)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"google.subject": "assertio.sub"}, r"mapping.google.subject` at character 9: undeclared"),
        ({"google.groups": "assertion.("}, r"mapping.google.groups` at character"),
        ({"google.groups": "'admins'"}, "gives STRING, not a list of texts"),
        ({"google.groups": "[1]"}, "gives LIST<INT>, not a list of texts"),
        ({"attribute.x": "1"}, "gives INT, not a text"),
        ({"attribute.x": ""}, "mapping.attribute.x`"),
        ({"attribute.x": "google.subject"}, "undeclared"),
        ({"attribute.a b": "'x'"}, "unknown word `attribute.a b`"),
        ({"attribute.": "'x'"}, "unknown word"),
        ({"google.group": "['x']"}, "unknown word `google.group`; use `google.subject`"),
        ({"attribute.x": "'" + "x" * 4096 + "'"}, "longer than 4096 characters"),
        ({"attribute.x": "(" * 200 + "'x'" + ")" * 200}, "recursion"),
        ({f"attribute.x{n}": "'x'" for n in range(60)}, "more than 50 attributes"),
    ],
)
def test_a_mapping_that_is_not_understood_does_not_start(
    words: dict[str, str], message: str
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=message) as caught:
        _mapping(words)
    assert "identity.issuers[0].attribute_mapping" in str(caught.value)


def test_a_mapping_without_a_subject_does_not_start() -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"write `google.subject: assertion.sub`"):
        ClaimMapping(SETTING, {"keystile.agent": "assertion.sub"})


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("assertion.sub = 'x'", "at character"),
        ("'yes'", "gives STRING, not true or false"),
        ("keystile.agent == 'x'", "undeclared"),
        ("google.sub == 'x'", "undeclared"),
    ],
)
def test_a_condition_that_is_not_understood_does_not_start(condition: str, message: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match=f"`the condition` .*{message}"):
        _mapping(None, condition)


def test_a_session_is_what_the_issuer_names_or_one_utc_day() -> None:
    words = {"keystile.session": "has(assertion.sid) ? assertion.sid : ''"}
    named = {_principal(words, sid="1").session, _principal(words, sid="1", now=NOON + 1e6).session}
    assert len(named) == 1
    assert _principal(words, sid="2").session not in named
    assert _principal(words).session == _principal(words, now=NOON + 60).session
    assert _principal(words).session != _principal(words, now=NOON + 86_400).session


def test_no_agent_gets_into_the_session_of_another() -> None:
    words = {"keystile.session": "assertion.sid"}
    theirs = _principal(words, sid="run-1").session
    assert _principal(words, sid="run-1", sub="agent-8").session != theirs
    assert _principal(words, sid="run-1", iss="https://other.test").session != theirs
    assert session_id("a", "bc", "d") != session_id("ab", "c", "d")
    # Not even by naming the id that was made of it.
    assert _principal(words, sid=theirs, sub="agent-8").session != theirs


CLAIM = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_ALL = _mapping(
    {
        "keystile.agent": "assertion.extra",
        "google.groups": "has(assertion.groups) ? assertion.groups : []",
        "keystile.session": "assertion.sid",
        "keystile.service_account": "has(assertion.act.x) ? assertion.act.x : ''",
    },
    "assertion.extra != 'nobody'",
)


@given(groups=CLAIM, sid=CLAIM, act=CLAIM, extra=CLAIM | st.text(max_size=5))
def test_no_claims_do_worse_than_a_refusal(groups: Any, sid: Any, act: Any, extra: Any) -> None:
    claims = BASE | {"groups": groups, "sid": sid, "act": act, "extra": extra}
    try:
        principal = _ALL.principal(SignedClaims(claims), NOON)
    except TokenRefusedError:
        return
    assert principal.agent.isprintable()
    assert all(group and group.isprintable() for group in principal.groups)
