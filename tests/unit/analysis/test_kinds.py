from __future__ import annotations

from typing import Any

import pytest

from keystile.analysis.kinds import KINDS, Depth
from keystile.googlesql.messages import parse_tree_pb2


def _concrete(any_statement: Any) -> set[str]:
    found = set()
    for field in any_statement.fields:
        inner = field.message_type
        if inner.name.startswith("Any"):
            found |= _concrete(inner)
        else:
            found.add(inner.name.removesuffix("Proto"))
    return found


def test_every_statement_of_the_parser_is_listed() -> None:
    every = _concrete(parse_tree_pb2.AnyASTStatementProto.DESCRIPTOR)

    assert len(every) > 80
    assert set(KINDS) == every


@pytest.mark.parametrize("name", sorted(KINDS))
def test_target_fields_exist(name: str) -> None:
    descriptor = parse_tree_pb2.DESCRIPTOR.message_types_by_name[f"{name}Proto"]
    fields = set()
    level: Any = descriptor
    while level:
        fields |= set(level.fields_by_name)
        parent = level.fields_by_name.get("parent")
        level = parent.message_type if parent else None

    assert set(KINDS[name].targets) <= fields


def test_every_kind_does_something() -> None:
    assert all(kind.actions for kind in KINDS.values())
    assert sum(kind.depth is not Depth.OPAQUE for kind in KINDS.values()) < 32
