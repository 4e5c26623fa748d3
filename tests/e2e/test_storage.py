"""The Storage Read API of the gateway: real clients over TLS, with masks, owners and records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.api_core.exceptions import (
    GoogleAPICallError,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read import transports
from google.cloud.bigquery_storage_v1.services.big_query_write import transports as writing
from prove.names import Certificate, Proxy, certificate
from tests.support.grpc_calls import WithMetadata, read_all
from tests.support.stack import PROJECT, Stack, standing

_DOMAIN = "gw.test"
_NAMES = [f"bigquery.{_DOMAIN}", f"bigquerystorage.{_DOMAIN}"]
_CUSTOMERS = f"projects/{PROJECT}/datasets/shop/tables/customers"
_MANY = """
    SELECT 100 * a + b AS x, CAST(b AS STRING) AS s
    FROM UNNEST(GENERATE_ARRAY(0, 249)) AS a, UNNEST(GENERATE_ARRAY(1, 100)) AS b ORDER BY x
"""
_PROGRAM = f"""
import json, sys, warnings
warnings.simplefilter("ignore")
from google.cloud import bigquery

client = bigquery.Client()
result = client.query({_MANY!r}).result()
read = result.to_arrow()
listed = client.list_rows("shop.customers").to_arrow()
rows = listed.select(["ssn", "email"]).to_pylist()
print(json.dumps([read.num_rows, read.column("x")[24_999].as_py(), rows]))
"""

_READER = """
import sys
from google.cloud.bigquery_storage_v1 import BigQueryReadClient

reader = BigQueryReadClient(client_options={"api_endpoint": sys.argv[1]})
asked = {"table": sys.argv[2], "data_format": "ARROW"}
session = reader.create_read_session(parent="projects/acme-shop", read_session=asked)
print(sum(answer.row_count for answer in reader.read_rows(session.streams[0].name)))
"""

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("names"), _NAMES)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, shown: Certificate) -> Iterator[Stack]:
    files = {"certificate_file": str(shown.certificate), "key_file": str(shown.key)}
    with standing(Stack(tmp_path_factory.mktemp("stack"), storage=files)) as stack:
        yield stack


@pytest.fixture
def opened(stack: Stack, shown: Certificate) -> Iterator[Open]:
    """Make a client of the Storage API for an agent or for a token: class, transport, who."""
    trusted = grpc.ssl_channel_credentials(shown.root.read_bytes())
    channels = []

    def make(client: Any, transport: Any, token: str | None) -> Any:
        channels.append(grpc.secure_channel(f"127.0.0.1:{stack.storage_port}", trusted))
        bearer = (("authorization", f"Bearer {token}"),) if token is not None else ()
        channel = grpc.intercept_channel(channels[-1], WithMetadata(bearer))
        return client(transport=transport(channel=channel))

    yield make
    for channel in channels:
        channel.close()


@pytest.fixture
def reader(stack: Stack, opened: Open) -> Callable[[str], BigQueryReadClient]:
    def of(agent: str) -> BigQueryReadClient:
        return opened(
            BigQueryReadClient, transports.BigQueryReadGrpcTransport, _token(stack, agent)
        )

    return of


def _token(stack: Stack, agent: str) -> str:
    client = stack.client(agent)
    client._credentials.refresh(client._http._auth_request)
    return str(client._credentials.token)


def _session(
    reader: BigQueryReadClient, table: str = _CUSTOMERS, **options: Any
) -> types.ReadSession:
    asked = {"table": table, "data_format": types.DataFormat.ARROW, "read_options": options}
    return reader.create_read_session(parent=f"projects/{PROJECT}", read_session=asked)


def _read(reader: BigQueryReadClient, table: str = _CUSTOMERS, **options: Any) -> pa.Table:
    return read_all(reader, _session(reader, table, **options))


def test_an_unchanged_program_reads_what_is_more_than_a_page(
    stack: Stack, shown: Certificate, tmp_path: Path, protected: dict[str, str]
) -> None:
    """Environment and credential file alone; whatever the client asks of another host is seen."""
    credential = json.loads(_credential(stack).read_text())
    credential["universe_domain"] = _DOMAIN
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    with Proxy(shown, {_NAMES[0]: stack.port}, {_NAMES[1]: stack.storage_port}) as proxy:
        environment = {
            **os.environ,
            "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "credential.json"),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": _DOMAIN,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(shown.root),
            "REQUESTS_CA_BUNDLE": str(shown.root),
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
            "https_proxy": f"http://127.0.0.1:{proxy.port}",
        }
        command = [sys.executable, "-c", _PROGRAM]
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert proxy.refused == []
        assert set(proxy.led) == set(_NAMES)
    count, last, listed = json.loads(ran.stdout)
    assert (count, last) == (25_000, 25_000)
    assert {row["ssn"] for row in listed} == {"XXX-XX-XXXX"}
    assert [value for value in protected if value in ran.stdout] == []


def test_a_reader_that_is_given_the_address_needs_no_name(
    stack: Stack, shown: Certificate, customers: list[dict[str, Any]]
) -> None:
    environment = {
        **os.environ,
        "GOOGLE_APPLICATION_CREDENTIALS": str(_credential(stack)),
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(shown.root),
    }
    command = [sys.executable, "-c", _READER, f"127.0.0.1:{stack.storage_port}", _CUSTOMERS]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) == len(customers)


def _credential(stack: Stack) -> Path:
    """Make the credential file of an agent, as `keystile agent connect` does."""
    stack.client("reader")
    made = (stack.folder / "agents").glob("*/credential.json")
    return max(made, key=lambda one: one.stat().st_mtime)


def test_without_the_name_of_the_storage_api_rows_come_by_pages(stack: Stack) -> None:
    """A client that knows the gateway's address alone is not sent to Google for the rest."""
    client = stack.client("reader")
    job = client.query(_MANY)
    assert job.result().to_arrow().num_rows == 25_000
    assert client.get_job(job.job_id).destination is None


def test_a_table_comes_masked(reader: Any, protected: dict[str, str]) -> None:
    read = _read(reader("reader"))
    text = str(read.to_pylist())
    assert read.num_rows > 0
    assert [value for value in protected if value in text] == []
    assert set(read.column("ssn").to_pylist()) == {"XXX-XX-XXXX"}


def test_a_restriction_sees_the_mask(reader: Any, customers: list[dict[str, Any]]) -> None:
    agent = reader("reader")
    number = customers[0]["ssn"]
    assert not _session(agent, row_restriction=f"ssn = '{number}'").streams
    every = _read(agent, selected_fields=["id"], row_restriction="ssn = 'XXX-XX-XXXX'")
    assert every.num_rows == len(customers)


@pytest.mark.parametrize(
    "restriction",
    [
        "TRUE) UNION ALL (SELECT * FROM shop.customers WHERE (TRUE",
        "TRUE) OR (TRUE",
        "id IN (SELECT id FROM shop.orders)",
        "EXISTS (SELECT 1 FROM shop.orders)",
        "ERROR(ssn)",
        "id = @x",
        "@@project_id = 'x'",
        "RAND() < 0.5",
        "id = 1 /*",
        "id = 1; SELECT 1",
    ],
)
def test_a_restriction_is_one_condition_on_the_table(reader: Any, restriction: str) -> None:
    with pytest.raises(InvalidArgument, match="row_restriction"):
        _session(reader("reader"), row_restriction=restriction)


def test_a_comment_in_a_restriction_ends_nothing(reader: Any) -> None:
    read = _read(reader("reader"), selected_fields=["id"], row_restriction="id = 1 -- OR TRUE")
    assert read.column("id").to_pylist() == [1]


def test_a_result_is_read_by_its_name_and_by_its_owner_alone(stack: Stack, reader: Any) -> None:
    client = stack.client("reader")
    job = client.query("SELECT id, email, [STRUCT(ssn)] AS ssns FROM shop.customers ORDER BY id")
    plain = job.result().to_arrow(create_bqstorage_client=False)
    table = client.get_job(job.job_id).destination.to_bqstorage()
    read = _read(reader("reader"), table)
    assert read.equals(plain)
    some = _read(reader("reader"), table, selected_fields=["ssns", "ID"])
    assert some.equals(plain.select(["id", "ssns"]))
    with pytest.raises(InvalidArgument, match="row_restriction"):
        _session(reader("reader"), table, row_restriction="id = 1")
    with pytest.raises(NotFound):
        _session(reader("stranger"), table)


def test_a_stream_is_its_agents_own_and_outlives_the_process(
    own_stack_with_storage: Stack, opened_on: Open
) -> None:
    stack = own_stack_with_storage
    session = _session(opened_on("reader"))
    stack.kill()
    stack.start_gateway()
    reader = opened_on("reader")
    assert read_all(reader, session).num_rows > 0
    stranger = opened_on("stranger")
    with pytest.raises(NotFound) as other:
        next(iter(stranger.read_rows(session.streams[0].name)))
    absent = session.streams[0].name.replace(session.name[-12:-6], "AAAAAA")
    with pytest.raises(NotFound) as missing:
        next(iter(reader.read_rows(absent)))
    assert _words(other.value) == _words(missing.value)
    with pytest.raises(NotFound):
        stranger.split_read_stream({"name": session.streams[0].name})


def _words(error: GoogleAPICallError) -> str:
    return str(error.message).partition("`")[0]


@pytest.fixture
def own_stack_with_storage(tmp_path: Path) -> Iterator[Stack]:
    with standing(Stack(tmp_path, storage={})) as stack:
        yield stack


@pytest.fixture
def opened_on(own_stack_with_storage: Stack) -> Iterator[Open]:
    """Make readers for agents of the own stack, which speaks without TLS."""
    stack, channels = own_stack_with_storage, []

    def make(agent: str) -> BigQueryReadClient:
        channels.append(grpc.insecure_channel(f"127.0.0.1:{stack.storage_port}"))
        bearer = (("authorization", f"Bearer {_token(stack, agent)}"),)
        channel = grpc.intercept_channel(channels[-1], WithMetadata(bearer))
        transport = transports.BigQueryReadGrpcTransport(channel=channel)
        return BigQueryReadClient(transport=transport)

    yield make
    for channel in channels:
        channel.close()


def test_a_read_that_policy_denies_is_refused_in_its_words(reader: Any) -> None:
    with pytest.raises(PermissionDenied, match="no-ssn-for-the-modest"):
        _session(reader("modest"))
    assert _read(reader("modest"), selected_fields=["id"]).column_names == ["id"]


@pytest.mark.parametrize("token", [None, "", "wrong", "service account"])
def test_only_a_gateway_token_opens_anything(stack: Stack, opened: Open, token: str | None) -> None:
    given = stack.bearer() if token == "service account" else token
    client = opened(BigQueryReadClient, transports.BigQueryReadGrpcTransport, given)
    with pytest.raises(Unauthenticated):
        _session(client)


def test_a_hidden_table_looks_absent(reader: Any) -> None:
    said = []
    for name in ("hidden", "absent"):
        with pytest.raises(NotFound) as error:
            _session(reader("reader"), f"projects/{PROJECT}/datasets/payroll/tables/{name}")
        said.append(str(error.value).replace(name, "NAME"))
    assert said[0] == said[1]


def test_writing_is_refused(stack: Stack, opened: Open) -> None:
    token = _token(stack, "reader")
    writer = opened(BigQueryWriteClient, writing.BigQueryWriteGrpcTransport, token)
    with pytest.raises(MethodNotImplemented, match="BigQueryWrite/CreateWriteStream"):
        writer.create_write_stream(parent=_CUSTOMERS, write_stream={})


def test_nothing_of_it_reaches_bigquery_but_queries(stack: Stack, reader: Any) -> None:
    before = {job["id"] for job in stack.upstream_jobs()}
    _read(reader("reader"), selected_fields=["ssn"])
    new = [job for job in stack.upstream_jobs() if job["id"] not in before]
    assert [job["configuration"]["jobType"] for job in new] == ["QUERY"]
    assert "XXX-XX-XXXX" in new[0]["configuration"]["query"]["query"]
