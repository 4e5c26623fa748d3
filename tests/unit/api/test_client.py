"""The real google-cloud-bigquery client, unchanged, against a served data port."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth import identity_pool
from google.auth.exceptions import OAuthError
from google.cloud import bigquery
from google.oauth2.credentials import Credentials

from keystile.api.fakes import FakeGate
from keystile.model.errors import InvalidQueryError, RefusedError

ROWS = [(0, "j***@example.com"), (1, "j***@example.com"), (2, "j***@example.com")]
Connect = Callable[[Any], bigquery.Client]


@pytest.fixture
def connect() -> Connect:
    def build(served: Any) -> bigquery.Client:
        return bigquery.Client(
            project="acme-shop",
            credentials=Credentials(token="token-a"),
            client_options={"api_endpoint": served.url},
        )

    return build


def test_query_and_result(serve: Any, connect: Connect) -> None:
    served = serve()
    rows = connect(served).query("SELECT id, email FROM shop.customers").result()
    assert [tuple(row) for row in rows] == ROWS


def test_query_and_wait_takes_one_request(serve: Any, connect: Connect) -> None:
    served = serve()
    assert [tuple(row) for row in connect(served).query_and_wait("SELECT 1")] == ROWS
    assert served.seen == ["POST /bigquery/v2/projects/acme-shop/queries"]


def test_parameters_and_labels_pass(serve: Any, connect: Connect) -> None:
    served = serve()
    config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter("n", "INT64", 5)],
        labels={"purpose": "support"},
        default_dataset="acme-shop.shop",
    )
    connect(served).query("SELECT @n", job_config=config).result()
    (request,) = served.gate.requests
    assert request.parameters[0].name == "n"
    assert request.labels == {"purpose": "support"}


def test_rows_are_streamed_in_and_bad_ones_told(serve: Any, connect: Connect) -> None:
    served = serve()
    client = connect(served)
    large = {"note": "x" * (2 << 20)}
    assert client.insert_rows_json("acme-shop.shop.notes", [{"id": 1}, large]) == []
    (rows,) = served.gate.inserted
    assert str(rows.table) == "acme-shop.shop.notes"
    assert rows.repeatable
    (bad,) = client.insert_rows_json("acme-shop.shop.notes", [{"id": 1}, {}])
    assert (bad["index"], bad["errors"][0]["reason"]) == (1, "invalid")
    with pytest.raises(exceptions.BadRequest, match="No rows present"):
        client.insert_rows_json("acme-shop.shop.notes", [])


def test_result_waits_across_a_pending_second(serve: Any, connect: Connect) -> None:
    client = connect(serve(FakeGate(hold_seconds=1.0)))
    started = time.monotonic()
    job = client.query("SELECT 1")
    assert job.state == "PENDING"
    assert [tuple(row) for row in job.result()] == ROWS
    assert 1.0 <= time.monotonic() - started < 4.0
    assert job.state == "DONE"


def test_query_and_wait_waits_too(serve: Any, connect: Connect) -> None:
    client = connect(serve(FakeGate(hold_seconds=1.0)))
    assert [tuple(row) for row in client.query_and_wait("SELECT 1")] == ROWS


@pytest.mark.parametrize("how", ["query", "query_and_wait"])
def test_a_refusal_is_forbidden_at_once_with_its_words(
    serve: Any, connect: Connect, how: str
) -> None:
    refusal = RefusedError("rule `no-schema-changes` denies it", hint="ask a data steward")
    served = serve(FakeGate(refusal=refusal))
    client = connect(served)
    started = time.monotonic()
    with pytest.raises(exceptions.Forbidden, match=r"no-schema-changes.*ask a data steward"):
        getattr(client, how)("DROP TABLE shop.customers")
    assert time.monotonic() - started < 1.0
    assert len(served.seen) == 1


def test_a_fault_of_ours_is_forbidden_at_once(serve: Any, connect: Connect) -> None:
    served = serve(FakeGate(refusal=ValueError("boom")))
    with pytest.raises(exceptions.Forbidden, match="internal fault"):
        connect(served).query("SELECT 1")
    assert len(served.seen) == 1


def test_bad_sql_is_a_bad_request_at_once(serve: Any, connect: Connect) -> None:
    served = serve(FakeGate(refusal=InvalidQueryError("Syntax error: Unexpected end at [1:7]")))
    with pytest.raises(exceptions.BadRequest, match="Syntax error"):
        connect(served).query_and_wait("SELECT")
    assert len(served.seen) == 1


def test_a_denial_after_the_hold_is_forbidden_with_its_words(serve: Any, connect: Connect) -> None:
    served = serve(FakeGate(hold_seconds=0.5, failure=RefusedError("denied by `operator`: no")))
    job = connect(served).query("SELECT ssn FROM shop.customers")
    started = time.monotonic()
    with pytest.raises(exceptions.Forbidden, match="denied by `operator`: no"):
        job.result()
    assert time.monotonic() - started < 2.0
    assert sum(seen.startswith("POST") for seen in served.seen) == 1


def external(served: Any, folder: Path, subject_token: str) -> bigquery.Client:
    """Connect as an agent does: by a credential file of the kind `external_account`."""
    (folder / "oidc.jwt").write_text(subject_token, encoding="utf-8")
    info = {
        "type": "external_account",
        "audience": "//keystile/agents",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{served.url}/v1/token",
        "credential_source": {"file": str(folder / "oidc.jwt")},
    }
    return bigquery.Client(
        project="acme-shop",
        credentials=identity_pool.Credentials.from_info(info),
        client_options={"api_endpoint": served.url},
    )


def test_an_external_account_file_signs_in(serve: Any, tmp_path: Path) -> None:
    served = serve()
    rows = external(served, tmp_path, "jwt-a").query_and_wait("SELECT 1")
    assert [tuple(row) for row in rows] == ROWS
    assert served.seen[0] == "POST /v1/token"


def test_a_refused_subject_token_ends_at_once_with_its_words(serve: Any, tmp_path: Path) -> None:
    served = serve()
    with pytest.raises(OAuthError, match="the subject token is expired"):
        external(served, tmp_path, "bad").query_and_wait("SELECT 1")
    assert served.seen == ["POST /v1/token"]


def test_an_invalid_gateway_token_ends_after_three_attempts(serve: Any, tmp_path: Path) -> None:
    served = serve()
    started = time.monotonic()
    with pytest.raises(exceptions.Unauthorized, match="gateway token is not valid"):
        external(served, tmp_path, "jwt-of-nobody").query("SELECT 1")
    assert time.monotonic() - started < 2.0
    assert len([seen for seen in served.seen if "jobs" in seen]) == 3


def test_a_dry_run_gives_bytes_and_schema(serve: Any, connect: Connect) -> None:
    config = bigquery.QueryJobConfig(dry_run=True)
    job = connect(serve()).query("SELECT 1", job_config=config)
    assert job.total_bytes_processed == 123
    assert [field.name for field in job.schema] == ["id", "email"]


def test_a_job_can_be_got_and_cancelled(serve: Any, connect: Connect) -> None:
    client = connect(serve(FakeGate(hold_seconds=60)))
    job = client.query("SELECT 1")
    again = client.get_job(job.job_id, location=job.location)
    assert again.state == "PENDING"
    assert again.cancel()
    assert client.get_job(job.job_id).error_result["reason"] == "stopped"


def test_an_unknown_job_is_not_found(serve: Any, connect: Connect) -> None:
    with pytest.raises(exceptions.NotFound):
        connect(serve()).get_job("nobody-s")


def test_datasets_and_tables_are_listed(serve: Any, connect: Connect) -> None:
    client = connect(serve())
    assert [dataset.dataset_id for dataset in client.list_datasets()] == ["shop"]
    assert [table.table_id for table in client.list_tables("shop")] == ["customers"]
    assert client.get_table("shop.customers").schema[0].name == "id"


def test_rows_of_a_table_are_listed(serve: Any, connect: Connect) -> None:
    served = serve()
    rows = connect(served).list_rows("acme-shop.shop.customers", page_size=5)
    assert [row[0] for row in rows] == [0, 1, 2]
    assert served.seen == [
        "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables/customers",
        "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables/customers/data",
    ]
    assert served.gate.pages[-1].max_results == 5


def test_projects_jobs_and_routines_are_listed(serve: Any, connect: Connect) -> None:
    client = connect(serve())
    job = client.query("SELECT 1")
    assert [one.job_id for one in client.list_jobs(all_users=True)] == [job.job_id]
    assert [one.project_id for one in client.list_projects()] == ["acme-shop"]
    (routine,) = client.list_routines("acme-shop.shop")
    assert client.get_routine(routine.reference).type_ == "SCALAR_FUNCTION"
