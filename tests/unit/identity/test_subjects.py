"""Agents that act for people: who may, and that nobody else does.

`PEOPLE` vouches for people, `AGENTS` for agents, and `OTHERS` for agents of the same names. All use
one key, for no test here is about signatures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keystile.config.identity import Issuer, Trust
from keystile.identity.builtin import CLAIMS
from keystile.identity.claims import ClaimMapping
from keystile.identity.issuers import Source, source
from keystile.identity.keys import Documents
from keystile.identity.subjects import Subjects
from keystile.identity.tokens import TrustedIssuer
from keystile.model.errors import TokenFault, TokenRefusedError, UnsafeConfigurationError
from keystile.model.principal import Principal

PEOPLE, AGENTS, OTHERS = "https://people.test", "https://agents.test", "https://others.test"
OWN = "http://gw/issuer"
AUDIENCE = "//keystile/agents"
ACTOR = {
    "google.subject": "assertion.act.sub",
    "google.groups": "has(assertion.act.groups) ? assertion.act.groups : []",
    "keystile.session": "has(assertion.run) ? assertion.run : ''",
}
NAMED = {"iss": AGENTS, "sub": "agent-7"}


class FakeKeys:
    """Has one key for everybody."""

    def __init__(self, key: Any) -> None:
        self._key = key

    async def find(self, key_id: str, algorithm: str) -> Any:
        del key_id, algorithm
        return self._key


Make = Callable[..., Subjects]


@pytest.fixture
def make(issuer: Any) -> Make:
    keys = FakeKeys(issuer.key)

    def build(**people: Any) -> Subjects:
        given_ = [
            Issuer(issuer=PEOPLE, audiences=[AUDIENCE], **people),
            Issuer(
                issuer=AGENTS,
                audiences=[AUDIENCE],
                attribute_mapping={"attribute.team": "has(assertion.team) ? assertion.team : ''"},
            ),
            Issuer(issuer=OTHERS, audiences=[AUDIENCE]),
        ]
        sources = [source(number, each, Documents()) for number, each in enumerate(given_)]
        sources = [
            each._replace(
                trusted=TrustedIssuer(
                    each.trusted.issuer, each.trusted.audiences, frozenset({"ES256"}), keys
                )
            )
            for each in sources
        ]
        own = TrustedIssuer(OWN, frozenset({AUDIENCE}), frozenset({"ES256"}), keys)
        sources.append(Source(own, ClaimMapping("own", CLAIMS), Trust()))
        return Subjects(sources, OWN, 30)

    return build


async def _refused(asked: Any, fault: TokenFault = TokenFault.DELEGATION) -> str:
    with pytest.raises(TokenRefusedError) as caught:
        await asked
    assert caught.value.fault is fault
    return str(caught.value)


async def _who(subjects: Subjects, *tokens: str) -> Principal:
    return (await subjects.identify(*tokens)).principal


async def test_an_agent_acts_for_a_person_whose_issuer_names_it(make: Make, issuer: Any) -> None:
    subjects = make(actor_issuers=[AGENTS])
    person = issuer.token(iss=PEOPLE, sub="dana", groups=["admins"], may_act=NAMED)
    agent = issuer.token(iss=AGENTS, groups=["agents"], team="data", sid="run-1")
    principal = await _who(subjects, person, agent)
    assert (principal.issuer, principal.subject, principal.agent) == (AGENTS, "agent-7", "agent-7")
    assert principal.on_behalf_of == "dana"
    # What the person may do is nothing that the agent may.
    assert principal.groups == ("agents",)
    assert principal.attributes == {"team": "data"}
    alone = await _who(subjects, agent)
    assert alone.on_behalf_of == ""
    assert alone.key != principal.key
    assert alone.session != principal.session
    other = issuer.token(iss=PEOPLE, sub="erin", may_act=NAMED)
    assert (await _who(subjects, other, agent)).session != principal.session
    assert (await _who(subjects, person, agent)).session == principal.session


async def test_an_agent_of_the_built_in_issuer_may_be_the_actor(make: Make, issuer: Any) -> None:
    subjects = make(actor_issuers=["builtin"])
    person = issuer.token(iss=PEOPLE, sub="dana", may_act={"iss": OWN, "sub": "report-bot"})
    principal = await _who(subjects, person, issuer.token(iss=OWN, sub="report-bot", sid="r"))
    assert (principal.issuer, principal.agent, principal.on_behalf_of) == (
        OWN, "report-bot", "dana",
    )  # fmt: skip


@pytest.mark.parametrize("actors", [[], [OTHERS]])
async def test_nobody_acts_where_the_issuers_settings_do_not_say_so(
    make: Make, issuer: Any, actors: list[str]
) -> None:
    person = issuer.token(iss=PEOPLE, sub="dana", may_act=NAMED)
    agent = issuer.token(iss=AGENTS)
    said = await _refused(make(actor_issuers=actors).identify(person, agent))
    assert "may act" in said or "may not act" in said
    assert "`actor_issuers`" in said


@pytest.mark.parametrize(
    ("may_act", "actor"),
    [
        (..., {}),  # the person's token names nobody
        ({"iss": AGENTS, "sub": "agent-8"}, {}),  # another agent
        ({"sub": "agent-7"}, {}),  # a namesake at the people's issuer
        ({"iss": OTHERS, "sub": "agent-7"}, {}),  # a namesake at a third one
        (NAMED, {"iss": OTHERS}),  # the namesake comes
        (NAMED | {"client_id": "c1"}, {}),  # narrowed down to what it does not say
        (NAMED | {"client_id": "c1"}, {"client_id": "c2"}),
        ({"iss": AGENTS}, {}),
        ({"iss": AGENTS, "sub": None}, {}),
        ("agent-7", {}),
        ([NAMED], {}),
        ({}, {}),
    ],
)
async def test_an_actor_that_is_not_named_is_refused(
    make: Make, issuer: Any, may_act: Any, actor: dict[str, str]
) -> None:
    person = issuer.token(iss=PEOPLE, sub="dana", may_act=may_act)
    agent = issuer.token(**({"iss": AGENTS} | actor))
    subjects = make(actor_issuers=[AGENTS, OTHERS])
    assert "does not name the actor" in await _refused(subjects.identify(person, agent))


async def test_may_act_may_narrow_the_actor_down(make: Make, issuer: Any) -> None:
    person = issuer.token(iss=PEOPLE, sub="dana", may_act=NAMED | {"client_id": "c1"})
    agent = issuer.token(iss=AGENTS, client_id="c1")
    assert (await _who(make(actor_issuers=[AGENTS]), person, agent)).on_behalf_of == "dana"


async def test_an_actor_is_not_its_own_subject(make: Make, issuer: Any) -> None:
    subjects = make(actor_issuers=[PEOPLE], actor_mapping=ACTOR)
    person = issuer.token(iss=PEOPLE, sub="dana", may_act={"sub": "dana"})
    own = issuer.token(iss=PEOPLE, sub="dana")
    assert "the subject itself" in await _refused(subjects.identify(person, own))
    within = issuer.token(iss=PEOPLE, sub="dana", act={"sub": "dana"})
    assert "the subject itself" in await _refused(subjects.identify(within))


@pytest.mark.parametrize(
    ("person", "agent"),
    [
        ({"act": {"sub": "agent-8"}}, {}),
        ({}, {"act": {"sub": "agent-8"}}),
        ({}, {"may_act": {"sub": "agent-8"}}),
    ],
)
async def test_what_is_delegated_is_not_delegated_on(
    make: Make, issuer: Any, person: dict[str, Any], agent: dict[str, Any]
) -> None:
    subjects = make(actor_issuers=[AGENTS], actor_mapping=ACTOR)
    whose = issuer.token(**({"iss": PEOPLE, "sub": "dana", "may_act": NAMED} | person))
    by = issuer.token(**({"iss": AGENTS} | agent))
    assert "goes no further" in await _refused(subjects.identify(whose, by))


@pytest.mark.parametrize(
    ("actor", "fault", "said"),
    [
        ({"exp": -100}, TokenFault.TIME, "`actor_token`: the token has expired"),
        ({"aud": "//other"}, TokenFault.AUDIENCE, "`actor_token`: the token is for the audience"),
        ({"iss": "https://x.test"}, TokenFault.ISSUER, "`actor_token`: the token's issuer"),
    ],
)
async def test_the_actors_token_is_verified_as_any_other(
    make: Make, issuer: Any, actor: dict[str, Any], fault: TokenFault, said: str
) -> None:
    person = issuer.token(iss=PEOPLE, sub="dana", may_act=NAMED)
    agent = issuer.token(**({"iss": AGENTS} | actor))
    asked = make(actor_issuers=[AGENTS]).identify(person, agent)
    assert said in await _refused(asked, fault)


async def test_the_conditions_of_the_persons_issuer_hold_too(make: Make, issuer: Any) -> None:
    subjects = make(actor_issuers=[AGENTS], attribute_condition="assertion.sub != 'mallory'")
    person = issuer.token(iss=PEOPLE, sub="mallory", may_act=NAMED)
    asked = subjects.identify(person, issuer.token(iss=AGENTS))
    assert "does not fulfil the condition" in await _refused(asked, TokenFault.CONDITION)


async def test_the_outermost_actor_of_a_token_acts_and_those_within_are_history(
    make: Make, issuer: Any
) -> None:
    act = {"sub": "agent-7", "groups": ["agents"], "act": {"sub": "agent-8", "act": {"sub": "x"}}}
    token = issuer.token(iss=PEOPLE, sub="dana", groups=["admins"], act=act, run="r1")
    principal = await _who(make(actor_mapping=ACTOR), token)
    assert (principal.issuer, principal.subject, principal.on_behalf_of) == (
        PEOPLE, "agent-7", "dana",
    )  # fmt: skip
    assert principal.groups == ("agents",)
    another = issuer.token(iss=PEOPLE, sub="erin", act={"sub": "agent-7"}, run="r1")
    assert (await _who(make(actor_mapping=ACTOR), another)).session != principal.session


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("agent-7", "names no actor"),
        ({}, "names no actor"),
        ({"sub": ""}, "names no actor"),
        ({"sub": ["agent-7"]}, "names no actor"),
        (None, "names no actor"),
        ({"iss": AGENTS, "sub": "agent-7"}, "an actor of another issuer"),
        ({"iss": None, "sub": "agent-7"}, "an actor of another issuer"),
    ],
)
async def test_an_act_that_is_not_understood_is_refused(
    make: Make, issuer: Any, act: Any, said: str
) -> None:
    token = issuer.token(iss=PEOPLE, sub="dana", act=act)
    assert said in await _refused(make(actor_mapping=ACTOR).identify(token))


async def test_what_the_mapping_names_stands_for_the_person(make: Make, issuer: Any) -> None:
    mapping = {"keystile.on_behalf_of": "assertion.email"}
    subjects = make(actor_issuers=[AGENTS], attribute_mapping=mapping)
    person = issuer.token(iss=PEOPLE, sub="u-1", email="dana@acme.test", may_act=NAMED)
    principal = await _who(subjects, person, issuer.token(iss=AGENTS))
    assert principal.on_behalf_of == "dana@acme.test"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actor_issuers": ["https://nobody.test"]}, "`https://nobody.test`, which is no trusted"),
        ({"actor_mapping": {"google.groups": "[]"}}, "does not say what `google.subject` is"),
        ({"actor_mapping": {"google.subject": "assertion.act."}}, "actor_mapping.google.subject"),
        (
            {"actor_mapping": ACTOR | {"keystile.on_behalf_of": "''"}},
            "says for whom the actor acts",
        ),
    ],
)
def test_what_could_let_the_wrong_one_act_does_not_start(
    make: Make, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsafeConfigurationError) as caught:
        make(**settings)
    assert message in str(caught.value)


def test_no_two_agents_own_the_same() -> None:
    ana = Principal("https://i.test", "a", "a", "s", on_behalf_of="b")
    assert len({ana.key, Principal("https://i.test", "a", "a", "s").key,
                Principal("https://i.test", "a|b", "a", "s").key}) == 3  # fmt: skip


_JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.sampled_from([PEOPLE, AGENTS, "agent-7"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["iss", "sub", "act", "aud"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(act=_JSON, may_act=_JSON)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_the_claims_are_an_agent_acts_by_name_or_not_at_all(
    make: Make, issuer: Any, act: Any, may_act: Any
) -> None:
    subjects = make(actor_issuers=[AGENTS], actor_mapping=ACTOR)
    agent = issuer.token(iss=AGENTS)
    try:
        principal = await _who(
            subjects, issuer.token(iss=PEOPLE, sub="dana", may_act=may_act), agent
        )
    except TokenRefusedError:
        assert not (isinstance(may_act, dict) and may_act == NAMED)
    else:
        assert (principal.issuer, principal.subject) == (may_act["iss"], may_act["sub"])
    try:
        principal = await _who(subjects, issuer.token(iss=PEOPLE, sub="dana", act=act))
    except TokenRefusedError:
        pass
    else:
        assert principal.subject == act["sub"] != "dana"
        assert act.get("iss", PEOPLE) == PEOPLE
