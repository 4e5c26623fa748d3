# ruff: noqa: S608 - queries made of a test's own words
"""Jobs, metadata and the bearer check of the real server process."""

from __future__ import annotations

import base64
import gzip
import hmac
import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google.auth.transport.requests
import pytest
import requests
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery
from joserfc import jwt
from joserfc.jwk import RSAKey

_ACCOUNT = "gateway@acme-shop.example.com"
_SCOPE = "https://www.googleapis.com/auth/bigquery"
# Some seconds of work: a cancelled query holds its worker until it ends.
_SLOW = "SELECT COUNT(*) FROM analytics.events a, shop.customers b"


def _token(sandbox: Any) -> str:
    credentials = sandbox.account.credentials()
    credentials.refresh(google.auth.transport.requests.Request())
    return str(credentials.token)


def _call(sandbox: Any, method: str, path: str, **more: Any) -> requests.Response:
    return requests.request(
        method,
        f"{sandbox.url}/bigquery/v2/projects/acme-shop/{path}",
        headers={"Authorization": f"Bearer {_token(sandbox)}"},
        timeout=30,
        **more,
    )


def test_a_job_can_be_found_again(client: bigquery.Client) -> None:
    job = client.query("SELECT 1 AS x")
    job.result()
    found = client.get_job(job.job_id, location="US")
    assert isinstance(found, bigquery.QueryJob)
    assert (found.state, found.query, found.statement_type) == ("DONE", "SELECT 1 AS x", "SELECT")
    assert found.user_email == _ACCOUNT
    assert found.created <= found.started <= found.ended
    listed = list(client.list_jobs(max_results=1))
    assert [each.job_id for each in listed] == [job.job_id]
    with pytest.raises(NotFound, match="Not found: Job"):
        client.get_job("never-made", location="US")
    with pytest.raises(NotFound, match="Not found: Job"):
        client.get_job(job.job_id, location="EU")


def test_a_result_can_be_read_from_its_own_table(client: bigquery.Client) -> None:
    job = client.query("SELECT id FROM shop.orders WHERE id < 4 ORDER BY id")
    job.result()
    assert job.destination is not None
    table = client.get_table(job.destination)
    assert (table.num_rows, table.schema[0].name) == (3, "id")
    assert [row["id"] for row in client.list_rows(table)] == [1, 2, 3]


def test_a_running_job_can_be_cancelled(client: bigquery.Client) -> None:
    job = client.query(_SLOW)
    assert job.state in ("PENDING", "RUNNING")
    assert job.cancel()
    with pytest.raises(GoogleAPICallError, match="cancelled"):
        job.result(timeout=10)
    assert client.get_job(job.job_id, location="US").error_result["reason"] == "stopped"


def test_a_query_that_takes_long_is_waited_for(sandbox: Any) -> None:
    body = {"query": _SLOW, "useLegacySql": False, "timeoutMs": 50}
    answer = _call(sandbox, "POST", "queries", json=body).json()
    assert answer["jobComplete"] is False
    assert not {"rows", "schema"} & answer.keys()
    job = answer["jobReference"]["jobId"]
    waiting = _call(sandbox, "GET", f"queries/{job}?timeoutMs=0&location=US").json()
    assert waiting["jobComplete"] is False
    _call(sandbox, "POST", f"jobs/{job}/cancel?location=US")


def test_a_job_ends_though_its_client_has_gone(sandbox: Any) -> None:
    slow_before = sum(text == _SLOW for text in _texts(sandbox))
    body = {"query": _SLOW, "useLegacySql": False, "requestId": "left"}
    with pytest.raises(requests.Timeout):
        requests.post(
            f"{sandbox.url}/projects/acme-shop/queries",
            json=body,
            headers={"Authorization": f"Bearer {_token(sandbox)}"},
            timeout=(5, 0.02),  # to connect, and to wait: less than any machine takes
        )
    again = _call(sandbox, "POST", "queries", json={**body, "timeoutMs": 20_000}).json()
    assert again["rows"] == [{"f": [{"v": "400000"}]}]
    job = _call(sandbox, "GET", f"jobs/{again['jobReference']['jobId']}").json()
    assert job["status"] == {"state": "DONE"}
    assert sum(text == _SLOW for text in _texts(sandbox)) == slow_before + 1


def _texts(sandbox: Any) -> list[str]:
    jobs = _call(sandbox, "GET", "jobs?projection=full").json()["jobs"]
    configurations = [job["configuration"] for job in jobs]
    return [each["query"]["query"] for each in configurations if "query" in each]


def test_the_same_request_id_is_the_same_job(sandbox: Any) -> None:
    body = {"query": "SELECT RAND()", "useLegacySql": False, "requestId": "r-1"}
    first, second = (_call(sandbox, "POST", "queries", json=body).json() for _ in range(2))
    assert first["jobReference"] == second["jobReference"]
    assert first["rows"] == second["rows"]


def test_the_shape_of_a_result_on_the_wire(sandbox: Any) -> None:
    sql = "SELECT 1 AS i, TIMESTAMP '2024-01-01 00:00:00.25+00' AS t, [1] AS a, STRUCT(NULL AS n)"
    body = {"query": sql, "useLegacySql": False}
    seconds = _call(sandbox, "POST", "queries", json=body).json()
    assert seconds["rows"] == [
        {
            "f": [
                {"v": "1"},
                {"v": "1704067200.25"},
                {"v": [{"v": "1"}]},
                {"v": {"f": [{"v": None}]}},
            ]
        }
    ]
    micros = _call(
        sandbox, "POST", "queries", json={**body, "formatOptions": {"useInt64Timestamp": True}}
    ).json()
    assert micros["rows"][0]["f"][1] == {"v": "1704067200250000"}
    job = seconds["jobReference"]["jobId"]
    none = _call(sandbox, "GET", f"queries/{job}?maxResults=0").json()
    assert "rows" not in none
    assert none["totalRows"] == "1"
    part = _call(sandbox, "GET", f"queries/{job}?fields=totalRows,jobReference/jobId").json()
    assert part == {"totalRows": "1", "jobReference": {"jobId": job}}


def test_a_page_token_is_good_for_its_own_result_only(sandbox: Any) -> None:
    ask = {"query": "SELECT id FROM shop.orders", "useLegacySql": False, "maxResults": 1}
    first, other = (_call(sandbox, "POST", "queries", json=ask).json() for _ in range(2))
    token, job = first["pageToken"], other["jobReference"]["jobId"]
    for wrong in (token, "x", "%00", "é"):
        refused = _call(sandbox, "GET", f"queries/{job}", params={"pageToken": wrong})
        assert refused.status_code == 400
        assert refused.json()["error"]["errors"][0]["reason"] == "invalid"


def test_datasets_and_tables_are_listed(client: bigquery.Client) -> None:
    assert [each.dataset_id for each in client.list_datasets()] == ["analytics", "shop"]
    assert [each.dataset_id for each in client.list_datasets(page_size=1)] == ["analytics", "shop"]
    assert client.get_dataset("shop").location == "US"
    tables = {each.table_id: each.table_type for each in client.list_tables("analytics")}
    assert tables == {"events": "TABLE", "sales_by_city": "VIEW"}
    for missing in (lambda: client.get_dataset("nope"), lambda: list(client.list_tables("nope"))):
        with pytest.raises(NotFound):
            missing()


def test_a_table_tells_its_schema_tags_and_size(client: bigquery.Client) -> None:
    table = client.get_table("shop.customers")
    assert (table.num_rows, table.table_type, table.description) == (
        200,
        "TABLE",
        "People who have an account",
    )
    assert table.num_bytes > 200 * 8
    assert table.etag
    fields = {field.name: field for field in table.schema}
    assert fields["id"].mode == "REQUIRED"
    assert fields["ssn"].policy_tags.names[0].endswith("/pii.ssn")
    assert fields["contacts"].fields[1].policy_tags.names[0].endswith("/pii.contact")
    view = client.get_table("analytics.sales_by_city")
    assert view.view_query.startswith("SELECT customers.address.city")
    assert [field.field_type for field in view.schema] == ["STRING", "INTEGER", "NUMERIC"]
    with pytest.raises(NotFound, match=r"Table acme-shop:shop\.nope was not found in location US"):
        client.get_table("shop.nope")


def test_rows_of_a_table_are_listed(client: bigquery.Client) -> None:
    rows = list(client.list_rows("shop.customers", page_size=70))
    assert [row["id"] for row in rows] == list(range(1, 201))
    table = client.get_table("shop.customers")
    wanted = [field for field in table.schema if field.name in ("created", "ssn")]
    part = list(client.list_rows(table, selected_fields=wanted, start_index=198, max_results=1))
    assert set(part[0].keys()) == {"ssn", "created"}
    assert part[0]["ssn"] == rows[198]["ssn"]
    with pytest.raises(BadRequest, match="type VIEW"):
        list(client.list_rows("analytics.sales_by_city", selected_fields=wanted))


def test_methods_that_are_not_there_say_so(sandbox: Any) -> None:
    for method, path in (
        ("POST", "datasets/shop/tables/orders:setIamPolicy"),
        ("POST", "datasets/shop/tables/orders/rowAccessPolicies"),
    ):
        answer = _call(sandbox, method, path, json={})
        assert answer.status_code == 400
        assert "not supported by the sandbox: " in answer.json()["error"]["message"]


def test_an_answer_is_packed_and_indented_where_that_is_asked_for(sandbox: Any) -> None:
    plain = _call(sandbox, "GET", "datasets/shop/tables/customers")
    assert plain.headers["content-encoding"] == "gzip"
    assert b"\n" not in plain.content
    headers = {"Authorization": f"Bearer {_token(sandbox)}", "Accept-Encoding": "identity"}
    url = f"{sandbox.url}/projects/acme-shop/datasets/shop/tables/customers?prettyPrint=true"
    indented = requests.get(url, headers=headers, timeout=10)
    assert "content-encoding" not in indented.headers
    assert b'\n  "kind": "bigquery#table"' in indented.content
    assert indented.json() == plain.json()


def test_a_packed_request_is_read_whole_or_not_at_all(sandbox: Any) -> None:
    def status(data: bytes, encoding: str = "gzip") -> int:
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        headers["Authorization"] = f"Bearer {_token(sandbox)}"
        url = f"{sandbox.url}/projects/acme-shop/queries"
        return requests.post(url, data=data, headers=headers, timeout=30).status_code

    packed = gzip.compress(b'{"query": "SELECT 1", "useLegacySql": false}')
    assert status(packed) == 200
    assert status(packed[:-4]) == status(b"{}") == status(packed, "br") == 400
    assert status(gzip.compress(b" " * (20 << 20))) == 400


def test_jobs_are_listed_by_state_time_and_project(client: bigquery.Client) -> None:
    first = client.query("SELECT 1 AS first")
    first.result()
    time.sleep(0.01)
    between = datetime.now(UTC)
    second = client.query("SELECT 2 AS second")
    second.result()
    later = [job.job_id for job in client.list_jobs(min_creation_time=between)]
    assert (second.job_id in later, first.job_id in later) == (True, False)
    earlier = [job.job_id for job in client.list_jobs(max_creation_time=between)]
    assert (second.job_id in earlier, first.job_id in earlier) == (False, True)
    assert second.job_id in [job.job_id for job in client.list_jobs(state_filter="done")]
    assert second.job_id not in [job.job_id for job in client.list_jobs(state_filter="pending")]


def test_a_list_of_jobs_is_of_ones_own(sandbox: Any, client: bigquery.Client) -> None:
    job = client.query("SELECT 3")
    job.result()
    with bigquery.Client(
        project="acme-shop",
        credentials=sandbox.account.credentials("other@acme-shop.example.com"),
        client_options={"api_endpoint": sandbox.url},
    ) as other:
        assert job.job_id not in [each.job_id for each in other.list_jobs()]
        assert job.job_id in [each.job_id for each in other.list_jobs(all_users=True)]


def test_a_short_list_of_jobs_has_no_texts(sandbox: Any) -> None:
    _call(sandbox, "POST", "queries", json={"query": "SELECT 1", "useLegacySql": False})
    assert "configuration" not in _call(sandbox, "GET", "jobs?maxResults=1").json()["jobs"][0]


def test_a_deleted_job_is_gone_with_its_result_and_its_statements(client: bigquery.Client) -> None:
    job = client.query("SELECT 1; SELECT 2")
    job.result()
    (child, *_) = client.list_jobs(parent_job=job)
    table = client.get_job(job.job_id, location="US").destination
    client.get_table(table)
    client.delete_job_metadata(job)
    for missing in (
        lambda: client.get_job(job.job_id),
        lambda: client.get_job(child.job_id),
        lambda: client.get_table(table),
    ):
        with pytest.raises(NotFound):
            missing()


def test_a_result_is_a_table_that_queries_can_name(client: bigquery.Client) -> None:
    job = client.query("SELECT id, [id] AS ids FROM shop.orders WHERE id < 4")
    job.result()
    table = client.get_table(job.destination)
    assert (table.num_rows, table.num_bytes) == (3, 48)
    (total,) = client.query_and_wait(f"SELECT SUM(i) AS n FROM `{table}`, UNNEST(ids) AS i")
    assert total["n"] == 6
    assert table.dataset_id not in [each.dataset_id for each in client.list_datasets()]
    assert table.dataset_id.startswith("_")


def _write(client: bigquery.Client, sql: str, table: str, **more: Any) -> None:
    destination = bigquery.TableReference.from_string(table, client.project)
    config = bigquery.QueryJobConfig(destination=destination, **more)
    job = client.query(sql, job_config=config)
    job.result()
    assert job.destination == destination


def test_a_result_goes_where_the_client_says(client: bigquery.Client, lab: str) -> None:
    table = f"{lab}.t"
    _write(client, "SELECT 1 AS id, 'a' AS name", table)
    assert client.get_table(table).num_rows == 1
    with pytest.raises(Conflict, match="Already Exists: Table"):
        _write(client, "SELECT 2 AS id, 'b' AS name", table)
    append = "WRITE_APPEND"
    _write(client, "SELECT 'b' AS name, 2 AS id", table, write_disposition=append)
    assert [tuple(row) for row in client.list_rows(table)] == [(1, "a"), (2, "b")]
    with pytest.raises(BadRequest, match=r"Cannot add fields \(field: more\)"):
        _write(client, "SELECT 3 AS id, 1 AS more", table, write_disposition=append)
    with pytest.raises(BadRequest, match="has changed type from INTEGER to STRING"):
        _write(client, "SELECT 'x' AS id", table, write_disposition=append)
    options = ["ALLOW_FIELD_ADDITION"]
    _write(
        client,
        "SELECT 3 AS id, 1 AS more",
        table,
        write_disposition=append,
        schema_update_options=options,
    )
    rows = [tuple(row) for row in client.list_rows(table)]
    assert rows == [(1, "a", None), (2, "b", None), (3, None, 1)]
    _write(client, "SELECT DATE '2024-01-01' AS day", table, write_disposition="WRITE_TRUNCATE")
    assert [field.name for field in client.get_table(table).schema] == ["day"]
    with pytest.raises(NotFound):
        _write(client, "SELECT 1", f"{lab}.nope", create_disposition="CREATE_NEVER")
    with pytest.raises(NotFound):
        _write(client, "SELECT 1", "nope.nope")
    for sql in (f"CREATE TABLE {lab}.u (x INT64)", "SELECT 1; SELECT 2"):
        with pytest.raises(BadRequest, match=r"destination( t|T)able"):
            _write(client, sql, table)


def test_a_result_can_be_partitioned(client: bigquery.Client, lab: str) -> None:
    _write(
        client,
        "SELECT DATE '2024-01-01' AS day, 'a' AS name",
        f"{lab}.t",
        time_partitioning=bigquery.TimePartitioning(field="day"),
        clustering_fields=["name"],
    )
    table = client.get_table(f"{lab}.t")
    assert (table.time_partitioning.field, table.clustering_fields) == ("day", ["name"])


def test_a_session_keeps_variables(client: bigquery.Client) -> None:
    config = bigquery.QueryJobConfig(create_session=True)
    job = client.query("DECLARE n INT64 DEFAULT 7", job_config=config)
    job.result()
    same = [bigquery.ConnectionProperty("session_id", job.session_info.session_id)]
    later = bigquery.QueryJobConfig(connection_properties=same)

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in client.query(sql, job_config=later).result()]

    rows("SET n = n + 1")
    rows("BEGIN DECLARE inner_one INT64; SET n = n + 1; END")
    assert rows("SELECT n") == [(9,)]
    with pytest.raises(BadRequest, match="inner_one"):
        rows("SELECT inner_one")
    with pytest.raises(BadRequest, match="Unrecognized name: n"):
        client.query("SELECT n").result()


@pytest.mark.parametrize("api_method", ["INSERT", "QUERY"])
def test_a_session_keeps_what_is_temporary(client: bigquery.Client, api_method: str) -> None:
    sql = "CREATE TEMP TABLE numbers AS SELECT x FROM UNNEST([1, 2]) AS x"
    config = bigquery.QueryJobConfig(create_session=True)
    job = client.query(sql, job_config=config, api_method=api_method)
    job.result()
    session = job.session_info.session_id
    inside = bigquery.QueryJobConfig(
        connection_properties=[bigquery.ConnectionProperty("session_id", session)]
    )
    double = "CREATE TEMP FUNCTION double(x INT64) AS (2 * x); SELECT double(x) FROM numbers"
    assert sorted(row[0] for row in client.query(double, job_config=inside).result()) == [2, 4]
    (row,) = client.query("SELECT SUM(double(x)) FROM numbers", job_config=inside).result()
    assert row[0] == 6
    with pytest.raises(BadRequest):
        client.query("SELECT * FROM numbers").result()
    unknown = bigquery.QueryJobConfig(
        connection_properties=[bigquery.ConnectionProperty("session_id", "nope")]
    )
    with pytest.raises(NotFound, match="Session"):
        client.query("SELECT 1", job_config=unknown).result()
    zone = bigquery.QueryJobConfig(
        connection_properties=[bigquery.ConnectionProperty("time_zone", "Europe/Paris")]
    )
    with pytest.raises(BadRequest, match="not supported by the sandbox: the connection property"):
        client.query("SELECT 1", job_config=zone).result()


def _claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": _ACCOUNT,
        "sub": _ACCOUNT,
        "scope": _SCOPE,
        "iat": now,
        "exp": now + 3600,
    }
    return {key: value for key, value in (claims | changes).items() if value is not None}


def _signed(sandbox: Any, **changes: object) -> str:
    key = RSAKey.import_key(sandbox.account.private_pem)
    return jwt.encode({"alg": "RS256"}, _claims(**changes), key)


def _status(sandbox: Any, authorization: str | None) -> int:
    headers = {"Authorization": authorization} if authorization is not None else {}
    answer = requests.get(f"{sandbox.url}/projects/acme-shop/datasets", headers=headers, timeout=10)
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert (error["errors"][0]["reason"], error["status"]) == ("authError", "UNAUTHENTICATED")
    return answer.status_code


def test_the_accounts_own_tokens_come_in(sandbox: Any) -> None:
    assert _status(sandbox, f"Bearer {_token(sandbox)}") == 200
    assert _status(sandbox, f"Bearer {_signed(sandbox)}") == 200
    audience = {"scope": None, "aud": "https://bigquery.googleapis.com/"}
    assert _status(sandbox, f"Bearer {_signed(sandbox, **audience)}") == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": int(time.time()) + 90_000},
        {"iat": int(time.time()) + 900},
        {"iat": None},
        {"sub": "someone@else.example.com"},
        {"iss": None, "sub": None},
        {"scope": None},
        {"scope": "https://www.googleapis.com/auth/drive"},
        {"scope": None, "aud": "https://storage.googleapis.com/"},
    ],
)
def test_any_other_claims_stay_out(sandbox: Any, changes: dict[str, object]) -> None:
    assert _status(sandbox, f"Bearer {_signed(sandbox, **changes)}") == 401


def test_any_other_token_stays_out(sandbox: Any, other_account: Any) -> None:
    stranger = RSAKey.import_key(other_account.private_pem)
    good = _signed(sandbox)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=")
    signed = header + b"." + good.split(".")[1].encode()
    public_as_secret = hmac.digest(sandbox.account.public_file.read_bytes(), signed, "sha256")
    confused = (signed + b"." + base64.urlsafe_b64encode(public_as_secret).rstrip(b"=")).decode()
    for authorization in (
        None,
        "",
        "Bearer ",
        "Bearer opaque-gateway-token",
        f"Basic {good}",
        f"Bearer {good[:-4]}AAAA",
        f"Bearer {jwt.encode({'alg': 'RS256'}, _claims(), stranger)}",
        f"Bearer {confused}",
        "Bearer eyJhbGciOiJub25lIn0." + good.split(".")[1] + ".",
        f"Bearer {'x' * 20_000}",
    ):
        assert _status(sandbox, authorization) == 401


def test_malformed_requests_are_refused_in_googles_shape(sandbox: Any) -> None:
    for method, path, body in (
        ("POST", "queries", b"{"),
        ("POST", "queries", b'{"query":"SELECT 1","query":"SELECT 2"}'),
        ("POST", "queries", b'{"query":"SELECT 1","madeUp":1}'),
        ("POST", "queries", b'{"query":"SELECT 1","useLegacySql":true}'),
        ("POST", "jobs", b'{"configuration":{"load":{"sourceUris":["x"]}}}'),
        ("GET", "datasets/shop/tables/%2e%2e/tables", b""),
        ("GET", "datasets?madeUp=1", b""),
        ("GET", "datasets?access_token=x", b""),
        ("POST", "queries", b'{"query":"' + b"x" * 2_000_000 + b'"}'),
    ):
        answer = _call(sandbox, method, path, data=body)
        assert answer.status_code in (400, 403)
        assert json.loads(answer.content)["error"]["errors"][0]["message"]


def test_a_missing_folder_is_explained(sandbox_command: list[str], tmp_path: Path) -> None:
    options = ["--data", str(tmp_path / "missing"), "--public-key", "any.pem", "--port", "0"]
    ended = subprocess.run(
        [*sandbox_command, *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "does not exist; make it, or let --sample" in ended.stderr
    assert "Traceback" not in ended.stderr
