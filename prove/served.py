"""One world behind a gateway: its data folder, its policy, and both servers as real processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
from demo.stack import PROGRAM, Stack, running

from keystile.config.load import load
from keystile.googlesql.engine import Engine
from keystile.identity.builtin import builtin_issuer
from keystile.model.schema import SqlType, Table
from keystile.sandbox.cells import scalar_text
from keystile.upstream.keys import SigningKey
from keystile.wire.schema import schema_json
from prove.evaluator import value_proto
from prove.shop import DATASET, PROJECT
from prove.trial import contents
from prove.visible import Seen
from prove.worlds import Schema

AGENT = "prover"
SCRATCH = "scratch"
"""The dataset in which statements that write make their tables."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = "masking-key"
# One engine for each process keeps two gateways and two sandboxes on two cores.
_SETTINGS = {
    "engine": {"workers": 1},
    "identity": {"token_lifetime": 3600},
    "masking_key_file": _KEY,
    "masking_keys": {"named": {"file": _KEY}},
}
_SANDBOX = (sys.executable, "-m", "prove.blinded", "sandbox")


class Served(NamedTuple):
    """A world that answers."""

    gateway: str
    sandbox: str
    token: str
    account: SigningKey

    async def ask(
        self, session: aiohttp.ClientSession, method: str, path: str, body: object = None
    ) -> Seen:
        """Send a request as the agent."""
        return await _sent(session, method, f"{self.gateway}/bigquery/v2{path}", self.token, body)

    async def ask_past(self, session: aiohttp.ClientSession, path: str, body: object) -> Seen:
        """Send a request to the sandbox itself, with the gateway's own credential."""
        url = f"{self.sandbox}/bigquery/v2{path}"
        return await _sent(session, "POST", url, self.account.sign().text, body)


@contextmanager
def served(folder: Path, schemas: Iterable[Schema], gateway: Sequence[str]) -> Iterator[Served]:
    """Serve the data that `write_data` put into the folder. Everything ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    policy = folder / "policy"
    _write_policy(policy, schemas)
    (folder / _KEY).write_text("5" * 64)  # of both worlds: tokens would differ by their keys alone
    with running(
        folder, policy=policy, settings=_SETTINGS, gateway=gateway or PROGRAM, sandbox=_SANDBOX
    ) as stack:
        stack.keystile("agent", "create", AGENT)
        file = folder / "service-account.json"
        account = SigningKey(file.read_bytes(), str(file))
        yield Served(stack.gateway, stack.sandbox, _token(stack), account)


def write_data(
    folder: Path, engine: Engine, schemas: Iterable[Schema], secret: int, shape: int
) -> None:
    """Write the tables of all schemas as the world of a secret has them.

    Tables of one name must be the same in all schemas.
    """
    known: dict[Path, Table] = {}
    home = folder / "bigquery" / PROJECT
    (home / SCRATCH).mkdir(parents=True)
    for schema in schemas:
        for content in contents(engine, schema, secret, shape):
            table = content.table
            file = home / table.id.dataset / f"{table.id.table}.ndjson"
            if known.setdefault(file, table) != table:
                raise ValueError(f"two schemas have other tables of the name {table.id}")
            lines = [json.dumps(_record(table, row)) for row in content.rows]
            _write(file, "".join(f"{line}\n" for line in lines))
            fields = json.dumps(schema_json(table.fields))
            _write(file.with_name(f"{table.id.table}.schema.json"), fields)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _record(table: Table, row: Sequence[Any]) -> dict[str, object]:
    pairs = zip(table.fields, row, strict=True)
    return {
        field.name: _loaded(value_proto(value, field.sql_type), field.sql_type)
        for field, value in pairs
    }


def _loaded(value: Any, type_: SqlType) -> object:
    """Give an engine's value as BigQuery loads it from newline-delimited JSON."""
    if value.WhichOneof("value") is None:
        return None
    if type_.kind == "ARRAY" and type_.element:
        return [_loaded(item, type_.element) for item in value.array_value.element]
    if type_.kind == "STRUCT":
        parts = zip(value.struct_value.field, type_.fields, strict=True)
        return {name: _loaded(part, inner) for part, (name, inner) in parts}
    text = scalar_text(value, type_)
    if type_.kind == "TIMESTAMP":
        return (_EPOCH + timedelta(microseconds=int(text))).isoformat()
    return text


def _write_policy(folder: Path, schemas: Iterable[Schema]) -> None:
    """Label each masked column by its full name, and let the agent do what policy can allow."""
    schemas = tuple(schemas)
    filters = [one.filter for schema in schemas for one in schema.filtered]
    masks = {mask.column: mask.mask for schema in schemas for mask in schema.masks}
    labels, maskings = [], []
    for number, (column, mask) in enumerate(masks.items()):
        name = ".".join((*str(column.table).split("."), *column.path))
        labels.append({"label": f"secret.m{number}", "columns": [name]})
        maskings.append({"label": f"secret.m{number}", "mask": msgspec.to_builtins(mask)})
    datasets = [f"{PROJECT}.{DATASET}", f"{PROJECT}.{SCRATCH}"]
    rule = {
        "name": "prover",
        "agents": {"names": [AGENT]},
        "resources": {"datasets": datasets},
        "allow": ["read", "write", "schema_change", "script", "routine"],
    }
    folder.mkdir(exist_ok=True)
    row_filters = [
        {"name": one.rule, "tables": [str(one.table)], "where": one.where} for one in filters
    ]
    document = {
        "labels": labels,
        "masks": maskings,
        "rules": [rule],
        "row_filters": row_filters,
    }
    (folder / "policy.yaml").write_text(json.dumps(document))


def _token(stack: Stack) -> str:
    settings = load(stack.config)
    subject = builtin_issuer(settings).mint(AGENT, "proof")
    return str(stack.exchange(subject, settings.identity.audience)["access_token"])


async def _sent(
    session: aiohttp.ClientSession, method: str, url: str, token: str, body: object
) -> Seen:
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    async with session.request(method, url, json=body, headers=headers) as response:
        return Seen.of(response.status, response.headers, await response.read())
