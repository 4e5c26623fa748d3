# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""Requests that nobody honest sends: each is refused in time, and others are served meanwhile."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import requests
from tests.support.stack import PROJECT, Client, Stack, standing

WORKERS, DEADLINE, MEMORY = 2, 2, 48 << 20
_LONGEST = 45.0  # seconds; an analysis takes several tasks, each of which has its deadline
_DEEP = 10_000


def asked(sql: str) -> bytes:
    return json.dumps({"query": sql, "useLegacySql": False}).encode()


def around(opening: str, core: str, closing: str, times: int = _DEEP) -> str:
    return opening * times + core + closing * times


def given(kind: str, value: str) -> bytes:
    """Ask with a parameter, which may be nested deeper than `json` can write."""
    parameter = f'{{"name": "p", "parameterType": {kind}, "parameterValue": {value}}}'
    asking = '"query": "SELECT @p", "useLegacySql": false, "parameterMode": "NAMED"'
    return f'{{{asking}, "queryParameters": [{parameter}]}}'.encode()


_JSON = around("[", "", "]", 120_000)
_STRING = '{"type": "STRING"}'
_ARRAYS = around('{"type": "ARRAY", "arrayType": ', '{"type": "INT64"}', "}")
_VALUES = around('{"arrayValues": [', '{"value": "1"}', "]}")

HOSTILE = {
    "bytes that are no UTF-8": b'{"query": "SELECT \'\xff\xfe\'", "useLegacySql": false}',
    "a surrogate in bytes": b'{"query": "SELECT \'\xed\xa0\x80\'", "useLegacySql": false}',
    "half a surrogate pair": asked("SELECT '\ud800'"),
    "half a surrogate pair in a value": given(_STRING, r'{"value": "\udc00"}'),
    "NUL": asked("SELECT 1\0, 2 FROM shop.customers"),
    "NUL in bytes": b'{"query": "SELECT 1\0", "useLegacySql": false}',
    "NUL in a name": asked("SELECT * FROM `shop.customers\0`"),
    "a body of 2 MB": asked(f"SELECT '{'a' * (2 << 20)}'"),
    "a list of 1 MB": asked(f"SELECT 1 IN ({','.join(['123456789'] * 100_000)})"),
    "the longest list": asked(f"SELECT 1 IN ({','.join(['1'] * 131_000)}) FROM shop.customers"),
    "a list that takes much memory": asked(f"SELECT 1 IN ({','.join(map(str, range(45_000)))})"),
    "open brackets": asked(f"SELECT {'(' * _DEEP}"),
    "calls": asked(f"SELECT {around('UPPER(', 'ssn', ')')} FROM shop.customers"),
    "queries": asked(f"SELECT * FROM {around('(SELECT * FROM ', 'shop.customers', ')')}"),
    "types": asked(f"SELECT CAST(NULL AS {around('STRUCT<a ', 'INT64', '>')})"),
    "blocks": asked(around("BEGIN ", "SELECT 1;", "END;")),
    "columns": asked(f"SELECT {','.join(f'ssn c{n}' for n in range(20_000))} FROM shop.customers"),
    "views of views": asked("SELECT * FROM shop.v7"),
    "JSON as the body": around("[", "", "]").encode(),
    "JSON in a literal": asked(f"SELECT JSON '{_JSON}'"),
    "JSON as a parameter": given('{"type": "JSON"}', f'{{"value": "{_JSON}"}}'),
    "the type of a parameter": given(_ARRAYS, _VALUES),
    "the value of a parameter": given(_STRING, _VALUES),
}  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with more than one worker and little patience, and views that double seven times."""
    folder = tmp_path_factory.mktemp("hostile")
    stack = Stack(folder, {"workers": WORKERS, "deadline": DEADLINE, "memory_bytes": MEMORY})
    with standing(stack):
        make_views(stack)
        yield stack


def make_views(stack: Stack) -> None:
    """Make them plain first and then from the top, so that each is small when it is made."""
    plain = [(n, "customers", 1) for n in range(8)]
    for n, table, times in plain + [(n, f"v{n - 1}", 4) for n in range(7, 0, -1)]:
        selects = [f"SELECT id, ssn FROM `{PROJECT}.shop.{table}`"] * times
        answer = post(
            stack.sandbox_url,
            stack.bearer(),
            asked(f"CREATE OR REPLACE VIEW shop.v{n} AS {' UNION ALL '.join(selects)}"),
        )
        assert answer.ok, answer.text


@pytest.fixture(scope="module")
def honest(stack: Stack) -> Client:
    return stack.client("stranger")


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    """The gateway token of the agent that sends hostile requests."""
    client = stack.client("reader")
    client.query_and_wait("SELECT 1")
    return str(client._credentials.token)


def post(url: str, token: str, body: bytes) -> requests.Response:
    return requests.post(
        f"{url}/bigquery/v2/projects/{PROJECT}/queries",
        data=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        timeout=60,
    )


_numbers = count()


def serve(honest: Client) -> float:
    """Ask what nobody has asked before, so that a worker is needed; give the seconds."""
    number, started = next(_numbers), time.monotonic()
    rows = honest.query_and_wait(f"SELECT id, {number} AS n FROM shop.orders LIMIT 1")
    assert [row.n for row in rows] == [number]
    return time.monotonic() - started


def peaks(stack: Stack) -> dict[int, int]:
    """Give the most bytes of memory that each worker there is has had, by its number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            status = (folder / "status").read_text()
        except OSError:
            continue  # it has ended
        held = dict(re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE))
        ours = held["PPid"] == str(stack.pid("gateway"))
        if ours and b"keystile.googlesql.worker" in command and "VmHWM" in held:
            found[int(folder.name)] = int(held["VmHWM"]) << 10
    return found


@pytest.fixture(scope="module")
def at_rest(stack: Stack, honest: Client) -> int:
    """The most memory that a worker takes for what honest agents ask."""
    serve(honest)
    serve(honest)
    at_rest = peaks(stack)
    assert len(at_rest) == WORKERS
    return max(at_rest.values())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_in_time_while_others_are_served(
    stack: Stack, honest: Client, token: str, at_rest: int, name: str
) -> None:
    waits, most, started = list[float](), dict[int, int](), time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        hostile = pool.submit(post, stack.url, token, HOSTILE[name])
        while not hostile.done():
            waits.append(serve(honest))
            most |= peaks(stack)
    took = time.monotonic() - started
    answer = hostile.result()
    check_error(answer)
    assert took < _LONGEST
    assert max(most.values(), default=0) < at_rest + MEMORY
    said = stack.log.read_text()
    assert "internal fault" not in said
    assert "in a task" not in said  # a bug that a worker has met
    slowest = max(waits, default=0.0)
    told = f"{took:.1f} s; {len(waits)} others meanwhile, the slowest in {slowest:.1f} s"
    print(told)  # noqa: T201 - figures, which `pytest -rP` shows
    assert slowest < _LONGEST


def check_error(answer: requests.Response) -> None:
    """Check that it is an error that clients of BigQuery read, and of a few words."""
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert error["errors"][0]["message"] == error["message"]
    assert {"reason", "domain"} <= error["errors"][0].keys()
    assert len(error["message"]) < 500
    assert "\n" not in error["message"]


def test_brackets_as_deep_as_nobody_writes_them_hide_no_column(stack: Stack, token: str) -> None:
    sql = f"SELECT {around('(', 'ssn', ')')} FROM shop.customers"
    answer = post(stack.url, token, asked(sql))
    if answer.ok:  # within the deadline on a machine at rest
        assert {row["f"][0]["v"] for row in answer.json()["rows"]} == {"XXX-XX-XXXX"}
    else:
        check_error(answer)


def test_every_worker_that_ended_is_replaced(stack: Stack, honest: Client) -> None:
    deadline = time.monotonic() + _LONGEST
    while len(peaks(stack)) < WORKERS and time.monotonic() < deadline:
        serve(honest)
    assert len(peaks(stack)) == WORKERS
