"""The engine's messages: their classes, enums and values, by the names of Google's own files.

They are made from the descriptions that the engine's library carries, when first asked for.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from keystile.googlesql import library


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in library.messages().file:
        pool.Add(file)
    return pool


class _Definitions:
    """What one file defines: message classes, enums, and the values of these, as attributes."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        file: FileDescriptor = _pool().FindFileByName(self._file)
        found: Any
        if name == "DESCRIPTOR":
            found = file
        elif name in file.message_types_by_name:
            found = message_factory.GetMessageClass(file.message_types_by_name[name])
        elif name in file.enum_types_by_name:
            found = EnumTypeWrapper(file.enum_types_by_name[name])
        else:
            found = _value(file, name)
        setattr(self, name, found)
        return found


def _value(file: FileDescriptor, name: str) -> int:
    for enum in file.enum_types_by_name.values():
        if name in enum.values_by_name:
            number: int = enum.values_by_name[name].number
            return number
    raise AttributeError(f"`{file.name}` defines no `{name}`")


# What they hold shows only at run time, so their type is Any.
service: Any = _Definitions("zetasql/local_service/local_service.proto")
parse_tree_pb2: Any = _Definitions("zetasql/parser/parse_tree.proto")
options_pb2: Any = _Definitions("zetasql/proto/options.proto")
simple_catalog_pb2: Any = _Definitions("zetasql/proto/simple_catalog.proto")
error_location_pb2: Any = _Definitions("zetasql/public/error_location.proto")
function_pb2: Any = _Definitions("zetasql/public/function.proto")
public_options: Any = _Definitions("zetasql/public/options.proto")
type_pb2: Any = _Definitions("zetasql/public/type.proto")
value_pb2: Any = _Definitions("zetasql/public/value.proto")
