"""What an agent is told of each kind of refusal, through the HTTP front as its client gets it."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.support.front import Account

from keystile.approvals.machine import Person
from keystile.approvals.requests import Approvals
from keystile.model.schema import Field
from keystile.policy.compile import compile_policy
from keystile.upstream.values import Page

HOME = "/bigquery/v2/projects/acme-shop"
FOUND = "jane@private.example"
"""What a detector finds in a result."""

POLICY = """
labels:
- {label: pii.email, columns: [email]}
- {label: pii.secret, columns: [secret]}
- {label: pii.age, columns: [age]}
- {label: pii.name, columns: [customers.name]}
- {label: pii.ssn, columns: [customers.ssn]}
- {label: pii.nickname, columns: [nicknames]}
rules:
- {name: read, agents: {groups: [reader, some-rows]}, resources: {datasets: [acme-shop.shop]}, allow: [read]}
- {name: write, agents: {groups: [writer]}, resources: {datasets: [acme-shop.shop]},
   allow: [read, write, schema_change]}
- {name: advised, when: query.touches("pii.email"), deny: [read],
   message: addresses are closed; count people by their ids}
- {name: terse, when: query.touches("pii.secret"), deny: [read], message: secrets are closed.}
- {name: silent, when: query.touches("pii.age"), deny: [read]}
- {name: closed, resources: {tables: [acme-shop.shop.badges]}, deny: [read, write, schema_change, access_change]}
- {name: rate, when: query.touches("pii.nickname"), limits: {queries_per_minute: 1}}
- {name: person, when: query.touches("pii.name"), require_approval: {from: [stewards], expires: 30m}}
row_filters:
- {name: own, agents: {groups: [some-rows]}, tables: [acme-shop.shop.log], where: text = agent.attributes.team}
detectors:
- {name: net, find: [email], deny: true}
"""  # noqa: E501 - a rule in each line


class Case(NamedTuple):
    """A query that is refused, the rule that decided and what the agent is told to do."""

    sql: str
    rule: str
    says: str
    who: str = "reader"


@pytest.fixture
async def guarded(front: Any, bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(bench, "policy", compile_policy({"p.yaml": POLICY}))
    return front


def checked(message: str, rule: str) -> str:
    """Check the form of a refusal: short, names marked, what to do, and which rule it was."""
    assert "\n" not in message
    said, _, sql = message.partition("; this would be allowed: ")
    assert len(re.split(r"[.!?] (?=[A-Z])", said)) <= 2, message
    assert re.search(r"; \w", said) or sql, f"nothing to do: {message}"
    assert f"`{rule}`" in said if rule else "rule `" not in said, message
    outside = "".join(said.split("`")[::2])
    assert "acme-shop" not in outside, message
    assert not re.search(r"\b(ssn|email|secret|customers)\b", outside), message
    assert FOUND not in message
    return message


async def ask(front: Any, sql: str, who: str = "reader", **more: Any) -> Any:
    body = {"query": sql, "defaultDataset": {"datasetId": "shop"}, **more}
    return await front.ask("POST", f"{HOME}/queries", body, who=who)


@pytest.mark.parametrize(
    "case",
    [
        Case("SELECT email FROM customers", "advised", "closed; count people by their ids"),
        Case("SELECT id, email FROM customers", "advised", "allowed: SELECT id FROM customers"),
        Case("SELECT secret FROM customers", "terse", "closed (rule `terse`); ask the owner of"),
        Case("SELECT id, secret FROM customers", "terse", "allowed: SELECT id FROM customers"),
        Case("SELECT age FROM customers", "silent", "denies `read` on `acme-shop.shop.customers`;"),
        Case("SELECT age, secret FROM customers", "terse", "(rule `silent`)"),
        Case("CREATE TABLE copy AS SELECT 1 AS n", "default-deny", "`schema_change` on `acme-"),
        Case("SELECT 1; SELECT 2", "default-deny", "`script`"),
        Case("SELECT * FROM EXTERNAL_QUERY('p.us.c', 'SELECT 1')", "not-understood", "in its pl"),
        Case(
            "SELECT shop.python(text) FROM log",
            "default-deny",
            "`external` on `acme-shop.shop.log`",
        ),
        Case("SELECT text FROM log", "own", "attribute `team`, which", "some-rows"),
        Case("CREATE TABLE copied CLONE customers", "", "", "writer"),
        Case("UPDATE customers SET id = 1 WHERE ssn = 'x'", "", "", "writer"),
    ],
    ids=lambda case: f"{case.rule}: {case.sql}",
)
async def test_a_refusal_says_what_was_refused_by_which_rule_and_what_to_do(
    guarded: Any, case: Case
) -> None:
    reply = await ask(guarded, case.sql, case.who)
    assert reply.status == 403
    assert case.says in checked(reply.error, case.rule)


async def test_a_limit_says_which_and_when_to_go_on(guarded: Any) -> None:
    sql = "SELECT nicknames FROM customers"
    assert (await ask(guarded, sql)).status == 200
    reply = await ask(guarded, sql)
    assert reply.status == 403
    assert "none is left for" in checked(reply.error, "rate")


@pytest.mark.parametrize(
    ("end", "rule", "says"),
    [
        ("denied", "person", "denied by `boss`: not today (rule `person`, request"),
        ("silently denied", "person", "ask `boss` what would be approved"),
        ("expired", "person", "run it again when somebody of `stewards` can decide"),
        ("cancelled", "", "cancelled while it waited for approval; run it again"),
    ],
)
async def test_what_people_did_not_approve_says_who_and_what_to_do(
    guarded: Any, end: str, rule: str, says: str
) -> None:
    reply = await ask(guarded, "SELECT name FROM customers", timeoutMs=0)
    job = reply.json["jobReference"]["jobId"]
    approvals, now = Approvals(guarded._database), time.time()
    (request,) = await approvals.list()
    if end == "cancelled":
        await guarded.ask("POST", f"{HOME}/jobs/{job}/cancel")
    elif end == "expired":
        await approvals.expire_due(now + 3600)
    else:
        comment = "not today" if end == "denied" else ""
        boss = Person("boss", ("stewards",))
        await approvals.vote(request.id, boss, approve=False, comment=comment, via="cli", now=now)
    await guarded._duties._watch_waiting()
    reply = await guarded.ask("GET", f"{HOME}/queries/{job}")
    assert says in checked(reply.error, rule)


async def test_rows_that_a_detector_keeps_back_are_not_quoted(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = (Field("text", "STRING"),)

    async def rows(*_: Any, **asked: Any) -> Page:
        row = msgspec.json.encode({"f": [{"v": f"write to {FOUND}"}]})
        return Page((msgspec.Raw(row),)[: asked["max_results"]], "", 1, fields)

    monkeypatch.setattr("tests.support.front.FIELDS", fields)
    monkeypatch.setattr(Account, "rows", rows)
    reply = await ask(guarded, "SELECT text FROM log")
    assert reply.status == 403
    assert "text" in checked(reply.error, "net")


async def test_a_table_that_a_rule_hides_is_told_of_like_one_that_is_not_there(
    guarded: Any,
) -> None:
    told = []
    for table in ("badges", "baskets"):
        reply = await ask(guarded, f"SELECT code FROM {table}")  # noqa: S608 - names of this test
        assert reply.status == 404
        assert "rule" not in reply.error
        told.append(reply.error.replace(table, "TABLE"))
    assert told[0] == told[1]
