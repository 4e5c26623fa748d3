"""Queries that leaked once. Each is a file, and a test tries every one of them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "property" / "counter_examples"


class CounterExample(NamedTuple):
    """A schema's name and a query over it."""

    schema: str
    query: str


def save(schema: str, query: str, folder: Path = FOLDER) -> Path:
    """Keep a query that leaked."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(f"{schema} {query}".encode()).hexdigest()[:12]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"schema": schema, "query": query}, indent=2) + "\n")
    return path


def saved(folder: Path = FOLDER) -> Iterator[CounterExample]:
    """Give every query that was kept."""
    for path in sorted(folder.glob("*.json")):
        read = json.loads(path.read_text())
        yield CounterExample(read["schema"], read["query"])
