"""The real google-cloud-bigquery client, the real token exchange, a gateway and a BigQuery."""

from __future__ import annotations

import base64
import functools
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import OAuthError
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack

# Each of these once revealed something through some gateway, or tries to.
CURIOUS = (
    "SELECT * FROM shop.customers",
    "SELECT * FROM shop.tickets",
    "SELECT UPPER(ssn), LOWER(email), REVERSE(phone), SUBSTR(notes, 1, 9) FROM shop.customers",
    "SELECT id FROM shop.customers WHERE ssn LIKE '1%'",
    "SELECT id FROM shop.customers WHERE ssn LIKE '9%'",
    "SELECT COUNT(*) AS n FROM shop.customers WHERE ssn LIKE '9%'",
    "SELECT TO_JSON_STRING(t) FROM shop.customers AS t",
    "SELECT t FROM shop.customers AS t",
    "SELECT FORMAT('%T', t) FROM shop.customers AS t",
    "SELECT ARRAY_AGG(t) FROM shop.customers AS t",
    "WITH customers AS (SELECT * FROM shop.customers) SELECT ssn, email FROM customers",
    "WITH customers AS (SELECT 1 AS ssn) SELECT c.* FROM shop.customers AS c, customers",
    "SELECT c.value FROM shop.customers, UNNEST(contacts) AS c",
    "SELECT address, address.street, address.city FROM shop.customers",
    "SELECT CAST(ssn AS INT64) FROM shop.customers",
    "SELECT ERROR(CONCAT('found ', ssn)) FROM shop.customers",
    "SELECT PARSE_DATE('%F', email) FROM shop.customers",
    "SELECT MIN(ssn), MAX(email), STRING_AGG(notes) FROM shop.customers",
    "SELECT body FROM shop.tickets ORDER BY body",
    "SELECT ssn FROM shop.customers UNION ALL SELECT body FROM shop.tickets",
    "FROM shop.customers |> SELECT ssn, name",
    "SELECT TO_HEX(CAST(ssn AS BYTES)), TO_BASE64(CAST(email AS BYTES)) FROM shop.customers",
    "EXECUTE IMMEDIATE 'SELECT ssn FROM shop.customers'",
    "CREATE TEMP TABLE t AS SELECT * FROM shop.customers; SELECT * FROM t",
    "SELECT * FROM `shop.customer*`",
    "SELECT * FROM shop.INFORMATION_SCHEMA.TABLES",
    "SELECT * FROM analytics.sales_by_city",
)


@pytest.fixture(scope="session")
def reader(stack: Stack) -> Client:
    """An agent that has already asked for something, so that a test measures its own request."""
    client = stack.client("reader")
    client.query_and_wait("SELECT COUNT(*) FROM shop.customers, shop.orders WHERE FALSE")
    return client


def test_nothing_protected_appears_anywhere(
    stack: Stack, reader: Client, protected: dict[str, str]
) -> None:
    answered, errors = {}, []
    for sql in CURIOUS:
        try:
            answered[sql] = [tuple(row) for row in reader.query_and_wait(sql)]
        except exceptions.GoogleAPICallError as error:
            errors.append(f"{sql}: {error} {error.errors}")
    assert leaks(protected, "\n".join(errors).encode()) == set()
    for source in (stack.answers(), stack.left_behind()):
        for name, content in source:
            assert leaks(protected, content) == set(), name
    # What did answer, answered with masks rather than with nothing.
    assert len(answered[CURIOUS[0]]) == 200
    assert "XXX-XX-XXXX" in answered[CURIOUS[0]][0]
    assert answered[CURIOUS[3]] == answered[CURIOUS[4]] == []
    assert answered[CURIOUS[5]] == [(0,)]
    assert '"ssn":"XXX-XX-XXXX"' in answered[CURIOUS[6]][0][0]
    assert {row[0] for row in answered[CURIOUS[10]]} == {"XXX-XX-XXXX"}


def leaks(protected: dict[str, str], content: bytes) -> set[str]:
    """Name the protected columns of which `content` has a value, or a number in disguise."""
    text = content.decode("utf-8", "replace")
    return {what for value, what in protected.items() if any(d in text for d in disguises(value))}


@functools.cache
def disguises(value: str) -> set[str]:
    spelled = {value, json.dumps(value)[1:-1]}
    if len(value) > len("951-59-0001"):
        return spelled  # a longer text is told by its words alone, and the search stays quick
    raw = value.encode()
    spelled |= {value[::-1], value.replace("-", "")}
    return spelled | {raw.hex(), base64.b64encode(raw).decode()}


@pytest.mark.parametrize("said", ["965-30-0002", "965300002", "2000-03-569", "OTY1LTMwLTAwMDI="])
def test_the_search_for_leaks_finds_one(protected: dict[str, str], said: str) -> None:
    assert leaks(protected, f'{{"v":"{said}"}}'.encode()) == {"ssn"}


REFUSED = {
    "a schema change": ("DROP TABLE shop.customers", exceptions.Forbidden, "no-schema-changes"),
    "no SQL": ("SELEC 1", exceptions.BadRequest, "Syntax error"),
    "an unknown column": ("SELECT sn FROM shop.customers", exceptions.BadRequest, "sn"),
    "an unknown table": (
        "SELECT * FROM shop.nothing",
        exceptions.NotFound,
        "Not found: Table acme-shop:shop.nothing was not found",
    ),
    "a table that policy hides": (
        "SELECT * FROM payroll.salaries",
        exceptions.NotFound,
        "Not found: Table acme-shop:payroll.salaries was not found",
    ),
    "what is not understood": (
        "SELECT id,\n\t'😀', SESSION_USER()\nFROM `acme-shop.shop.customers`",
        exceptions.Forbidden,
        r"function `SESSION_USER` at \[2:7\] is not understood.*pass the name as a parameter",
    ),
    "a fault behind a quoted path": (
        "SELECT id FROM `acme-shop.shop.customers` WHERE nope = 1",
        exceptions.BadRequest,
        r"Unrecognized name: nope.* at \[1:49\]",
    ),
}


@pytest.mark.parametrize("how", ["query", "query_and_wait"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_clear_and_comes_at_once(reader: Client, case: str, how: str) -> None:
    sql, kind, words = REFUSED[case]

    def rows() -> None:
        found = getattr(reader, how)(sql)
        if how == "query" and kind is not exceptions.Forbidden:
            found.result()  # as with BigQuery, a wrong query is a job that has failed

    def ask() -> int:
        before = len(reader.seen)
        with pytest.raises(kind, match=words):
            rows()
        return len(reader.seen) - before

    assert at_once(ask) == 1


EXPLAINED = {
    "what is not understood": (*REFUSED["what is not understood"][::2], ""),
    "a column": (
        "SELECT id, ssn FROM shop.customers",
        "rule `no-ssn-for-the-modest`.*this would be allowed: SELECT id FROM shop.customers",
        "SELECT id FROM shop.customers",
    ),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_a_refusal_stands_in_the_recording_and_is_explained(stack: Stack, case: str) -> None:
    sql, words, instead = EXPLAINED[case]
    client = stack.client("modest")
    with pytest.raises(exceptions.Forbidden, match=words):
        client.query(sql)

    replayed = stack.run("sessions", "replay", client.session)
    assert re.search(words, " ".join(replayed.stdout.split())), replayed
    command = ("policy", "explain", "--agent", "modest", "--sql", sql)
    explained = stack.json(*command, "--project", PROJECT)
    assert explained["effect"] == "deny"
    assert (explained["instead"] or "") == instead
    if not instead:
        said = " ".join(reason["message"] for reason in explained["reasons"])
        assert re.search(words, said)


def test_who_approves_sees_what_needs_no_approval(stack: Stack) -> None:
    client = stack.client("support")
    job = client.query("SELECT id, ssn FROM shop.customers")
    (waiting,) = stack.waiting(client.session)
    assert waiting.summary.instead == "SELECT id FROM shop.customers"
    client.cancel_job(job.job_id)


def at_once(ask: Callable[[], int]) -> int:
    """Ask up to three times until it takes less than a second, since the machine may be busy."""
    for _ in range(3):
        started = time.monotonic()
        count = ask()
        if time.monotonic() - started < 1.0:
            return count
    pytest.fail("no answer within a second")


WRONG_TOKENS: dict[str, tuple[dict[str, Any], str]] = {
    "for another audience": ({"aud": "https://elsewhere.example"}, "audience"),
    "for no audience": ({"aud": None}, "aud"),
    "expired": ({"iat": 1_000_000_000, "exp": 1_000_000_600}, "expired"),
    "of an unknown issuer": ({"iss": "https://elsewhere.example"}, "issuer"),
    "of an unknown agent": ({"sub": "nobody"}, "nobody"),
}


@pytest.mark.parametrize("case", WRONG_TOKENS)
def test_a_wrong_token_is_refused_at_once(stack: Stack, case: str) -> None:
    claims, words = WRONG_TOKENS[case]

    def ask() -> int:
        before = exchanges(stack)
        client = stack.client("reader", token=stack.token(**claims))
        with pytest.raises(OAuthError, match=words):
            client.query_and_wait("SELECT 1")
        assert client.seen == []
        return exchanges(stack) - before

    assert at_once(ask) == 1


def test_a_credential_file_for_another_gateway_is_refused_at_once(stack: Stack) -> None:
    def ask() -> int:
        before = exchanges(stack)
        with pytest.raises(OAuthError, match="audience"):
            stack.client("reader", audience="//elsewhere/agents").query_and_wait("SELECT 1")
        return exchanges(stack) - before

    assert at_once(ask) == 1


def exchanges(stack: Stack) -> int:
    """Count the requests that the token endpoint has answered."""
    page = requests.get(f"{stack.url}/metrics", timeout=10).text
    lines = [line for line in page.splitlines() if line.startswith("keystile_token_exchanges_t")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def test_another_agents_job_looks_absent(stack: Stack, reader: Client) -> None:
    job = reader.query("SELECT id FROM shop.customers")
    job.result()
    stranger = stack.client("stranger")
    stranger.query_and_wait("SELECT 1")
    ways: tuple[Callable[[str], Any], ...] = (
        stranger.get_job,
        stranger.cancel_job,
        lambda id_: stranger._get_query_results(id_, None),
    )
    for way in ways:
        words = [absent(stranger, way, id_) for id_ in (job.job_id, "no-such-job")]
        assert words[0] == words[1]


def absent(client: Client, way: Callable[[str], Any], id_: str) -> str:
    """Ask for a job that must look absent, and give the words for it without its id."""
    said = ""

    def ask() -> int:
        nonlocal said
        before = len(client.seen)
        with pytest.raises(exceptions.NotFound) as error:
            way(id_)
        said = str(error.value.errors).replace(id_, "ID")
        return len(client.seen) - before

    assert at_once(ask) == 1
    return said


def test_an_approved_query_runs_with_what_was_approved(
    stack: Stack, customers: list[dict[str, Any]]
) -> None:
    client = stack.client("support")
    job = client.query("SELECT ssn, email FROM shop.customers WHERE id = 1")
    assert job.state == "PENDING"
    (request,) = stack.waiting(client.session)
    done = stack.run("approvals", "approve", request.id, "--as", "operator")
    assert done.returncode == 0, done.stderr
    assert [tuple(row) for row in job.result()] == [(customers[0]["ssn"], customers[0]["email"])]
    (step,) = stack.steps(client.session)
    assert step.approvers == ("operator",)
    assert step.table == ((customers[0]["ssn"], customers[0]["email"]),)


def test_a_denial_reaches_the_client_in_the_approvers_words(stack: Stack) -> None:
    client = stack.client("support")
    job = client.query("SELECT ssn FROM shop.customers WHERE id = 2")
    (request,) = stack.waiting(client.session)
    words = ("--comment", "ask for the last four digits")
    assert stack.run("approvals", "deny", request.id, "--as", "operator", *words).returncode == 0
    with pytest.raises(
        exceptions.Forbidden, match="denied by `operator`: ask for the last four digits"
    ):
        job.result()
    assert [step.state for step in stack.steps(client.session)] == ["denied"]


def test_a_query_that_its_agent_withdraws_ends_and_asks_nobody_any_more(stack: Stack) -> None:
    client = stack.client("support")
    job = client.query("SELECT ssn FROM shop.customers WHERE id = 3")
    assert len(stack.waiting(client.session)) == 1
    assert job.cancel()
    assert job.error_result["reason"] == "stopped"
    assert stack.waiting(client.session) == []


def test_a_query_that_nobody_approves_expires(stack: Stack) -> None:
    client = stack.client("hurried")
    started = time.monotonic()
    with pytest.raises(exceptions.Forbidden, match="nobody approved the query in time"):
        client.query("SELECT ssn FROM shop.customers").result()
    assert 2.0 <= time.monotonic() - started < 12.0


def test_what_an_agent_holds_is_worth_nothing_at_bigquery(stack: Stack, reader: Client) -> None:
    assert stack.upstream("datasets").status_code == 200
    for token in (reader._credentials.token, reader.oidc_token):
        assert stack.upstream("datasets", token).status_code == 401


HASHED_SCRIPTS = (
    "DECLARE n STRING; SET n = (SELECT MAX(name) FROM shop.customers); SELECT CHAR_LENGTH(n)",
    "BEGIN SELECT CHAR_LENGTH(MIN(name)) FROM shop.customers; END",
)
HASHED_ERRORS = (
    "SELECT @keystile_hash_inner",
    "SELECT TO_HEX(@keystile_hash_outer), name FROM shop.customers",
    "SELECT name + 1 FROM shop.customers",
    "SELECT CAST(name AS INT64) FROM shop.customers",
    "SELECT ERROR(name) FROM shop.customers",
    "BEGIN SELECT ERROR(name) FROM shop.customers; END",
    "EXECUTE IMMEDIATE 'SELECT name FROM shop.customers'",
    "EXECUTE IMMEDIATE 'SELECT @x, name FROM shop.customers' USING 1 AS x",
    "CREATE VIEW shop.v AS SELECT name FROM shop.customers",
    "SELEC",
)


def test_the_upstream_credential_appears_nowhere(stack: Stack) -> None:
    client = stack.client("reader")
    hashed = "SELECT name, COUNT(*) AS n FROM shop.customers GROUP BY name"
    assert len(next(iter(client.query_and_wait(hashed)))[0]) == 64
    config = bigquery.QueryJobConfig(dry_run=True)
    client.query(hashed, job_config=config)
    client.get_job(client.query(hashed).job_id)
    for sql in HASHED_SCRIPTS:
        assert "64" in str(next(iter(client.query_and_wait(sql)))[0])
    for sql in HASHED_ERRORS:
        with pytest.raises(exceptions.GoogleAPICallError):
            client.query_and_wait(sql)
    said = stack.json(
        *("policy", "explain", "--agent", "reader", "--project", "acme-shop", "--sql", hashed)
    )
    assert "@keystile_hash_inner" in said["rewritten_sql"]
    assert stack.upstream_secrets(str(said).encode()) == []
    list(client.list_tables("shop"))
    client.get_table("shop.customers")
    pages = ("metrics", "readyz", "healthz", "issuer/.well-known/openid-configuration")
    for page in (*pages, "issuer/jwks", "v1/token", "nothing"):
        answer = requests.get(f"{stack.url}/{page}", timeout=10)
        assert stack.upstream_secrets(answer.content) == []
        assert stack.upstream_secrets(str(answer.headers).encode()) == []
    for source in (stack.answers(), stack.left_behind()):
        for name, content in source:
            assert stack.upstream_secrets(content) == [], name


def test_the_search_for_the_credential_finds_it(stack: Stack, reader: Client) -> None:
    reader.query_and_wait("SELECT 1")
    assert stack.upstream_secrets(stack.key_file.read_bytes()) == ["a line of the private key"]
    assert stack.upstream_secrets(f'"{stack.bearer()}"'.encode()) != []
    key = (stack.data / "masking-key").read_bytes()
    assert stack.upstream_secrets(key) == ["the masking key"]
    for pad in (0x36, 0x5C):
        sent = bytes(byte ^ pad for byte in key)
        for spelled in (base64.b64encode(sent), sent.hex().encode(), sent):
            assert stack.upstream_secrets(b"x" + spelled + b"y") == ["the masking key"]
    assert stack.upstream_secrets(stack.token().encode()) == []


def test_an_agents_own_tokens_are_not_kept(stack: Stack, reader: Client) -> None:
    reader.query_and_wait("SELECT 1")
    for name, content in stack.left_behind():
        assert reader._credentials.token.encode() not in content, name
        assert reader.oidc_token.encode() not in content, name


def test_the_recording_of_all_this_is_intact(stack: Stack, reader: Client) -> None:
    reader.query_and_wait("SELECT 1")
    assert stack.json("audit", "verify")["intact"]
