"""Real clients, directly and through the gateway: those that need nothing else installed.

`script/prove clients` tries all of them, each from its registry.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prove.clients import __main__ as proof
from prove.clients.__main__ import run
from prove.clients.catalog import CLIENTS, PROGRAMS, Client
from prove.clients.compare import HASHED, Veil, difference, plain
from prove.clients.environments import AbsentError, environment_of
from prove.clients.page import printed_fault, snippets
from prove.clients.tls import Authority
from prove.clients.trial import judged, ran

TOTAL = {"google-cloud-bigquery": 54, "curl": 36}


def test_clients_get_the_same_through_the_gateway() -> None:
    figures, strays = run([*TOTAL], small=True)
    assert strays == []
    assert {name: one["total"] for name, one in figures.items()} == TOTAL
    assert {name: one["failed"] for name, one in figures.items()} == {name: [] for name in TOTAL}


CUSTOMER = {
    "id": 1,
    "ssn": "951-59-0001",
    "name": "Gia Whisk",
    "email": "gia@example.com",
    "phone": "(816) 555-0171",
    "contacts": [{"kind": "phone", "value": "555-0199"}],
    "notes": "Prefers mornings.",
}
VEIL = Veil([CUSTOMER], [{"body": "Where is my parcel?"}])


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("951-59-0001", "XXX-XX-XXXX"),
        ("Gia Whisk has 951-59-0001", f"{HASHED} has XXX-XX-XXXX"),
        ([{"email": "gia@example.com"}], [{"email": "g***@example.com"}]),
        ("(816) 555-0171", "**********0171"),
        (["555-0199", "Where is my parcel?", "Prefers mornings."], ["", "", ""]),
        (
            {"street": "a", "city": "b", "zip": "c"},
            {"street": None, "city": None, "zip": None},
        ),
        ([1, 2.5, True, None], [1, 2.5, True, None]),
    ],
)
def test_the_veil_masks_what_policy_masks(value: object, masked: object) -> None:
    assert VEIL.over(value) == masked


@pytest.mark.parametrize(
    ("wanted", "got", "words"),
    [
        ([1, 2], [1], "the answer is [1], directly [1, 2]"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ".a[0].b is 2, directly 1"),
        ({"a": 1}, {}, ".a is missing through the gateway"),
        ({}, {"a": 1}, ".a is missing directly"),
        (1, True, "the answer is true, directly 1"),
        (1, 1.0, "the answer is 1.0, directly 1"),
        ({"message": "No."}, {"message": "Yes."}, '.message is "Yes.", directly "No."'),
    ],
)
def test_a_difference_is_found_and_named(wanted: object, got: object, words: str) -> None:
    assert difference(wanted, got) == words


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ({"message": "Not found"}, {"message": "Not found; ask for access"}),
        ("http://127.0.0.1:1/x", "http://127.0.0.1:2/x"),
        (HASHED, "ab" * 32),
        ("Job acme-shop:US.one", "Job acme-shop:one"),
    ],
)
def test_what_differs_by_nature_is_no_difference(wanted: object, got: object) -> None:
    assert difference(plain(wanted), plain(got)) == ""


RAW = {"result": [["951-59-0001"]]}


def test_a_raw_value_where_a_mask_belongs_fails_a_check() -> None:
    assert judged("query", RAW, {"result": [["XXX-XX-XXXX"]]}, VEIL) == ""
    assert "951-59-0001" in judged("query", RAW, RAW, VEIL)


def test_an_approval_must_show_the_raw_value() -> None:
    assert judged("approval", RAW, RAW, VEIL) == ""
    assert judged("approval", RAW, {"result": [["XXX-XX-XXXX"]]}, VEIL) != ""


def test_a_refusal_must_bring_the_persons_words() -> None:
    said = {"result": {"message": "denied by `operator`: ask for less (rule `ssn`)"}}
    assert judged("denial", {}, said, VEIL) == ""
    assert "not `denied" in judged("denial", {}, {"result": "unknown error"}, VEIL)


def test_a_check_that_fails_both_ways_is_not_passed() -> None:
    failed = {"error": {"type": "BadRequest", "message": "not supported"}}
    assert "directly too" in judged("copy", failed, failed, VEIL)
    assert "failed directly" in judged("copy", failed, RAW, VEIL)


def test_the_page_has_a_section_for_each_client() -> None:
    assert set(snippets()) == {client.name for client in CLIENTS}


def test_what_the_page_shows_is_what_the_proof_runs() -> None:
    shown = {name: text for name, (_, text) in snippets().items()}
    assert shown["go-bigquery"] == (PROGRAMS / "go" / "page" / "main.go").read_text()
    assert shown["dbt-bigquery"] == (PROGRAMS / "dbt" / "profiles.yml").read_text()
    (server,) = json.loads(shown["mcp-toolbox"])["mcpServers"].values()
    words = ", ".join(json.dumps(word) for word in (server["command"], *server["args"]))
    assert f"_COMMAND = ({words})" in (PROGRAMS / "python" / "mcp_toolbox_jobs.py").read_text()


PRINTED = "{'id': 1, 'email': 'g***@example.com', 'ssn': 'XXX-XX-XXXX'}"


def test_a_program_that_prints_masked_rows_is_right() -> None:
    assert printed_fault(PRINTED, VEIL) == ""


@pytest.mark.parametrize("printed", ["", "1 951-59-0001", f"{PRINTED} 951-59-0001"])
def test_a_program_that_prints_nothing_or_raw_values_is_not(printed: str) -> None:
    assert printed_fault(printed, VEIL) != ""


@pytest.mark.parametrize("name", ["node-bigquery", "go-bigquery", "java-bigquery", "bq"])
def test_a_client_whose_toolchain_is_missing_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (client,) = (one for one in CLIENTS if one.name == name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    for _ in range(2):  # what was not installed does not count as installed the next time
        with pytest.raises(AbsentError, match=r"there is no `(npm|go|java|bq)` on this machine"):
            environment_of(client)


def test_a_jar_that_is_not_the_locked_one_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (client,) = (one for one in CLIENTS if one.name == "java-bigquery")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    jars = tmp_path / "cache" / "keystile" / "clients" / "java-bigquery" / "jars"
    for name in ("java", "mvn"):
        text = f"#!/bin/sh\n/bin/mkdir -p '{jars}' && echo odd >'{jars}/odd.jar'\n"
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    with pytest.raises(AbsentError, match="not what `sha256sums` lists"):
        environment_of(client)


def test_one_client_that_broke_ended_the_proof_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_stage: object, _veil: object, client: Client, **_: object) -> dict[str, Any]:
        if client.name == "curl":
            raise OSError("no space left")
        return {"passed": 1, "total": 1, "failed": []}

    monkeypatch.setattr(proof, "_figures", broken)
    monkeypatch.setattr(
        proof, "standing", lambda *_: nullcontext(SimpleNamespace(settings=None, strays=list))
    )
    monkeypatch.setattr(proof, "deciding", lambda *_: nullcontext())
    found = run(["google-cloud-bigquery", "curl"], small=True).clients
    assert found["google-cloud-bigquery"]["passed"] == 1
    assert found["curl"] == {"passed": 0, "total": 0, "broken": "OSError: no space left"}


def test_tls_is_put_before_a_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo_once, args=(server,), daemon=True).start()
        authority = Authority(tmp_path)
        with authority.before(f"http://127.0.0.1:{server.getsockname()[1]}") as address:
            host, port = address.removeprefix("https://").split(":")
            trusted = ssl.create_default_context(cafile=str(authority.file))
            connected = socket.create_connection((host, int(port)), timeout=10)
            with trusted.wrap_socket(connected, server_hostname=host) as secured:
                secured.sendall(b"over TLS")
                assert secured.recv(100) == b"over TLS"


def _echo_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(connection.recv(100))


def test_checks_that_a_program_never_came_to_are_known(tmp_path: Path) -> None:
    text = """print('{"checks": ["a", "b"]}\\nnoise\\n{"check": "a", "result": 1}'); exit("dead")"""
    outcomes = ran((sys.executable, "-c", text), {"HOME": str(tmp_path)})
    assert outcomes.checks == ("a", "b")
    assert [*outcomes.found] == ["a"]
    assert "dead" in outcomes.log
    assert "noise" in outcomes.log


def test_a_program_that_does_not_start_names_no_checks(tmp_path: Path) -> None:
    assert ran(("no-such-program",), {"HOME": str(tmp_path), "PATH": ""}).checks is None
