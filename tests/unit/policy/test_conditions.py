from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.policy.conditions import Conditions, TouchedLabels, UnknownLabelError

LABELS = {"pii", "pii.ssn", "pii.email"}
TOUCHED = TouchedLabels(frozenset({"pii", "pii.ssn"}), frozenset({"pii"}), frozenset({"pii.ssn"}))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('agent.name == "demo" && "g" in agent.groups', True),
        ('agent.attributes.purpose == "support"', True),
        ('agent.attributes["purpose"] == "sales"', False),
        ('agent.attributes.absent == "support"', None),
        ('agent.attributes.absent == "x" || true', True),
        ("has(agent.attributes.absent)", False),
        ('agent.issuer == "https://issuer" && agent.subject == "id-demo"', True),
        ('agent.service_account == "" && agent.on_behalf_of == "a-person"', True),
        ('query.statement == "SELECT" && query.actions == ["read"]', True),
        ('"acme-shop.shop.customers" in query.tables', True),
        ("query.functions.size() == 0", True),
        ('query.touches("pii")', True),
        ('query.touches("pii.email")', False),
        ('query.outputs("pii.ssn")', False),
        ('query.filters("pii.ssn")', True),
        ('query.touches("nope" + "x")', None),
        ('request.project == "acme-shop" && !request.dry_run', True),
        ('request.time.getHours() == 12 && request.time.getHours("Asia/Tokyo") == 21', True),
        ("1 / 0 == 1", None),
        ('agent.groups[7] == "g"', None),
    ],
)
def test_words(shop: Any, text: str, result: bool | None) -> None:  # noqa: FBT001 - a table of results
    conditions = Conditions(LABELS)
    activation = conditions.activation(
        shop.agent("g", purpose="support"),
        shop.selects(shop.customers, "SSN"),
        TOUCHED,
        shop.context,
    )
    assert conditions.compile(text).holds(activation) is result


def test_an_address_is_never_cut_at_nul(shop: Any) -> None:
    """CEL's runtime ended a text at NUL: an export to elsewhere looked like one to our bucket."""
    facts = msgspec.structs.replace(
        shop.selects(shop.customers, "SSN"), uris=("gs://ours/x\0/../../theirs",)
    )
    conditions = Conditions(LABELS)
    activation = conditions.activation(shop.agent(), facts, TOUCHED, shop.context)
    assert conditions.compile('"gs://ours/x" in query.uris').holds(activation) is False
    assert conditions.compile('query.uris[0].endsWith("theirs")').holds(activation) is True


@pytest.mark.parametrize(
    "text",
    [
        "agent.nam == ''",
        "agent.groups == 'x'",
        "agent.name",
        "query.touches(1)",
        "agent.groups.touches('pii')",
        "query.touch",
        "1 +",
        "",
        "dyn(true)",
        "request.time == 'noon'",
    ],
)
def test_what_does_not_type_check_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(at character \d+: |gives )"):
        Conditions(LABELS).compile(text)


@pytest.mark.parametrize("text", ['query.touches("pi")', "query . outputs( 'pii.sn' )"])
def test_a_misspelt_label_is_refused(text: str) -> None:
    with pytest.raises(UnknownLabelError):
        Conditions(LABELS).compile(text)


def test_conditions_about_the_agent_alone_are_known() -> None:
    conditions = Conditions(LABELS)
    assert not conditions.compile('agent.name == "query.x" && !request.dry_run').about_query
    assert conditions.compile('query.statement == "SELECT"').about_query
