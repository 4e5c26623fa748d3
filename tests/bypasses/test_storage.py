"""Every known way round the gateway by the Storage API, over gRPC itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.cloud.bigquery_storage_v1 import types
from grpc import aio

from keystile.api.fake_identity import FakePrincipals
from keystile.api.storage import read_service
from keystile.rpc.server import RpcServer
from keystile.wire import read_messages as messages

TABLE = "projects/acme-shop/datasets/shop/tables/customers"
_STORAGE = "/google.cloud.bigquery.storage."
_READ = "v1.BigQueryRead/"

Call = Callable[..., Awaitable[bytes]]


@pytest.fixture
async def call(front: Any) -> AsyncIterator[Call]:
    """Call a method as an agent, with a message or with bytes of one's own."""
    service = read_service(front.reads, FakePrincipals(front.principals), front.metrics)
    server = await RpcServer.listening(service, "127.0.0.1", 0, None)
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:

        async def made(method: str, message: Any, who: str | None = "reader") -> bytes:
            data = message if isinstance(message, bytes) else message.SerializeToString()
            metadata = (("authorization", f"Bearer {who}"),) if who else ()
            if method.endswith("/ReadRows"):
                stream = channel.unary_stream(_STORAGE + method)(data, metadata=metadata)
                return b"".join([part async for part in stream])
            data = await channel.unary_unary(_STORAGE + method)(data, metadata=metadata)
            return bytes(data)

        yield made
    await server.close()


def asked(table: str = TABLE, condition: str = "", **session: Any) -> bytes:
    """Write a request with Google's own classes."""
    options = {"selected_fields": ["id"], "row_restriction": condition}
    written = {"table": table, "data_format": 2, "read_options": options, **session}
    request = types.CreateReadSessionRequest(parent="projects/acme-shop", read_session=written)
    data: bytes = types.CreateReadSessionRequest.serialize(request)
    return data


async def opened(call: Call, request: bytes, who: str = "reader") -> Any:
    return messages.ReadSession.FromString(await call(f"{_READ}CreateReadSession", request, who))


async def refused(front: Any, calling: Awaitable[bytes]) -> aio.AioRpcError:
    """Check that a call is refused and runs nothing, and give the error."""
    before = len(front.account.queries)
    with pytest.raises(aio.AioRpcError) as caught:
        await calling
    assert len(front.account.queries) == before
    assert "internal fault" not in (caught.value.details() or "")
    return caught.value


CONDITIONS = (
    "ssn LIKE '1%'",
    "SUBSTR(ssn, 1, 1) < '5'",
    "age > 40",
    "FARM_FINGERPRINT(email) > 0",
    "MOD(FARM_FINGERPRINT(address.street), 7) > 3",
    "MOD(age, 2) = 0 -- AND FALSE",
)


@pytest.mark.parametrize("condition", CONDITIONS)
async def test_line_29_a_condition_of_a_read_session_sees_masks(
    bench: Any, front: Any, call: Call, condition: str
) -> None:
    """What a session asks is the query that is tried here in two worlds."""
    await opened(call, asked(condition=condition))
    sql = f"SELECT `id` FROM `acme-shop`.`shop`.`customers` WHERE ({condition}\n)"  # noqa: S608
    told = await bench.masked(sql)
    assert front.account.queries[-1].sql == told.text


@pytest.mark.parametrize(
    "condition",
    [
        "TRUE) UNION ALL SELECT id FROM `acme-shop`.shop.customers WHERE (TRUE",
        "TRUE) OR (TRUE",
        "TRUE\n) -- ",
        "TRUE /*",
        "id IN (SELECT amount FROM payroll.salaries)",
        "EXISTS (SELECT 1 FROM shop.orders)",
        "ERROR(ssn) IS NULL",
        "RAND() < 0.5",
        "@x = id",
        "@@time_zone = 'UTC'",
        "TRUE; SELECT 1",
        "shop.top() = ssn",
        "",
    ],
)
async def test_line_29_a_condition_of_a_read_session_is_one_condition(
    front: Any, call: Call, condition: str
) -> None:
    if not condition:
        condition = " "
    error = await refused(front, call(f"{_READ}CreateReadSession", asked(condition=condition)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "row_restriction" in (error.details() or "")


@pytest.mark.parametrize(
    "session",
    [
        {"table_modifiers": {"snapshot_time": {"seconds": 1_700_000_000}}},
        {"data_format": 1},
        {"read_options": {"sample_percentage": 1.0}},
    ],
)
async def test_line_29_no_older_state_no_sample_and_no_other_format_is_read(
    front: Any, call: Call, session: dict[str, Any]
) -> None:
    error = await refused(front, call(f"{_READ}CreateReadSession", asked(**session)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_line_29_a_field_that_nobody_knows_is_refused(front: Any, call: Call) -> None:
    data = asked() + b"\xa0\x06\x01"
    error = await refused(front, call(f"{_READ}CreateReadSession", data))
    assert "field 100" in (error.details() or "")


@pytest.mark.parametrize(
    "method",
    [
        "v1.BigQueryWrite/CreateWriteStream",
        "v1.BigQueryWrite/AppendRows",
        "v1beta2.BigQueryRead/CreateReadSession",
        "v1beta1.BigQueryStorage/CreateReadSession",
        "v1alpha.MetastorePartitionService/ListMetastorePartitions",
    ],
)
async def test_line_29_nothing_is_written_and_no_older_version_is_there(
    front: Any, call: Call, method: str
) -> None:
    error = await refused(front, call(method, asked()))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_line_29_rows_of_a_read_session_are_on_record_and_masked(
    front: Any, call: Call
) -> None:
    session = await opened(call, asked(read_options={"selected_fields": ["ssn"]}))
    assert "XXX-XX-XXXX" in front.account.queries[-1].sql
    assert await call(
        f"{_READ}ReadRows", messages.ReadRowsRequest(read_stream=session.streams[0].name)
    )
    (job,) = (await front.ask("GET", "/projects/acme-shop/jobs?projection=full")).json["jobs"]
    sql = "SELECT `ssn` FROM `acme-shop`.`shop`.`customers`"
    assert job["configuration"]["query"]["query"] == sql


async def test_line_20_another_agents_read_session_is_absent(front: Any, call: Call) -> None:
    name = (await opened(call, asked())).streams[0].name
    for method, message in (
        ("ReadRows", messages.ReadRowsRequest(read_stream=name)),
        ("SplitReadStream", messages.SplitReadStreamRequest(name=name)),
    ):
        await call(_READ + method, message)
        error = await refused(front, call(_READ + method, message, "other"))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        error = await refused(front, call(_READ + method, message, None))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_line_21_another_agents_result_opens_no_read_session(front: Any, call: Call) -> None:
    mine = (await front.result_table()).removeprefix("/")
    whole: dict[str, Any] = {"read_options": {}}
    assert (await opened(call, asked(mine, **whole))).streams
    said = set()
    for table in (mine, mine[:-1] + "x", "projects/acme-shop/datasets/_anonymous/tables/anon1"):
        error = await refused(
            front, call(f"{_READ}CreateReadSession", asked(table, **whole), "other")
        )
        said.add(error.code())
    assert said == {grpc.StatusCode.NOT_FOUND}


@pytest.mark.parametrize("name", ["customers$20240101", "customers@-3600000", "custom*"])
async def test_line_11_a_decorator_in_a_read_session_names_no_table(
    front: Any, call: Call, name: str
) -> None:
    table = f"projects/acme-shop/datasets/shop/tables/{name}"
    error = await refused(front, call(f"{_READ}CreateReadSession", asked(table)))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_line_26_a_read_session_reaches_no_hidden_table(front: Any, call: Call) -> None:
    said = []
    for name in ("salaries", "absent"):
        table = f"projects/acme-shop/datasets/payroll/tables/{name}"
        error = await refused(front, call(f"{_READ}CreateReadSession", asked(table)))
        said.append((error.code(), (error.details() or "").replace(name, "NAME")))
    assert said[0] == said[1]
    assert said[0][0] is grpc.StatusCode.NOT_FOUND
