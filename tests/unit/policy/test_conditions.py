from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.policy.conditions import Conditions, Request, TouchedLabels, UnknownLabelError

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
        ('request.network("10.0.0.0/8")', True),
        ("request . network( '10.1.0.0/24' )", False),
        ('request.network("2001:db8::/32")', False),
        ('request.network("10.0.0.0" + "/8")', True),
        ('request.network("10.0.0." + "x")', None),
        ('request.client.startsWith("gl-python")', True),
        ('"acme-shop.shop.customers.SSN" in query.columns && query.columns.size() == 1', True),
        ("query.destination == []", True),
        ("1 / 0 == 1", None),
        ('agent.groups[7] == "g"', None),
    ],
)
def test_words(shop: Any, text: str, result: bool | None) -> None:  # noqa: FBT001 - a table of results
    conditions = Conditions(LABELS)
    activation = Request(
        msgspec.structs.replace(
            shop.agent("g", purpose="support"), address="10.2.3.4", client="gl-python/3.11"
        ),
        shop.selects(shop.customers, "SSN"),
        TOUCHED,
        shop.context,
    )
    assert conditions.compile(text).holds(activation) is result


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.2.3.4", True),
        ("::ffff:10.2.3.4", True),
        ("11.2.3.4", False),
        ("2001:db8::1", False),
        ("10.0.0.1", True),
        ("11.0.0.0", False),
        ("a01:203::", False),
        ("", None),
        ("unix:", None),
        ("10.2.3", None),
    ],
)
def test_an_address_that_nobody_knows_is_neither_in_a_network_nor_outside(
    shop: Any,
    address: str,
    inside: bool | None,  # noqa: FBT001 - a table of results
) -> None:
    conditions = Conditions(LABELS)
    agent = msgspec.structs.replace(shop.agent(), address=address)
    facts = shop.selects(shop.customers, "SSN")
    activation = Request(agent, facts, TOUCHED, shop.context)
    within = conditions.compile('request.network("10.0.0.0/8")')
    outside = conditions.compile('!request.network("10.0.0.0/8")')
    assert (within.holds(activation), outside.holds(activation)) == (
        inside, None if inside is None else not inside
    )  # fmt: skip
    assert not within.about_query


def test_an_address_of_ipv6_is_read_to_its_end(shop: Any) -> None:
    """CEL's runtime ended bytes at NUL: `a01:203::7` was 10.1.2.3, and in no network of IPv6."""
    conditions = Conditions(LABELS)
    agent = msgspec.structs.replace(shop.agent(), address="a01:203::7")
    facts = shop.selects(shop.customers, "SSN")
    activation = Request(agent, facts, TOUCHED, shop.context)
    assert conditions.compile('request.network("a01:203::/32")').holds(activation) is True
    assert conditions.compile('request.network("10.0.0.0/8")').holds(activation) is False


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "here", "", "10.0.0.0-10.0.0.9"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=rf"asks for `{network}`, which is no network"):
        Conditions(LABELS).compile(f'request.network("{network}")')


def test_a_destination_is_what_is_written(shop: Any) -> None:
    facts = msgspec.structs.replace(shop.selects(shop.customers, "SSN"), writes=(shop.orders.id,))
    conditions = Conditions(LABELS)
    activation = Request(shop.agent(), facts, TOUCHED, shop.context)
    text = 'query.destination.all(d, d.startsWith("acme-shop.shop."))'
    assert conditions.compile(text).holds(activation) is True
    assert conditions.compile('query.destination == ["acme-shop.shop.orders"]').holds(activation)


def test_an_address_is_never_cut_at_nul(shop: Any) -> None:
    """CEL's runtime ended a text at NUL: an export to elsewhere looked like one to our bucket."""
    facts = msgspec.structs.replace(
        shop.selects(shop.customers, "SSN"), uris=("gs://ours/x\0/../../theirs",)
    )
    conditions = Conditions(LABELS)
    activation = Request(shop.agent(), facts, TOUCHED, shop.context)
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
