# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""What an agent has no right to see is told of exactly as what does not exist, on every way in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read import transports
from tests.support.grpc_calls import WithMetadata
from tests.support.stack import PROJECT, Client, Stack, standing

from keystile.wire.methods import METHODS

ALL = (
    "[read, write, schema_change, access_change, export, external, model, routine, session, script]"
)
RULES = f"""
rules:
  - name: reads-a-little
    agents: {{names: [reader]}}
    resources: {{datasets: [acme-shop.lab], tables: [acme-shop.shop.orders]}}
    allow: [read, script]
  - name: does-all-in-a-little
    agents: {{names: [support]}}
    resources: {{datasets: [acme-shop.lab], tables: [acme-shop.shop.orders]}}
    allow: {ALL}
  - name: does-all
    agents: {{names: [hurried]}}
    resources: {{projects: [acme-shop]}}
    allow: {ALL}
  - name: reads-all
    agents: {{names: [modest]}}
    resources: {{projects: [acme-shop]}}
    allow: [read, script]
  - name: people-only
    agents: {{names: [hurried, modest]}}
    resources:
      datasets: [acme-shop.payroll, acme-shop.nothere]
      tables: ["acme-shop.shop.tick*"]
    deny: {ALL}
    message: no agent reads what people earn
"""


class Names(NamedTuple):
    """A dataset, a table, a view and a routine of it."""

    dataset: str
    table: str
    view: str
    routine: str


# Both of a pair are of one length, as errors tell places in texts.
HIDDEN = Names("payroll", "salaries", "overviews", "bonus")
IN_HIDDEN = Names("payroll", "salariex", "overviewx", "bonux")
NOWHERE = Names("nothere", "salaries", "overviews", "bonus")
UNNAMED = Names("unnamed", "salaries", "overviews", "bonus")
BESIDE = Names("shop", "tickets", "tickeviews", "bonus")
IN_BESIDE = Names("shop", "tickexs", "tickeviexs", "bonus")
EVERY = ("reader", "support", "hurried", "modest")
"""No rule opens what is hidden to the first two; to the others one does, and another denies it."""
PAIRS = {
    "a hidden dataset and none": (EVERY, HIDDEN, NOWHERE),
    "a table of a hidden dataset and none": (EVERY, HIDDEN, IN_HIDDEN),
    "a table beside others and none": (EVERY, BESIDE, IN_BESIDE),
    # Who may read all that there is, but for what a rule denies, is not told of that rule.
    "a denied dataset and one of no rule": (("modest",), HIDDEN, UNNAMED),
}
ASKED = [(agent, pair) for pair, (agents, *_) in PAIRS.items() for agent in agents]

TABLE, VIEW, ROUTINE = "`{d}.{t}`", "`{d}.{v}`", "`{d}.{r}`"
SQL = {
    "SELECT": f"SELECT * FROM {TABLE}",
    "SELECT of a column": f"SELECT amount FROM {TABLE}",
    "SELECT without FROM": "SELECT (SELECT COUNT(*) FROM {d}.{t})",
    "SELECT beside a table that is seen": f"SELECT 1 FROM lab.open, {TABLE}",
    "SELECT of a wrong column": f"SELECT no_such FROM {TABLE}",
    "SELECT by a whole name": "SELECT * FROM `acme-shop.{d}.{t}`",
    "SELECT in another case": "SELECT * FROM `{d}`.{t} AS x",
    "a partition": "SELECT * FROM `{d}.{t}$20240101`",
    "an earlier state": f"SELECT * FROM {TABLE} FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
    "a view": f"SELECT * FROM {VIEW}",
    "a wildcard": "SELECT * FROM `{d}.{t}*`",
    "a wildcard of a part": "SELECT * FROM `{d}.sal*`",
    "tables": "SELECT * FROM {d}.INFORMATION_SCHEMA.TABLES WHERE table_name = '{t}'",
    "columns": "SELECT * FROM {d}.INFORMATION_SCHEMA.COLUMNS WHERE table_name = '{t}'",
    "views": "SELECT * FROM {d}.INFORMATION_SCHEMA.VIEWS WHERE table_name = '{v}'",
    "routines": "SELECT * FROM {d}.INFORMATION_SCHEMA.ROUTINES WHERE routine_name = '{r}'",
    "partitions": "SELECT * FROM {d}.INFORMATION_SCHEMA.PARTITIONS WHERE table_name = '{t}'",
    "schemata": "SELECT * FROM INFORMATION_SCHEMA.SCHEMATA WHERE schema_name = '{d}'",
    "__TABLES__": "SELECT * FROM {d}.__TABLES__ WHERE table_id = '{t}'",
    "a script": f"DECLARE x INT64; SET x = (SELECT MAX(amount) FROM {TABLE}); SELECT x;",
    "a script that catches": f"BEGIN SELECT * FROM {TABLE}; EXCEPTION WHEN ERROR THEN"
    " SELECT @@error.message; END",
    "a script with text": "EXECUTE IMMEDIATE 'SELECT * FROM {d}.{t}'",
    "INSERT": f"INSERT INTO {TABLE} (amount) VALUES (1)",
    "INSERT from it": f"INSERT INTO lab.open (amount) SELECT amount FROM {TABLE}",
    "UPDATE": f"UPDATE {TABLE} SET amount = 1 WHERE TRUE",
    "DELETE": f"DELETE FROM {TABLE} WHERE TRUE",
    "MERGE": f"MERGE {TABLE} AS t USING lab.open AS s ON FALSE"
    " WHEN NOT MATCHED THEN INSERT (amount) VALUES (1)",
    "MERGE from it": f"MERGE lab.open AS t USING {TABLE} AS s ON FALSE"
    " WHEN NOT MATCHED THEN INSERT (amount) VALUES (1)",
    "TRUNCATE": f"TRUNCATE TABLE {TABLE}",
    "CREATE TABLE": f"CREATE TABLE {TABLE} (amount INT64)",
    "CREATE TABLE IF NOT EXISTS": f"CREATE TABLE IF NOT EXISTS {TABLE} (amount INT64)",
    "CREATE OR REPLACE TABLE": f"CREATE OR REPLACE TABLE {TABLE} AS SELECT 1 AS amount",
    "CREATE TABLE AS": f"CREATE TABLE lab.made AS SELECT * FROM {TABLE}",
    "CREATE TABLE LIKE": f"CREATE TABLE lab.made LIKE {TABLE}",
    "CREATE TABLE COPY": f"CREATE TABLE lab.made COPY {TABLE}",
    "CREATE TABLE CLONE": f"CREATE TABLE lab.made CLONE {TABLE}",
    "CREATE TABLE with a key to it": "CREATE TABLE lab.made"
    f" (a INT64 REFERENCES {TABLE}(amount) NOT ENFORCED)",
    "CREATE SNAPSHOT": f"CREATE SNAPSHOT TABLE lab.made CLONE {TABLE}",
    "CREATE VIEW": f"CREATE VIEW {VIEW} AS SELECT 1 AS amount",
    "CREATE VIEW of it": f"CREATE VIEW lab.made AS SELECT * FROM {TABLE}",
    "CREATE MATERIALIZED VIEW": f"CREATE MATERIALIZED VIEW lab.made AS SELECT amount FROM {TABLE}",
    "DROP TABLE": f"DROP TABLE {TABLE}",
    "DROP TABLE IF EXISTS": f"DROP TABLE IF EXISTS {TABLE}",
    "DROP VIEW": f"DROP VIEW {VIEW}",
    "DROP VIEW of a table": f"DROP VIEW {TABLE}",
    "DROP VIEW IF EXISTS": f"DROP VIEW IF EXISTS {VIEW}",
    "ALTER TABLE": f"ALTER TABLE {TABLE} ADD COLUMN more INT64",
    "ALTER TABLE IF EXISTS": f"ALTER TABLE IF EXISTS {TABLE} DROP COLUMN amount",
    "ALTER TABLE RENAME": f"ALTER TABLE {TABLE} RENAME TO made",
    "ALTER TABLE RENAME to it": "ALTER TABLE lab.open RENAME TO {t}",
    "ALTER TABLE SET OPTIONS": f"ALTER TABLE {TABLE} SET OPTIONS (description = 'x')",
    "ALTER VIEW": f"ALTER VIEW {VIEW} SET OPTIONS (description = 'x')",
    "ROW ACCESS": f"CREATE ROW ACCESS POLICY p ON {TABLE} GRANT TO ('allUsers')"
    " FILTER USING (TRUE)",
    "GRANT": f"GRANT `roles/bigquery.dataViewer` ON TABLE {TABLE} TO 'allUsers'",
    "EXPORT DATA": "EXPORT DATA OPTIONS (uri = 'gs://b/*', format = 'CSV')"
    f" AS SELECT * FROM {TABLE}",
    "LOAD DATA": f"LOAD DATA INTO {TABLE} FROM FILES (uris = ['gs://b/x'], format = 'CSV')",
}
OF_ROUTINES = {
    "a function": f"SELECT {ROUTINE}(1)",
    "a function of wrong arguments": f"SELECT {ROUTINE}('a', 2, 3)",
    "a procedure": f"CALL {ROUTINE}(1)",
    "CREATE FUNCTION": f"CREATE FUNCTION {ROUTINE}(x INT64) AS (x)",
    "CREATE OR REPLACE FUNCTION": f"CREATE OR REPLACE FUNCTION {ROUTINE}(x INT64) AS (x)",
    "DROP FUNCTION": f"DROP FUNCTION {ROUTINE}",
    "DROP FUNCTION IF EXISTS": f"DROP FUNCTION IF EXISTS {ROUTINE}",
}
OF_DATASETS = {
    "CREATE SCHEMA": "CREATE SCHEMA `{d}`",
    "CREATE SCHEMA IF NOT EXISTS": "CREATE SCHEMA IF NOT EXISTS `{d}`",
    "DROP SCHEMA": "DROP SCHEMA `{d}`",
    "DROP SCHEMA IF EXISTS": "DROP SCHEMA IF EXISTS `{d}` CASCADE",
    "ALTER SCHEMA": "ALTER SCHEMA `{d}` SET OPTIONS (description = 'x')",
    "every table": "SELECT * FROM {d}.INFORMATION_SCHEMA.TABLES",
    "every wildcard": "SELECT * FROM `{d}.*`",
}


def named(dataset: str, table: str) -> dict[str, str]:
    return {"projectId": PROJECT, "datasetId": dataset, "tableId": table}


NUMBER = {"fields": [{"name": "amount", "type": "INTEGER"}]}
IT, OURS = named("{d}", "{t}"), named("lab", "made")
TEXT = {"query": f"SELECT amount FROM {TABLE}", "useLegacySql": False}
KEY = {
    "foreignKeys": [
        {
            "referencedTable": IT,
            "columnReferences": [{"referencingColumn": "amount", "referencedColumn": "amount"}],
        }
    ]
}
FUNCTION = {
    "routineReference": {"projectId": PROJECT, "datasetId": "{d}", "routineId": "{r}"},
    "routineType": "SCALAR_FUNCTION",
    "language": "SQL",
    "definitionBody": "1",
}


def job(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"configuration": {kind: body}}


BODIES: dict[str, list[Any]] = {
    "jobs.query": [
        TEXT,
        *(
            {"query": sql, "useLegacySql": False, "defaultDataset": {"datasetId": "{d}"}}
            for sql in ("SELECT * FROM {t}", "SELECT 1", "SELECT {r}(1)")
        ),
    ],
    "jobs.insert": [
        job("query", TEXT),
        job("query", {"query": "SELECT * FROM {t}", "defaultDataset": {"datasetId": "{d}"}}
            | {"useLegacySql": False}),
        *(
            job("query", TEXT | {"query": "SELECT 1 AS amount", "destinationTable": IT}
                | {"writeDisposition": how, "createDisposition": make})
            for how in ("WRITE_EMPTY", "WRITE_APPEND", "WRITE_TRUNCATE")
            for make in ("CREATE_IF_NEEDED", "CREATE_NEVER")
        ),
        job("query", TEXT | {"destinationTable": OURS}),
        job("load", {"sourceUris": ["gs://b/x"], "destinationTable": IT, "schema": NUMBER}),
        job("load", {"sourceUris": ["gs://b/x"], "destinationTable": IT, "autodetect": True}),
        job("copy", {"sourceTable": IT, "destinationTable": OURS}),
        job("copy", {"sourceTable": named("lab", "open"), "destinationTable": IT}),
        job("copy", {"sourceTables": [named("lab", "open"), IT], "destinationTable": OURS}),
        job("extract", {"sourceTable": IT, "destinationUris": ["gs://b/x"]}),
    ],
    "datasets.insert": [{"datasetReference": {"projectId": PROJECT, "datasetId": "{d}"}}],
    "datasets.patch": [{"description": "x"}, {"access": []}],
    "datasets.update": [{"description": "x"}],
    "tables.insert": [
        {"tableReference": IT, "schema": NUMBER},
        {"tableReference": IT, "view": {"query": "SELECT 1 AS amount", "useLegacySql": False}},
    ],
    "tables.patch": [{"description": "x"}, {"schema": NUMBER}, {"tableConstraints": KEY}],
    "tables.update": [{"description": "x"}, {"schema": NUMBER}],
    "tables.testIamPermissions": [{"permissions": ["bigquery.tables.get"]}],
    "tabledata.insertAll": [{"rows": [{"json": {"amount": 1}}]}, {"rows": [{"json": {"x": 1}}]}],
    "routines.insert": [FUNCTION],
    "routines.update": [FUNCTION],
}  # fmt: skip
"""The bodies that are sent, where a method has one."""
IN_LAB: dict[str, list[Any]] = {
    "tables.insert": [
        {"tableReference": OURS, "view": TEXT},
        {"tableReference": OURS, "schema": NUMBER, "tableConstraints": KEY},
    ],
    "tables.patch": [{"tableConstraints": KEY}, {"view": TEXT}],
    "tables.update": [{"tableConstraints": KEY}, {"view": TEXT}],
    "routines.insert": [
        FUNCTION
        | {"routineReference": {"projectId": PROJECT, "datasetId": "lab", "routineId": "made"}}
        | {"definitionBody": f"(SELECT MAX(amount) FROM {TABLE})"}
    ],
}
"""Bodies that name it, of methods that are about a table of the agent's own dataset."""
NAMES_NOTHING = {
    "projects.list",
    "projects.getServiceAccount",
    "datasets.list",
    "jobs.list",
    "jobs.get",
    "jobs.cancel",
    "jobs.getQueryResults",
    "jobs.delete",
}
"""Methods that name no table, dataset or routine: jobs are named by their own names alone."""
QUERIES = {
    "datasets.delete": ["", "?deleteContents=true"],
    "tables.get": ["", "?view=FULL", "?selectedFields=amount"],
    "tabledata.list": ["", "?selectedFields=amount", "?maxResults=0", "?startIndex=5"],
    "datasets.get": ["", "?datasetView=FULL"],
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("absent"), storage={}, rules=RULES)
    for file in (stack.folder / "policy").iterdir():
        if file.name != "rules.yaml":
            file.unlink()
    with standing(stack):
        for dataset in ("payroll", "lab"):
            _made(stack, "datasets", {"datasetReference": {"datasetId": dataset}})
        for sql in (
            "CREATE TABLE lab.open AS SELECT 1 AS amount",
            "CREATE TABLE payroll.salaries AS SELECT 1 AS amount, 'RAW' AS name",
            "CREATE VIEW payroll.overviews AS SELECT amount FROM payroll.salaries",
            "CREATE FUNCTION payroll.bonus(x INT64) AS (x + 1)",
            "CREATE VIEW shop.tickeviews AS SELECT 1 AS amount",
        ):
            _made(stack, "queries", {"query": sql, "useLegacySql": False})
        yield stack


def _made(stack: Stack, path: str, body: object) -> None:
    answer = stack.upstream(path, method="POST", body=body)
    assert answer.ok, answer.text


class Caller:
    """One agent, and what it is told about one name."""

    def __init__(self, client: Client, url: str, names: Names) -> None:
        self._client, self._names = client, names
        self._url = f"{url}/bigquery/v2/"

    def named(self, given: Any) -> Any:
        if isinstance(given, str):
            letters = zip("dtvr", self._names, strict=True)
            for letter, name in letters:
                given = given.replace(f"{{{letter}}}", name)
            return given
        if isinstance(given, dict):
            return {key: self.named(value) for key, value in given.items()}
        return [self.named(one) for one in given] if isinstance(given, list) else given

    def ask(self, verb: str, path: str, body: Any = None) -> tuple[Any, ...]:
        """Give status, headers and body, without the name and what is new in each answer."""
        answer = self._client._http.request(
            verb, self._url + self.named(path), json=self.named(body), timeout=60
        )
        headers = {
            name.lower(): _plain(value, self._names)
            for name, value in answer.headers.items()
            if name.lower() not in {"date", "content-length"}
        }
        return answer.status_code, headers, _plain(answer.text, self._names)

    def outcome(self, body: Any) -> list[tuple[Any, ...]]:
        """Give what a job comes to, and all that is told of it."""
        path = f"projects/{PROJECT}"
        sent = self.ask("POST", f"{path}/jobs", body)
        if sent[0] != 200:
            return [sent]
        id_ = self._client._http.request(
            "GET", f"{self._url}{path}/jobs?maxResults=1", timeout=60
        ).json()["jobs"][0]["jobReference"]["jobId"]
        result = self.ask("GET", f"{path}/queries/{id_}?timeoutMs=10000")
        return [result, self.ask("GET", f"{path}/jobs/{id_}")]


_NEW = re.compile(
    r"\banon[0-9a-f]{32}\b|keystile_[\w-]+|[0-9a-f]{8}-[0-9a-f-]{27}|\b(?:[0-9a-f]{16}|[0-9a-f]{24}|[0-9a-f]{32})\b|\bjob_[\w-]+|\b1\d{12}\b"
)


def _plain(text: str, names: Names) -> str:
    for name, word in zip(names, Names._fields, strict=True):
        text = re.sub(rf"\b{name}\b", word.upper(), text)
    return _NEW.sub("NEW", text)


def _shown(told: Mapping[Any, tuple[Any, Any]]) -> str:
    return "\n".join(f"{way}\n  {one}\n  {two}" for way, (one, two) in told.items())


def callers(stack: Stack, agent: str, pair: str) -> tuple[Caller, Caller]:
    _, there, absent = PAIRS[pair]
    client = stack.client(agent)
    return Caller(client, stack.url, there), Caller(client, stack.url, absent)


def sql_of(pair: str) -> dict[str, str]:
    if pair == "a table beside others and none":
        return SQL
    whole = SQL | OF_ROUTINES
    return whole if pair == "a table of a hidden dataset and none" else whole | OF_DATASETS


@pytest.mark.parametrize(("agent", "pair"), ASKED)
def test_sql_told_what_exists(stack: Stack, agent: str, pair: str) -> None:
    there, absent = callers(stack, agent, pair)
    told = {}
    for way, sql in sql_of(pair).items():
        body = {"query": sql, "useLegacySql": False}
        path = f"projects/{PROJECT}/queries"
        for how in ({}, {"dryRun": True}):
            one, two = (each.ask("POST", path, body | how) for each in (there, absent))
            if one != two:
                told[way, *how] = (one, two)
    assert not told, _shown(told)


@pytest.mark.parametrize(("agent", "pair"), ASKED)
def test_a_job_told_what_exists(stack: Stack, agent: str, pair: str) -> None:
    there, absent = callers(stack, agent, pair)
    bodies = [
        *(job("query", {"query": sql, "useLegacySql": False}) for sql in sql_of(pair).values()),
        *BODIES["jobs.insert"],
    ]
    told = {}
    for body in bodies:
        one, two = there.outcome(body), absent.outcome(body)
        if one != two:
            told[str(body)] = (one, two)
    assert not told, _shown(told)


@pytest.mark.parametrize(("agent", "pair"), ASKED)
def test_a_method_told_what_exists(stack: Stack, agent: str, pair: str) -> None:
    there, absent = callers(stack, agent, pair)
    told = {}
    for verb, path, body in requests_of(pair):
        one, two = there.ask(verb, path, body), absent.ask(verb, path, body)
        if one != two:
            told[verb, path, str(body)] = (one, two)
    assert not told, _shown(told)


def requests_of(pair: str) -> Iterator[tuple[str, str, Any]]:
    """Yield a request of every method that names something, served or not."""
    beside = pair == "a table beside others and none"
    for name, method in METHODS.items():
        if name in NAMES_NOTHING or name == "jobs.insert":
            continue
        # Of a dataset that the agent may see it is no secret what else is in it but tables.
        if beside and not ("{table}" in method.path or name in {"jobs.query", "tables.insert"}):
            continue
        path = method.path.format(
            project=PROJECT, dataset="{d}", table="{t}", item="{r}", job="none"
        )
        for body in BODIES.get(name, [None if method.verb in {"GET", "DELETE"} else {}]):
            for query in QUERIES.get(name, [""]):
                yield method.verb, path + query, body
        own = method.path.format(project=PROJECT, dataset="lab", table="open", item="made")
        for body in IN_LAB.get(name, []):
            yield method.verb, own, body


def test_no_method_is_left_out() -> None:
    naming = {
        name
        for name, method in METHODS.items()
        if re.search(r"\{(dataset|table|item)\}", method.path) or name in BODIES
    }
    assert naming | NAMES_NOTHING == {*METHODS}
    assert not naming & NAMES_NOTHING
    sends = {
        name
        for name, method in METHODS.items()
        if method.served and method.verb in {"POST", "PUT", "PATCH"}
    }
    assert sends - NAMES_NOTHING == {*BODIES}


@pytest.mark.parametrize(("agent", "pair"), ASKED)
def test_a_read_session_told_what_exists(stack: Stack, agent: str, pair: str) -> None:
    client = stack.client(agent)
    client._credentials.refresh(client._http._auth_request)
    bearer = (("authorization", f"Bearer {client._credentials.token}"),)
    options: list[dict[str, Any]] = [
        {},
        {"selected_fields": ["amount"]},
        {"row_restriction": "amount > 1"},
        {"row_restriction": "amount >"},
    ]
    with grpc.insecure_channel(f"127.0.0.1:{stack.storage_port}") as plain:
        channel = grpc.intercept_channel(plain, WithMetadata(bearer))
        reader = BigQueryReadClient(transport=transports.BigQueryReadGrpcTransport(channel=channel))
        for more in options:
            said = [_session(reader, names, more) for names in PAIRS[pair][1:]]
            assert said[0] == said[1]


def _session(reader: Any, names: Names, options: dict[str, Any]) -> tuple[Any, ...]:
    table = f"projects/{PROJECT}/datasets/{names.dataset}/tables/{names.table}"
    asked = {"table": table, "data_format": "ARROW", "read_options": options}
    with pytest.raises(GoogleAPICallError) as caught:
        reader.create_read_session(parent=f"projects/{PROJECT}", read_session=asked)
    error = caught.value
    (call,) = error.errors
    trailing = [one for one in call.trailing_metadata() or () if one[0] != "date"]
    return error.grpc_status_code, _plain(str(error), names), _plain(str(trailing), names)
