from __future__ import annotations

import pytest

from keystile.googlesql.messages import service, type_pb2


def test_names_are_classes_enums_and_their_values() -> None:
    assert service.ParseRequest(sql_statement="x").sql_statement == "x"
    assert type_pb2.TypeKind.Name(type_pb2.TYPE_INT64) == "TYPE_INT64"
    assert service.DESCRIPTOR.name == "zetasql/local_service/local_service.proto"


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributeError, match="defines no `Nothing`"):
        type_pb2.Nothing  # noqa: B018 -- reading it is the test
