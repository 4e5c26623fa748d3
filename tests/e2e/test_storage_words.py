"""Conditions and limits over the Storage API, by Google's client over gRPC itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.api_core.exceptions import NotFound, PermissionDenied, ResourceExhausted
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read import transports
from tests.support.grpc_calls import WithMetadata, read_all
from tests.support.stack import PROJECT, Stack, standing

RULES = """
rules:
  - {name: home, agents: {names: [reader]}, when: 'request.network("127.0.0.0/8")', allow: [read]}
  - {name: work, agents: {names: [support]}, when: 'request.network("10.0.0.0/8")', allow: [read]}
  - {name: read, agents: {names: [modest, hurried]}, allow: [read]}
  - name: not-by-python
    agents: {names: [modest]}
    when: request.client.contains("grpc-python")
    deny: [read]
  - {name: rows, agents: {names: [hurried]}, limits: {rows_per_query: 50}}
"""
ORDERS = f"projects/{PROJECT}/datasets/shop/tables/orders"

Open = Callable[..., BigQueryReadClient]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway that takes this machine for its load balancer."""
    folder: Path = tmp_path_factory.mktemp("words")
    stack = Stack(folder, storage={}, rules=RULES)
    settings = yaml.safe_load(stack.config.read_text())
    settings["gateway"]["trusted_proxies"] = ["127.0.0.1"]
    stack.config.write_text(yaml.safe_dump(settings))
    with standing(stack):
        yield stack


@pytest.fixture
def opened(stack: Stack) -> Iterator[Open]:
    """Make a reader for an agent whose calls come by a load balancer, which says from where."""
    channels = []

    def make(agent: str, way: str = "") -> BigQueryReadClient:
        client = stack.client(agent)
        client._credentials.refresh(client._http._auth_request)
        headers = [("authorization", f"Bearer {client._credentials.token}")]
        headers += [("x-forwarded-for", way)] if way else []
        channels.append(grpc.insecure_channel(f"127.0.0.1:{stack.storage_port}"))
        channel = grpc.intercept_channel(channels[-1], WithMetadata(tuple(headers)))
        return BigQueryReadClient(transport=transports.BigQueryReadGrpcTransport(channel=channel))

    yield make
    for channel in channels:
        channel.close()


def session(reader: BigQueryReadClient) -> Any:
    options = {"selected_fields": ["id"]}
    asked = {"table": ORDERS, "data_format": types.DataFormat.ARROW, "read_options": options}
    return reader.create_read_session(parent=f"projects/{PROJECT}", read_session=asked)


def test_a_condition_on_networks_sees_where_a_call_comes_from(opened: Open) -> None:
    """Over gRPC no address was known once, so that every such condition failed."""
    reader = opened("reader")
    assert read_all(reader, session(reader)).num_rows > 50
    with pytest.raises(NotFound):
        session(opened("reader", "10.1.2.3"))
    support = opened("support", "172.16.0.1, 10.1.2.3")
    assert read_all(support, session(support)).num_rows > 50
    for other in ("", "10.1.2.3, 172.16.0.1"):
        with pytest.raises(NotFound):
            session(opened("support", other))


def test_a_condition_on_clients_sees_the_one_that_calls(opened: Open) -> None:
    with pytest.raises(PermissionDenied, match="not-by-python"):
        session(opened("modest"))


def test_rows_end_where_a_limit_says(opened: Open) -> None:
    reader = opened("hurried")
    asked = session(reader)
    counts = (answer.row_count for answer in reader.read_rows(asked.streams[0].name))
    got: list[int] = []
    with pytest.raises(ResourceExhausted, match=r"`rows_per_query` of rule `rows` is 50.*LIMIT 50"):
        got.extend(counts)
    assert sum(got) == 50
    with pytest.raises(ResourceExhausted, match="`rows_per_query`"):
        read_all(reader, asked, offset=50)
