"""Every known way round the gateway that is a request. `docs/security/bypasses.md` lists them."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from keystile.policy.compile import compile_policy
from keystile.wire.methods import METHODS, Access

HOME = "/bigquery/v2/projects/acme-shop"
CUSTOMERS = f"{HOME}/datasets/shop/tables/customers"
READING = "SELECT * FROM `acme-shop`.`shop`.`customers`"


async def refused(front: Any, verb: str, target: str, body: Any = b"", **more: Any) -> Any:
    """Check that a request is refused and reaches nothing, and give the reply."""
    before = len(front.account.asked)
    reply = await front.ask(verb, target, body, **more)
    assert 400 <= reply.status < 500, reply
    assert front.account.asked[before:] == []
    return reply


LOG = f"{HOME}/datasets/shop/tables/log"


@pytest.mark.parametrize("verb", ["PATCH", "PUT"])
async def test_line_02_no_rows_are_put_in_the_order_of_a_protected_column(
    front: Any, verb: str
) -> None:
    for columns in (["ssn"], ["id", "SSN"]):
        body = {"clustering": {"fields": columns}}
        reply = await front.ask(verb, CUSTOMERS, body, who="writer")
        assert reply.status == 403
        assert "the order of its rows would tell" in reply.error
    reply = await front.ask(verb, LOG, {"clustering": {"fields": ["n"]}})
    assert "refused by policy" in reply.error  # a reader changes nothing
    assert all(".get " in asked for asked in front.account.asked)


async def test_line_06_a_job_tells_neither_its_plan_nor_the_text_that_ran(front: Any) -> None:
    reply = await front.query("SELECT ssn FROM customers")
    job = reply.json["jobReference"]["jobId"]
    sent = front.account.queries[-1].sql
    assert "XXX-XX-XXXX" in sent
    for target in (f"{HOME}/jobs/{job}", f"{HOME}/jobs?projection=full", f"{HOME}/queries/{job}"):
        told = json.dumps((await front.ask("GET", target)).json)
        assert "XXX-XX-XXXX" not in told
        assert "keystile_" not in told
        for word in ("queryPlan", "timeline", "gserviceaccount"):
            assert word not in told


ROUTINES = f"{HOME}/datasets/shop/routines"


def _function(body: str, name: str = "made", **more: Any) -> Any:
    named = {"projectId": "acme-shop", "datasetId": "shop", "routineId": name}
    function = {"routineType": "SCALAR_FUNCTION", "definitionBody": body}
    return {"routineReference": named, **function, **more}


TOP = "(SELECT MAX(ssn) FROM `acme-shop.shop.customers`)"
TABLE_FUNCTION = {"routineType": "TABLE_VALUED_FUNCTION"}


async def test_line_09_a_function_that_is_made_without_sql_is_masked(front: Any) -> None:
    for verb, target in (
        ("POST", ROUTINES),
        ("PUT", f"{ROUTINES}/same"),
        ("DELETE", f"{ROUTINES}/same"),
    ):
        reply = await front.ask(verb, target, _function(TOP, "made" if verb == "POST" else "same"))
        assert reply.status == 403  # a reader makes and drops nothing
        assert "refused by policy" in reply.error
    assert front.account.queries == []
    rows = "SELECT ssn FROM `acme-shop.shop.customers`"
    for body in (_function(TOP), _function(rows, **TABLE_FUNCTION)):
        await front.ask("POST", ROUTINES, body, who="writer")
        assert "XXX-XX-XXXX" in front.account.queries[-1].sql
    await front.ask("PUT", f"{ROUTINES}/same", _function(TOP, "same"), who="writer")
    assert "CREATE OR REPLACE FUNCTION" in front.account.queries[-1].sql
    assert "XXX-XX-XXXX" in front.account.queries[-1].sql


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("1); DROP TABLE shop.customers; SELECT (1", {}),
        ("1) OPTIONS (data_governance_type = 'DATA_MASKING'", {}),
        ("1) --", {}),
        ("SELECT 1 AS n; DELETE FROM shop.orders WHERE TRUE", TABLE_FUNCTION),
        ("x", {"arguments": [{"name": "x INT64) AS (1) --", "dataType": {"typeKind": "INT64"}}]}),
        ("1", {"routineReference": {"routineId": "f` AS (1) --"}}),
        ("1", {"routineReference": {"routineId": "payroll.f"}}),
        ("1", {"routineReference": {"routineId": "f", "datasetId": "payroll"}}),
    ],
)
async def test_line_09_a_function_without_sql_is_one_statement(
    front: Any, body: str, more: Any
) -> None:
    reply = await refused(front, "POST", ROUTINES, _function(body, **more), who="writer")
    assert reply.status == 400, reply


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"language": "PYTHON", "pythonOptions": {"entryPoint": "f"}}, "pythonOptions"),
        ({"language": "JAVASCRIPT", "importedLibraries": ["gs://in/x.js"]}, "importedLibraries"),
        ({"remoteFunctionOptions": {"endpoint": "https://x.example"}}, "remoteFunctionOptions"),
        ({"sparkOptions": {"connection": "c"}}, "sparkOptions"),
        ({"routineType": "PROCEDURE"}, "procedures"),
        ({"securityMode": "DEFINER"}, "securityMode"),
        ({"fieldOfTomorrow": 1}, "fieldOfTomorrow"),
    ],
)
async def test_line_16_no_function_without_sql_reaches_outside(
    front: Any, field: Any, said: str
) -> None:
    for verb, target in (("POST", ROUTINES), ("PUT", f"{ROUTINES}/made")):
        reply = await refused(front, verb, target, _function("1", **field), who="writer")
        assert said in reply.error


async def test_line_18_a_function_that_masks_for_others_needs_a_rule(front: Any) -> None:
    masking = _function("'x'", dataGovernanceType="DATA_MASKING")
    reply = await refused(front, "POST", ROUTINES, masking, who="writer")
    assert "`access_change`" in reply.error


async def test_line_26_no_function_of_a_hidden_dataset_is_told_of_or_changed(front: Any) -> None:
    said = []
    for name in ("rich", "absent"):
        target = f"{HOME}/datasets/payroll/routines/{name}"
        body = {**_function("1"), "routineReference": {}}
        for verb in ("PUT", "DELETE"):
            reply = await refused(front, verb, target, body, who="writer")
            said.append((verb, reply.status, reply.error.replace(name, "NAME")))
    assert said[:2] == said[2:]
    body = {**_function("1"), "routineReference": {"routineId": "made"}}
    made = await front.ask("POST", f"{HOME}/datasets/payroll/routines", body, who="writer")
    assert made.status == 403
    assert front.account.queries == []


def _key(dataset: str, table: str) -> Any:
    columns = [{"referencingColumn": "n", "referencedColumn": "amount"}]
    key = {"referencedTable": _named(table, dataset), "columnReferences": columns}
    return {"tableConstraints": {"foreignKeys": [key]}}


async def test_line_26_a_foreign_key_tells_of_no_hidden_table(front: Any) -> None:
    for who in ("reader", "writer"):
        told = (await front.ask("GET", LOG, who=who)).json
        assert "salaries" not in json.dumps(told)
        assert "tableConstraints" not in told
    before = len(front.account.queries)
    said = []
    for table in ("salaries", "absent"):
        reply = await front.ask("PATCH", LOG, _key("payroll", table), who="writer")
        made = {"tableReference": _named("made"), "schema": {"fields": [NUMBER]}}
        body = made | _key("payroll", table)
        target = f"{HOME}/datasets/shop/tables"
        created = await front.ask("POST", target, body, who="writer")
        for one in (reply, created):
            assert one.status == 403
            said.append(one.error.replace(table, "TABLE"))
    assert said[:2] == said[2:]
    assert len(front.account.queries) == before
    key = {"tableConstraints": {"primaryKey": {"columns": ["n"]}}}
    assert (await front.ask("PATCH", LOG, key)).status == 403  # a reader changes nothing


NUMBER = {"name": "n", "type": "INTEGER"}


@pytest.mark.parametrize("name", ["customers$20240101", "customers@-3600000", "custom*"])
async def test_line_11_a_decorator_in_an_address_names_no_table(front: Any, name: str) -> None:
    for path in ("", "/data"):
        reply = await refused(front, "GET", f"{HOME}/datasets/shop/tables/{name}{path}")
        assert reply.status == 404


async def test_line_13_legacy_sql_is_neither_asked_for_nor_the_default(front: Any) -> None:
    body = {"query": "SELECT 1", "useLegacySql": True}
    assert "use GoogleSQL" in (await refused(front, "POST", f"{HOME}/queries", body)).error
    job = {"configuration": {"query": body}}
    assert "use GoogleSQL" in (await refused(front, "POST", f"{HOME}/jobs", job)).error
    # GoogleSQL's own quoting means something else there, so absence cannot have meant legacy SQL.
    await front.query("SELECT `id` FROM `acme-shop.shop.customers`")


def _named(table: str, dataset: str = "shop") -> dict[str, str]:
    return {"projectId": "acme-shop", "datasetId": dataset, "tableId": table}


def _copy(source: str, target: str = "made", **more: Any) -> Any:
    return {"copy": {"sourceTable": _named(source), "destinationTable": _named(target), **more}}


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (_copy("customers"), "is masked for you"),
        (_copy("log", writeDisposition="WRITE_IT"), "writeDisposition"),
        (_copy("customers$20240101"), "a part or an earlier state"),
        (_copy("customers@-3600000"), "a part or an earlier state"),
        (_copy("people"), "of type VIEW"),
        (_copy("log", "people"), "of type VIEW"),
        ({"copy": {"sourceTable": _named("salaries", "payroll"), "destinationTable": _named("x")}},
         "was not found"),
        ({"copy": {"sourceTable": _named("log"), "destinationTable": _named("x", "payroll")}},
         "no rule allows"),
        ({"copy": {"sourceTable": _named("log"), "destinationTable": _named("x", "_hidden")}},
         "was not found"),
        ({"extract": {"destinationUri": "gs://out/x", "sourceTable": _named("log")}},
         "no rule allows"),
        ({"extract": {"destinationUri": "https://x.example/", "sourceTable": _named("log")}},
         "is not served"),
        ({"extract": {"destinationUri": "gs://out/x", "sourceModel": {"modelId": "m"}}},
         "sourceModel"),
        ({"load": {"sourceUris": ["gs://in/x"], "destinationTable": _named("log")}},
         "no rule allows"),
        ({"load": {"sourceUris": ["gs://in/x"], "destinationTable": _named("log"),
                   "hivePartitioningOptions": {"mode": "AUTO"}}}, "hivePartitioningOptions"),
        ({"load": {"sourceUris": ["gs://in/x"], "destinationTable": _named("log"),
                   "schema": {"fields": [{"name": "a", "policyTags": {"names": ["t"]}}]}}},
         "policyTags"),
        ({"load": {"sourceUris": ["gs://in/x"], "destinationTable": _named("log"),
                   "fieldOfTomorrow": 1}}, "fieldOfTomorrow"),
        ({"query": {"query": "SELECT 1", "tableDefinitions": {"t": {"sourceUris": ["gs://x"]}}}},
         "tableDefinitions"),
        ({"query": {"query": "SELECT 1", "destinationTable": {"tableId": "t"}}},
         "destinationTable"),
    ],
)  # fmt: skip
async def test_line_16_a_job_of_another_kind_moves_nothing_that_is_hidden(
    front: Any, configuration: Any, said: str
) -> None:
    body = {"configuration": configuration}
    reply = await front.ask("POST", f"{HOME}/jobs", body, who="writer")
    assert 400 <= reply.status < 500
    assert said in reply.error
    assert front.account.queries == []


@pytest.mark.parametrize("write", ["WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA", "WRITE_APPEND"])
async def test_line_16_rows_that_are_filtered_out_are_neither_moved_nor_replaced(
    front: Any, write: str
) -> None:
    for source, target in (("customers", "made"), ("log", "customers")):
        body = {"configuration": _copy(source, target, writeDisposition=write)}
        reply = await front.ask("POST", f"{HOME}/jobs", body, who="some-rows")
        refused_here = source == "customers" or write != "WRITE_APPEND"
        assert (reply.status == 403) == refused_here, reply
    await front.settle()
    assert [query.transfer is not None for query in front.account.queries] == [True] * (
        write == "WRITE_APPEND"
    )


async def test_line_16_a_job_that_may_make_no_table_makes_none(front: Any) -> None:
    # The table may be gone when the job runs; whoever may write only must not make it anew.
    body = {"configuration": _copy("log", "log", writeDisposition="WRITE_APPEND")}
    assert (await front.ask("POST", f"{HOME}/jobs", body, who="writer")).status == 200
    await front.settle()
    (query,) = front.account.queries
    assert query.transfer["copy"]["createDisposition"] == "CREATE_NEVER"
    assert query.transfer["copy"]["sourceTable"] == _named("log")


def _into(table: str, sql: str = "SELECT 1 AS n", dataset: str = "shop", **more: Any) -> Any:
    query = {"query": sql, "useLegacySql": False, "defaultDataset": {"datasetId": "shop"}}
    into = {"destinationTable": _named(table, dataset), **more}
    return {"configuration": {"query": {**query, **into}}}


OVER = {"writeDisposition": "WRITE_TRUNCATE"}
MORE = {"writeDisposition": "WRITE_APPEND"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_into("x", dataset="payroll"), "no rule allows"),
        (_into("salaries", dataset="payroll"), "no rule allows"),
        (_into("x", dataset="_hidden"), "was not found"),
        (_into("TABLES", dataset="INFORMATION_SCHEMA"), "was not found"),
        (_into("people"), "of type VIEW"),
        (_into("log$20240101"), "a part or an earlier state"),
        (_into("log@-3600000"), "a part or an earlier state"),
        (_into("events_*"), "a part or an earlier state"),
        (_into("x", "CREATE TABLE y AS SELECT ssn FROM customers"), "is for a SELECT"),
        (_into("x", "SELECT 1; SELECT ssn FROM customers"), "is for a SELECT"),
        (_into("x", "SELECT 1", useLegacySql=True), "legacy SQL"),
        (_into("x", destinationTable={"tableId": "x"}), "destinationTable"),
        (_into("x", destinationTable={**_named("x"), "projectId": "other"}), "no rule allows"),
        (_into("copies", "SELECT ssn FROM customers", **MORE), "written over the values"),
        (_into("copies", "SELECT SSN AS SSN FROM customers", **MORE), "written over the values"),
        (_into("copies", "SELECT ssn FROM customers", **OVER), "written over the values"),
        (_into("customers", "SELECT * FROM customers", **OVER), "written over the values"),
        (_into("customers", "SELECT number AS ssn FROM people", **MORE), "written over the values"),
        (_into("x", destinationEncryptionConfiguration={"kmsKeyName": "k"}), "a key of your own"),
    ],
)
async def test_line_15_a_result_goes_only_where_a_statement_may_write_it(
    front: Any, body: Any, said: str
) -> None:
    reply = await front.ask("POST", f"{HOME}/jobs", body, who="writer")
    # What is not found is a job that has failed, as it is with BigQuery.
    failed = reply.status == 200 and reply.json["status"].get("errorResult")
    assert failed or 400 <= reply.status < 500, reply
    assert said in (failed["message"] if failed else reply.error)
    assert front.account.queries == []


async def test_line_15_a_result_is_written_masked_or_not_at_all(front: Any) -> None:
    body = _into("log", "SELECT ssn AS text FROM customers", **MORE)
    for who, status in (("reader", 403), ("writer", 200)):
        assert (await front.ask("POST", f"{HOME}/jobs", body, who=who)).status == status
    await front.settle()
    _dry, query, written = front.account.queries
    assert "XXX-XX-XXXX" in query.sql
    assert query.into == {}
    assert written.sql == "SELECT * FROM `acme-shop`.`_hidden`.`anon1`"
    # Whoever may write only must not make the table anew, should it be gone by now.
    assert written.into == {
        "destinationTable": _named("log"),
        **MORE,
        "createDisposition": "CREATE_NEVER",
    }


@pytest.mark.parametrize("write", ["WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA", "WRITE_APPEND"])
async def test_line_16_a_result_replaces_no_rows_that_are_filtered_out(
    front: Any, write: str
) -> None:
    body = _into("customers", "SELECT 1 AS id", writeDisposition=write)
    reply = await front.ask("POST", f"{HOME}/jobs", body, who="some-rows")
    assert (reply.status == 403) == (write != "WRITE_APPEND"), reply


async def test_line_21_rows_that_were_in_the_table_are_not_the_results(front: Any) -> None:
    body = _into("copies", "SELECT 1 AS id", **MORE)
    reply = await front.ask("POST", f"{HOME}/jobs", body, who="writer")
    job = reply.json["jobReference"]["jobId"]
    await front.settle()
    before = len(front.account.asked)
    for start in (0, 1):
        target = f"{HOME}/queries/{job}?startIndex={start}"
        assert (await front.ask("GET", target, who="writer")).status == 200
    read = [asked for asked in front.account.asked[before:] if "getQueryResults" in asked]
    assert read
    assert not [asked for asked in read if asked.endswith("_into")]


RIGHTS = sorted(name for name, method in METHODS.items() if method.access is Access.RIGHTS)


@pytest.mark.parametrize("name", RIGHTS)
async def test_line_18_no_method_reads_or_changes_rights(front: Any, name: str) -> None:
    names = {"project": "acme-shop", "dataset": "shop", "table": "customers", "item": "p"}
    target = "/" + METHODS[name].path.format(**names)
    body = {"access": [{"role": "OWNER", "userByEmail": "me@example.com"}]}
    for who in ("reader", "writer"):
        reply = await refused(front, METHODS[name].verb, target, body, who=who)
        assert reply.status == 403
        assert f"`{name}`" in reply.error


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("", {"access": [{"role": "OWNER", "userByEmail": "me@example.com"}]}),
        ("", {"linkedDatasetSource": {"sourceDataset": {"datasetId": "payroll"}}}),
        ("", {"externalDatasetReference": {"externalSource": "x", "connection": "c"}}),
        ("", {"defaultEncryptionConfiguration": {"kmsKeyName": "k"}}),
        ("/shop/tables", {"externalDataConfiguration": {"sourceUris": ["gs://in/x"]}}),
        ("/shop/tables", {"cloneDefinition": {"baseTableReference": {"tableId": "customers"}}}),
        ("/shop/tables", {"schema": {"fields": [{"name": "a", "policyTags": {"names": ["t"]}}]}}),
        ("/shop/tables", {"resourceTags": {"a": "b"}}),
        ("/shop/tables", {"fieldOfTomorrow": 1}),
    ],
)
async def test_line_18_what_is_made_brings_no_rights_and_no_rows(
    front: Any, target: str, field: Any
) -> None:
    reference = "tableReference" if target else "datasetReference"
    named = {"datasetId": "shop", **({"tableId": "made"} if target else {})}
    body = {reference: named, **field}
    reply = await refused(front, "POST", f"{HOME}/datasets{target}", body, who="writer")
    assert reply.status in {400, 403}
    assert next(iter(field)) in reply.error or "policyTags" in reply.error


@pytest.mark.parametrize("verb", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("", {"access": [{"role": "OWNER", "userByEmail": "me@example.com"}]}),
        ("", {"linkedDatasetSource": {"sourceDataset": {"datasetId": "payroll"}}}),
        ("", {"defaultEncryptionConfiguration": None}),
        ("/tables/customers", {"view": {"query": "SELECT * FROM shop.customers"}}),
        ("/tables/customers", {"externalDataConfiguration": {"sourceUris": ["gs://in/x"]}}),
        ("/tables/customers", {"encryptionConfiguration": None}),
        ("/tables/customers", {"schema": {"fields": []}}),
        ("/tables/customers", {"resourceTags": {"a": "b"}}),
        ("/tables/customers", {"fieldOfTomorrow": 1}),
    ],
)
async def test_line_18_what_is_changed_changes_no_rights_and_no_rows(
    front: Any, verb: str, target: str, field: Any
) -> None:
    body = {"description": "new", **field}
    reply = await front.ask(verb, f"{HOME}/datasets/shop{target}", body, who="writer")
    assert reply.status in {400, 403}
    assert next(iter(field)) in reply.error
    assert all(".get " in asked for asked in front.account.asked)  # to compare, and nothing else


async def test_line_15_a_view_that_is_made_without_sql_is_masked(front: Any) -> None:
    query = "SELECT id, ssn FROM `acme-shop.shop.customers`"
    view = {"query": query, "useLegacySql": False}
    body = {"tableReference": {"datasetId": "shop", "tableId": "open"}, "view": view}
    target = f"{HOME}/datasets/shop/tables"
    assert (await front.ask("POST", target, body)).status == 403  # a reader makes nothing
    assert front.account.queries == []
    for more in ("; DROP TABLE shop.customers", "\n--\n; DELETE FROM shop.orders WHERE TRUE"):
        body["view"] = {**view, "query": query + more}
        reply = await front.ask("POST", target, body, who="writer")
        assert reply.status == 403, reply
    body["view"] = view
    await front.ask("POST", target, body, who="writer")
    assert "XXX-XX-XXXX" in front.account.queries[-1].sql
    body["view"] = {"query": query}  # without a word it is legacy SQL
    assert (await refused(front, "POST", target, body, who="writer")).status == 403


async def test_line_19_the_gateways_accounts_are_not_told(front: Any) -> None:
    await refused(front, "GET", f"{HOME}/serviceAccount")
    told = (await front.ask("GET", f"{HOME}/datasets/shop?datasetView=FULL")).json
    assert "access" not in told
    job = (await front.query("SELECT 1")).json["jobReference"]["jobId"]
    assert (await front.ask("GET", f"{HOME}/jobs/{job}")).json["user_email"] == "reader"


async def test_line_20_another_agents_job_is_absent_in_every_method(front: Any) -> None:
    job = (await front.query("SELECT id FROM customers")).json["jobReference"]["jobId"]
    for verb, path in (
        ("GET", "/jobs/{}"),
        ("GET", "/queries/{}"),
        ("POST", "/jobs/{}/cancel"),
        ("GET", "/jobs?parentJobId={}"),
    ):
        said = []
        for id_ in (job, "absent"):
            reply = await refused(front, verb, HOME + path.format(id_), who="other")
            said.append((reply.status, reply.error.replace(id_, "ID")))
        assert said[0] == said[1]
        assert said[0][0] == 404
    body = {"jobReference": {"jobId": job}, "configuration": {"query": {"query": "SELECT 1"}}}
    assert (await front.ask("POST", f"{HOME}/jobs", body, who="other")).status == 200


async def test_line_21_rows_without_sql_are_masked_and_on_record(front: Any) -> None:
    reply = await front.ask("GET", f"{CUSTOMERS}/data")
    assert (reply.status, reply.json["totalRows"]) == (200, "3")
    sent = front.account.queries[-1].sql
    assert "XXX-XX-XXXX" in sent
    assert sent != READING
    (job,) = (await front.ask("GET", f"{HOME}/jobs?projection=full")).json["jobs"]
    assert job["configuration"]["query"]["query"] == READING


async def test_line_21_another_agents_result_has_no_table(front: Any) -> None:
    mine = await front.result_table()
    for path in ("", "/data"):
        assert (await front.ask("GET", mine + path)).status == 200
        said = []
        for target in (mine, mine[:-1] + "x", f"{HOME}/datasets/_anonymous/tables/anon1"):
            reply = await refused(front, "GET", target + path, who="other")
            said.append(reply.status)
        assert said == [404] * 3


async def test_line_21_only_its_owners_select_reads_a_result_by_its_name(front: Any) -> None:
    parts = (await front.result_table()).split("/")
    name = f"`acme-shop.{parts[4]}.{parts[6]}`"
    select = f"SELECT * FROM {name}"  # noqa: S608
    for sql in (select, f"CREATE TABLE shop.c AS {select}"):
        for who in ("writer", "other"):
            reply = await front.ask("POST", f"{HOME}/queries", {"query": sql}, who=who)
            assert reply.status in {403, 404}
    for sql in (f"CREATE TABLE shop.c AS {select}", f"DELETE FROM {name} WHERE TRUE"):  # noqa: S608
        reply = await front.ask("POST", f"{HOME}/queries", {"query": sql})
        assert reply.status == 403
    assert (await refused(front, "GET", f"{HOME}/datasets/{parts[4]}/tables")).status == 404
    assert (await refused(front, "GET", f"{HOME}/datasets/{parts[4]}")).status == 404


async def test_line_23_a_page_token_is_good_for_nothing_else(front: Any) -> None:
    first = await front.ask("GET", f"{CUSTOMERS}/data?maxResults=1")
    rows = first.json["pageToken"]
    query = (await front.query("SELECT id FROM customers", maxResults=1)).json
    tables = (await front.ask("GET", f"{HOME}/datasets/shop/tables?maxResults=1")).json
    jobs = (await front.ask("GET", f"{HOME}/jobs?maxResults=1")).json
    tokens = [rows, query["pageToken"], tables["nextPageToken"], jobs["nextPageToken"]]
    job = query["jobReference"]["jobId"]
    places = (
        f"{CUSTOMERS}/data",
        f"{HOME}/queries/{job}",
        f"{HOME}/datasets/shop/tables",
        f"{HOME}/jobs",
    )
    for own, place in enumerate(places):
        for at, token in enumerate([*tokens, "e30=", "x"]):
            for who in ("reader", "other"):
                reply = await front.ask("GET", f"{place}?pageToken={token}", who=who)
                # A place in a list of what is the reader's own is no secret.
                mine = at == own and (who == "reader" or own > 1)
                assert (reply.status == 200) == mine, (place, at, who, reply)


async def test_line_24_a_list_has_the_agents_own_jobs_alone(front: Any) -> None:
    await front.query("SELECT 'mine'")
    for query in ("", "?allUsers=true", "?allUsers=true&projection=full&stateFilter=done"):
        assert (await front.ask("GET", HOME + "/jobs" + query, who="other")).json["jobs"] == []
        assert len((await front.ask("GET", HOME + "/jobs" + query)).json["jobs"]) == 1
    assert not any(asked.startswith("jobs.list") for asked in front.account.asked)


async def _session(front: Any, sql: str, *, who: str = "writer") -> str:
    """Begin a session with a query, and give its id."""
    front.account.session = "theirs"
    reply = await front.query(sql, who=who, createSession=True)
    await front.settle()
    assert "theirs" not in json.dumps(reply.json)
    return str(reply.json["sessionInfo"]["sessionId"])


def _in(session: str, sql: str) -> dict[str, Any]:
    same = [{"key": "session_id", "value": session}]
    return {"query": sql, "defaultDataset": {"datasetId": "shop"}, "connectionProperties": same}


KEEPS = "CREATE TEMP TABLE kept AS SELECT id, ssn AS s FROM customers"


async def test_line_25_another_agents_session_is_absent(front: Any) -> None:
    session = await _session(front, KEEPS)
    said = []
    for id_ in (session, "theirs", "0" * 32):
        reply = await refused(
            front, "POST", f"{HOME}/queries", _in(id_, "SELECT s FROM kept"), who="other-writer"
        )
        said.append((reply.status, reply.error.replace(id_, "ID")))
    assert said[0][0] == 404
    assert said == said[:1] * 3
    # Its owner's own word for it is the only one, too.
    body = _in("theirs", "SELECT s FROM kept")
    assert (await refused(front, "POST", f"{HOME}/queries", body, who="writer")).status == 404


async def test_line_25_what_a_session_holds_is_masked_and_known(front: Any) -> None:
    session = await _session(front, KEEPS)
    assert "XXX-XX-XXXX" in front.account.queries[-1].sql
    for sql in ("SELECT s FROM kept", "SELECT s FROM _SESSION.kept"):
        reply = await front.ask("POST", f"{HOME}/queries", _in(session, sql), who="writer")
        assert reply.status == 200, reply
        assert (front.account.queries[-1].sql, front.account.queries[-1].session) == (sql, "theirs")
    # A name that the session gave to a temporary table is that of the open table again after it.
    await front.ask("POST", f"{HOME}/queries", _in(session, "DROP TABLE kept"), who="writer")
    reply = await front.ask(
        "POST", f"{HOME}/queries", _in(session, "SELECT s FROM kept"), who="writer"
    )
    assert reply.status == 404


async def test_line_25_rights_that_changed_reach_into_a_session(
    front: Any, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await _session(front, KEEPS)
    before = len(front.account.queries)
    monkeypatch.setattr(bench, "policy", compile_policy({"p.yaml": UNLABELLED}))
    body = _in(session, "SELECT s FROM kept")
    reply = await front.ask("POST", f"{HOME}/queries", body, who="writer")
    assert reply.status == 403
    assert "made under other rights" in reply.error
    assert len(front.account.queries) == before


UNLABELLED = """
rules:
  - name: all
    agents: {groups: [writer]}
    resources: {datasets: [acme-shop.shop]}
    allow: [read, write, schema_change, routine]
  - name: sessions
    agents: {groups: [writer]}
    allow: [script, session]
"""


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("BEGIN TRANSACTION", "a transaction in a session"),
        ("SET @@dataset_id = 'payroll'", "@@dataset_id"),
        ("SELECT @@session_id", "not understood"),
        ("SELECT @@error.message", "a system variable in a session"),
        ("CALL BQ.ABORT_SESSION()", "not understood"),
        ("CREATE TEMP FUNCTION f() AS ((SELECT MAX(s) FROM kept))", "not understood"),
        ("CREATE VIEW seen AS SELECT s FROM kept", "not understood"),
        ("#legacySQL\nSELECT 1", "not understood"),
    ],
)
async def test_line_25_what_a_session_would_not_be_followed_in_is_refused(
    front: Any, sql: str, said: str
) -> None:
    session = await _session(front, KEEPS)
    before = len(front.account.queries)
    reply = await front.ask("POST", f"{HOME}/queries", _in(session, sql), who="writer")
    assert reply.status in {400, 403}
    assert said in reply.error
    assert len(front.account.queries) == before


@pytest.mark.parametrize(
    "key", ["service_account", "dataset_project_id", "dataset_id", "time_zone", "query_label"]
)
async def test_line_25_no_other_property_comes_along(front: Any, key: str) -> None:
    body = {"query": "SELECT 1", "connectionProperties": [{"key": key, "value": "x"}]}
    assert f"`{key}`" in (await refused(front, "POST", f"{HOME}/queries", body)).error


async def test_line_25_no_rule_no_session(front: Any) -> None:
    body = {"query": "SELECT 1", "createSession": True}
    reply = await refused(front, "POST", f"{HOME}/queries", body, who="reader")
    assert "`session`" in reply.error


async def test_line_26_no_request_reaches_into_another_project(front: Any) -> None:
    one = {"query": {"query": "SELECT 1"}}
    body = {"jobReference": {"projectId": "other"}, "configuration": one}
    assert (await refused(front, "POST", f"{HOME}/jobs", body)).status == 400
    for field in (
        {"destinationTable": {"projectId": "other", "datasetId": "d", "tableId": "t"}},
        {"connectionProperties": [{"key": "dataset_project_id", "value": "other"}]},
        {"reservation": "projects/other/locations/us/reservations/r"},
    ):
        body = {"query": "SELECT 1", **field}
        assert (await refused(front, "POST", f"{HOME}/queries", body)).status == 403
    default = {"projectId": "other", "datasetId": "d"}
    body = {"query": "SELECT * FROM customers", "defaultDataset": default}
    assert (await refused(front, "POST", f"{HOME}/queries", body)).status == 404
    for target in ("/projects/other/datasets/d", "/projects/other/datasets/d/tables/t/data"):
        assert (await refused(front, "GET", target)).status == 404
    plain = (await front.query("SELECT 1")).json
    body = {"query": "SELECT 1"}
    headers = {"x-goog-user-project": "other"}
    await front.ask("POST", f"{HOME}/queries?quotaUser=other", body, headers=headers)
    assert plain["jobReference"]["projectId"] == "acme-shop"
    assert {query.project for query in front.account.queries} == {"acme-shop"}
    assert "other" not in str(front.account.queries)


@pytest.mark.parametrize(
    "field",
    [
        {"connectionProperties": [{"key": "service_account", "value": "a@b.example"}]},
        {"destinationEncryptionConfiguration": {"kmsKeyName": "k"}},
        {"userDefinedFunctionResources": [{"resourceUri": "gs://in/code.js"}]},
        {"secureContext": {"x": "y"}},
    ],
)
async def test_line_27_no_other_account_key_or_code_comes_along(front: Any, field: Any) -> None:
    body = {"query": "SELECT 1", **field}
    assert (await refused(front, "POST", f"{HOME}/queries", body)).status == 403


@pytest.mark.parametrize(
    "field",
    [
        {"continuous": True},
        {"writeIncrementalResults": True},
        {"queryResultsFormat": "ARROW"},
        {"arrowSerializationOptions": {"bufferCompression": "ZSTD"}},
        {"formatOptions": {"timestampOutputFormat": "ISO8601_STRING"}},
        {"fieldOfTomorrow": 1},
    ],
)
async def test_line_28_no_other_form_of_answer_is_chosen(front: Any, field: Any) -> None:
    body = {"query": "SELECT 1", **field}
    reply = await refused(front, "POST", f"{HOME}/queries", body)
    assert next(iter(field)) in reply.error or "timestampOutputFormat" in reply.error


@pytest.mark.parametrize("query", ["alt=proto", "alt=media", "callback=f", "upload_protocol=raw"])
async def test_line_28_no_other_encoding_is_chosen(front: Any, query: str) -> None:
    await refused(front, "GET", f"{CUSTOMERS}?{query}")


async def test_line_28_a_query_without_a_job_has_an_owner_all_the_same(front: Any) -> None:
    reply = await front.query("SELECT 1", jobCreationMode="JOB_CREATION_OPTIONAL")
    assert "jobReference" not in reply.json
    job = reply.json["queryId"]
    assert (await front.ask("GET", f"{HOME}/jobs/{job}")).status == 200
    assert (await front.ask("GET", f"{HOME}/jobs/{job}", who="other")).status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/v1/projects/acme-shop/locations/us/connections",
        "/v1/projects/acme-shop/locations/us/transferConfigs",
        "/v1/projects/acme-shop/locations/us/reservations",
        "/v1/projects/acme-shop/locations/us/dataPolicies",
        "/storage/v1/b",
        "/v1/projects/acme-shop/serviceAccounts",
        "/v3/projects",
        "/google.cloud.bigquery.storage.v1.BigQueryRead/CreateReadSession",
        "/bigquery/v3/projects/acme-shop/datasets",
    ],
)
async def test_line_30_sister_services_are_not_here(front: Any, target: str) -> None:
    for verb in ("GET", "POST"):
        assert (await refused(front, verb, target, {})).status == 404


async def test_line_31_an_agents_words_do_not_reach_bigquerys_logs(front: Any) -> None:
    await front.query("SELECT 1", labels={"note": "4111-1111"}, requestId="secret-word")
    for query in front.account.queries:
        assert query.labels == {"keystile-agent": "reader"}
    assert "secret-word" not in "".join(front.account.asked)
    for labels in ({"note": "a\nb"}, {"": "x"}, {"k": "v" * 64}, {"UPPER": "x"}):
        body = {"query": "SELECT 1", "labels": labels}
        assert (await refused(front, "POST", f"{HOME}/queries", body)).status == 400


@pytest.mark.parametrize("root", ["/upload/bigquery/v2", "/resumable/upload/bigquery/v2"])
async def test_line_32_no_upload_goes_past_policy_or_is_anothers(front: Any, root: str) -> None:
    path, kind = f"{root}/projects/acme-shop/jobs", "uploadType=resumable"
    body = {"configuration": {"load": {"destinationTable": _named("log")}}}
    assert (await front.ask("POST", f"{path}?{kind}", body)).status == 403
    hidden = {"configuration": {"load": {"destinationTable": _named("x", "payroll")}}}
    assert (await front.ask("POST", f"{path}?{kind}", hidden, who="writer")).status == 403
    assert front.account.queries == []
    begun = await front.ask("POST", f"{path}?{kind}", body, who="writer")
    assert begun.status == 200
    target = begun.headers["location"].removeprefix("https://gateway.example")
    before = len(front.account.asked)
    for who in ("reader", "other"):
        for verb in ("PUT", "DELETE"):
            ranged = {"content-range": "bytes 0-0/1"}
            reply = await front.ask(verb, target, b"x", who=who, headers=ranged)
            assert reply.status == 404
    assert front.account.asked[before:] == []


FORM = {"content-type": "application/x-www-form-urlencoded", "x-http-method-override": "GET"}


async def test_line_33_an_override_changes_what_is_checked_too(front: Any) -> None:
    form = urlencode({"pageToken": "x", "fields": "rows"}).encode()
    assert (await refused(front, "POST", f"{HOME}/jobs", form, headers=FORM)).status == 400
    got = await front.ask("POST", f"{CUSTOMERS}/data", b"maxResults=1", headers=FORM)
    assert len(got.json["rows"]) == 1
    for verb in ("DELETE", "PATCH", "POST"):
        headers = {**FORM, "x-http-method-override": verb}
        assert (await refused(front, "POST", CUSTOMERS, b"", headers=headers)).status == 403
    patch = {"content-type": "application/json", "x-http-method-override": "PATCH"}
    body = b'{"description": "mine"}'
    assert (await front.ask("POST", CUSTOMERS, body, headers=patch)).status == 403
    assert not [asked for asked in front.account.asked if asked.startswith("tables.patch")]


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "SELECT 1", "query": "DROP TABLE shop.customers"}',
        b'{"query": "SELECT 1", "dryRun": true, "dryRun": false}',
        b'{"query": "SELECT 1", "defaultDataset": {"datasetId": "a", "datasetId": "b"}}',
        b'{"query": "SELECT 1", "qu\\u0065ry": "DROP TABLE shop.customers"}',
        b'{"query": "SELECT 1", "Query": "DROP TABLE shop.customers"}',
    ],
)
async def test_line_33_a_body_has_one_meaning(front: Any, body: bytes) -> None:
    assert (await refused(front, "POST", f"{HOME}/queries", body)).status == 400


async def test_line_33_a_packed_body_does_not_grow_without_bound(front: Any) -> None:
    packed = {"content-encoding": "gzip"}
    bomb = gzip.compress(b'{"query": "' + b" " * (8 << 20) + b'"}')
    reply = await refused(front, "POST", f"{HOME}/queries", bomb, headers=packed)
    assert reply.status == 413
    large = b" " * (1 << 20) + b"{}"
    assert (await refused(front, "POST", f"{HOME}/queries", large)).status == 413
    for encoding in ("deflate", "br", "gzip, gzip"):
        headers = {"content-encoding": encoding}
        assert (
            await refused(front, "POST", f"{HOME}/queries", b"{}", headers=headers)
        ).status == 400


@pytest.mark.parametrize(
    "target",
    [
        "/bigquery/v2/projects/acme-shop%2Fdatasets",
        "/bigquery/v2/projects/acme-shop/datasets/shop%2Ftables",
        "/bigquery/v2/projects/acme-shop/datasets/shop%252Ftables%252Fcustomers",
        "/bigquery/v2/projects/acme-shop/datasets/shop/tables/customers/",
        "/bigquery/v2//projects/acme-shop/datasets/shop",
        "/bigquery/v2/projects/acme-shop/datasets/shop;x=1",
        "/bigquery/v2/projects/acme-shop/jobs/../datasets/shop",
        "/bigquery/v2/projects/acme-shop/%2e%2e/acme-shop/datasets/shop",
        "/BIGQUERY/v2/projects/acme-shop/datasets/shop",
        "/bigquery/v2/bigquery/v2/bigquery/v2/projects/acme-shop/datasets",
    ],
)
async def test_line_33_one_address_names_one_thing(front: Any, target: str) -> None:
    for verb in ("GET", "POST", "DELETE"):
        assert (await refused(front, verb, target)).status in {400, 404, 405}


@pytest.mark.parametrize("prefix", ["", "/bigquery/v2", "/bigquery/v2/bigquery/v2"])
async def test_line_33_every_prefix_leads_to_the_same_checks(front: Any, prefix: str) -> None:
    home = f"{prefix}/projects/acme-shop"
    assert (await refused(front, "GET", f"{home}/datasets/payroll")).status == 404
    dropped = await front.ask("DELETE", f"{home}/datasets/shop/tables/customers")
    assert (dropped.status, front.account.queries) == (403, [])
    assert (await front.ask("GET", f"{home}/datasets/shop/tables/customers/data")).status == 200
    assert "XXX-XX-XXXX" in front.account.queries[-1].sql


@pytest.mark.parametrize("name", ["access_token", "oauth_token"])
async def test_line_33_a_token_in_the_address_is_refused(front: Any, name: str) -> None:
    assert (await refused(front, "GET", f"{CUSTOMERS}?{name}=ya29.x")).status == 403


async def test_line_37_a_limit_of_the_agents_own_is_kept_and_none_is_raised(front: Any) -> None:
    await front.query("SELECT 1", maximumBytesBilled="10")
    assert front.account.queries[-1].maximum_bytes_billed == 10
    body = {"query": "SELECT 1", "maxSlots": 100000}
    assert (await refused(front, "POST", f"{HOME}/queries", body)).status == 403


NOTES = f"{HOME}/datasets/shop/tables/log/insertAll"
ONE_ROW = {"rows": [{"insertId": "a", "json": {"text": "hello", "n": 1}}]}


async def test_line_11_rows_go_to_no_other_spelling_of_a_table(front: Any) -> None:
    for name in ("log$20240101", "log@0", "lo*", "absent", "LOG", "INFORMATION_SCHEMA.TABLES"):
        target = f"{HOME}/datasets/shop/tables/{name}/insertAll"
        assert (await front.ask("POST", target, ONE_ROW, who="writer")).status == 404
    for name in ("people", "cached"):
        target = f"{HOME}/datasets/shop/tables/{name}/insertAll"
        reply = await front.ask("POST", target, ONE_ROW, who="writer")
        assert reply.status == 400
        assert "Cannot add rows to a table of type" in reply.error
    result = await front.result_table(who="writer")
    assert (await front.ask("POST", f"{result}/insertAll", ONE_ROW, who="writer")).status == 404
    assert front.account.inserted == []


async def test_line_15_rows_without_sql_need_what_an_insert_needs(front: Any) -> None:
    for who in ("reader", "other"):
        reply = await front.ask("POST", NOTES, ONE_ROW, who=who)
        assert reply.status == 403
        insert = {"query": "INSERT INTO `acme-shop.shop.log` (text) VALUES ('hello')"}
        stated = await front.ask("POST", f"{HOME}/queries", insert, who=who)
        assert reply.error == stated.error
    assert (front.account.inserted, front.account.queries) == ([], [])
    assert (await front.ask("POST", NOTES, ONE_ROW, who="writer")).status == 200
    (rows,) = front.account.inserted
    assert [row.json for row in rows.rows] == ['{"text":"hello","n":1}']
    # A protected column can be filled by whoever may write, and its values are not read by that.
    body = {"rows": [{"json": {"id": 1, "ssn": "951-59-0001"}}]}
    assert (await front.ask("POST", f"{CUSTOMERS}/insertAll", body, who="writer")).status == 200


async def test_line_18_rows_make_no_table(front: Any) -> None:
    body = {**ONE_ROW, "templateSuffix": "_2024"}
    reply = await refused(front, "POST", NOTES, body, who="writer")
    assert reply.status == 403
    assert "templateSuffix" in reply.error


async def test_line_26_rows_go_to_no_hidden_table(front: Any) -> None:
    for place in ("other/datasets/shop/tables/log", "acme-shop/datasets/payroll/tables/salaries"):
        said = []
        for path in (place, place[:-1] + "x"):
            target = f"/projects/{path}/insertAll"
            reply = await refused(front, "POST", target, ONE_ROW, who="writer")
            said.append((reply.status, reply.error.replace(path.split("/")[-1], "TABLE")))
        assert said[0] == said[1]
        assert said[0][0] == 404


async def test_line_31_no_word_but_the_rows_goes_along(front: Any) -> None:
    body = {**ONE_ROW, "traceId": "to-the-reader-of-logs", "kind": "and-this"}
    assert (await front.ask("POST", NOTES, body, who="writer")).status == 200
    assert "to-the-reader" not in str(front.account.inserted)
    for more in ({"fieldOfTomorrow": 1}, {"rows": [{"json": {}, "rowOfTomorrow": 1}]}):
        reply = await refused(front, "POST", NOTES, {**ONE_ROW, **more}, who="writer")
        assert reply.status == 400
        assert "OfTomorrow" in reply.error


async def test_line_33_a_row_has_one_meaning_and_rows_a_bound(front: Any) -> None:
    for row in ('{"n":1,"n":2}', '{"n":NaN}', '{"n":1e999}', "[]", "1"):
        body = f'{{"rows":[{{"json":{row}}}]}}'.encode()
        assert (await refused(front, "POST", NOTES, body, who="writer")).status == 400
    packed = gzip.compress(b" " * (11 << 20))
    headers = {"content-encoding": "gzip"}
    reply = await refused(front, "POST", NOTES, packed, who="writer", headers=headers)
    assert reply.status == 413
    many = json.dumps({"rows": [{"json": {}}] * 50_001}).encode()
    assert (await refused(front, "POST", NOTES, many, who="writer")).status == 400


async def test_rival_08_metadata_lists_nothing_outside_the_rules(front: Any) -> None:
    listed = (await front.ask("GET", f"{HOME}/datasets?all=true")).json
    assert [one["datasetReference"]["datasetId"] for one in listed["datasets"]] == ["shop"]
    for target in ("/datasets/payroll", "/datasets/payroll/tables", "/datasets/payroll/routines"):
        assert (await refused(front, "GET", HOME + target)).status == 404
    told = (await front.ask("GET", f"{HOME}/datasets/shop/tables/people")).json
    assert "view" not in told
