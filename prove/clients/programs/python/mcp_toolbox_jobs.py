"""The common jobs of Google's MCP Toolbox, spoken to as an agent's host speaks to it (MCP)."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from typing import Any

from checks import check, main

CUSTOMERS = "SELECT id, email, ssn, phone FROM shop.customers ORDER BY id LIMIT 10"
_COMMAND = ("toolbox", "--prebuilt", "bigquery", "--stdio", "--disable-version-check")


class Toolbox:
    """The running program, and a conversation with it."""

    def __init__(self) -> None:
        """Start it and shake hands."""
        self._process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._numbers = itertools.count(1)
        hello = {"name": "host", "version": "1"}
        asked = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": hello}
        self.ask("initialize", asked)
        self._send({"method": "notifications/initialized"})

    def ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Send a request and give its answer."""
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": parameters})
        for line in self._process.stdout or ():
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == number:
                return answer.get("result") or answer
        raise RuntimeError("the toolbox has ended")

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, and give its texts, read as JSON where they are."""
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        content = answer.get("content", [answer])
        texts = [_read(part.get("text", json.dumps(part))) for part in content]
        return {"failed": bool(answer.get("isError")), "said": texts}

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin  # noqa: S101 - it is a pipe
        print(json.dumps({"jsonrpc": "2.0", **message}), file=self._process.stdin, flush=True)


def _read(text: Any) -> Any:
    """Read what may be JSON, or JSON in a text of JSON."""
    try:
        return _read(json.loads(text))
    except (TypeError, ValueError):
        return text


def _refused(tool: str, **arguments: Any) -> Any:
    """Call a tool in vain, and give its words without the reason that Go's client appends."""
    answer = toolbox.call(tool, **arguments)
    return {"failed": answer["failed"], "message": re.sub(r", \w+$", "", answer["said"][0])}


toolbox = Toolbox()


@check()
def tools() -> Any:
    return sorted(one["name"] for one in toolbox.ask("tools/list", {})["tools"])


@check()
def execute_sql() -> Any:
    return toolbox.call("execute_sql", sql=CUSTOMERS)


@check()
def execute_sql_of_many_types() -> Any:
    sql = "SELECT id, total, placed, deliver_by, items FROM shop.orders ORDER BY id LIMIT 3"
    return toolbox.call("execute_sql", sql=sql)


@check()
def dry_run() -> Any:
    answer = toolbox.call("execute_sql", sql="SELECT id, total FROM shop.orders", dry_run=True)
    said = answer["said"][0]
    size = said["statistics"]["totalBytesProcessed"] if isinstance(said, dict) else said
    return answer["failed"], size


@check()
def write() -> Any:
    sql = "CREATE OR REPLACE TABLE lab.toolbox AS SELECT 1 AS id"
    toolbox.call("execute_sql", sql=sql)
    return toolbox.call("execute_sql", sql="SELECT id FROM lab.toolbox")


@check()
def datasets() -> Any:
    return toolbox.call("list_dataset_ids")


@check()
def dataset() -> Any:
    return _shape(toolbox.call("get_dataset_info", dataset="shop"))


@check()
def tables() -> Any:
    return toolbox.call("list_table_ids", dataset="shop")


@check()
def table() -> Any:
    return _shape(toolbox.call("get_table_info", dataset="shop", table="orders"))


@check()
def masked_table() -> Any:
    return _shape(toolbox.call("get_table_info", dataset="shop", table="customers"))


def _shape(answer: dict[str, Any]) -> Any:
    """Keep of a description what is the same at any time."""
    said = answer["said"][0]
    if not isinstance(said, dict):
        return answer
    return {
        name: said[name]
        for name in ("Name", "FullID", "Schema", "Type", "Location")
        if name in said
    }


@check()
def syntax_error() -> Any:
    return _refused("execute_sql", sql="SELEC 1")


@check()
def unknown_table() -> Any:
    return _refused("execute_sql", sql="SELECT * FROM shop.nothing")


@check()
def unknown_dataset() -> Any:
    return _refused("list_table_ids", dataset="nowhere")


@check("approval")
def approval() -> Any:
    return toolbox.call("execute_sql", sql="SELECT id, ssn FROM shop.customers WHERE id = 1")


@check("refusal")
def denial() -> Any:
    return toolbox.call("execute_sql", sql="SELECT id, ssn FROM shop.customers WHERE id = 2")


@check("refusal")
def expiry() -> Any:
    return toolbox.call("execute_sql", sql="SELECT phone FROM shop.customers WHERE id = 3")


if __name__ == "__main__":
    main()
