"""Calls into the engine's library: the methods of its local service, bytes in and bytes out.

The library is C++ with its symbols; what is called here are the service's own methods, which take
a request message and an empty response and return a status (`local_service.h`). C++ passes an
object's address first, and before it the place for a result that is an object.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Mapping
from ctypes import addressof, c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import finalize

from keystile.googlesql import library
from keystile.googlesql.messages import error_location_pb2

OUT_OF_MEMORY = 77
"""What a process exits with when the engine finds no more memory."""

_OK = 1  # how absl::Status writes that there is no error
_INLINED = 1  # set where it is a code alone, and no address of more
_WITH_PAYLOADS = 1  # absl::StatusToStringMode

_SERVICE = "_ZN7zetasql13local_service23ZetaSqlLocalServiceImpl"
"""How the compiler writes `zetasql::local_service::ZetaSqlLocalServiceImpl`, up to a member."""

_STATUS = "_ZNK4absl12lts_2024072215status_internal9StatusRep5UnrefEv"
_END_STRING = "_ZNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEED1Ev"
_STATUS_TEXT = "_ZN4absl12lts_202407226Status12ToStringSlowEmNS0_18StatusToStringModeE"
_PAYLOAD = re.compile(r" \[type\.googleapis\.com/zetasql\.(\w+)='((?:[^'\\]|\\.)*)'\]\Z")
_CODE = re.compile(r"\A[A-Z_]+: (?=.)")

_STRING_BYTES = 24

_ROOM = 64 << 10
"""Bytes kept for an object of the engine's; its messages and its service take less than 1,000."""


class _Method(NamedTuple):
    """The messages that a method takes and fills, by their C++ names within `zetasql`."""

    request: str
    response: str


_LOAD_TIME_ZONE = (
    "_ZN4absl12lts_2024072212LoadTimeZoneENSt3__117basic_string_viewIcNS1_11char_traitsIcEEEE"
    "PNS0_8TimeZoneE"
)
_SET_LEAST_LOGGED = "_ZN4absl12lts_2024072214SetMinLogLevelENS0_18LogSeverityAtLeastE"
_NOTHING_IS_LOGGED = 1000  # absl::LogSeverityAtLeast::kInfinity

_LOCAL = "local_service::"

METHODS: Mapping[str, _Method] = MappingProxyType(
    {
        **{
            name: _Method(f"{_LOCAL}{name}Request", f"{_LOCAL}{name}Response")
            for name in (
                "Parse",
                "Analyze",
                "EvaluateQuery",
                "EvaluateModify",
                "ExtractTableNamesFromStatement",
            )
        },
        "RegisterCatalog": _Method(f"{_LOCAL}RegisterCatalogRequest", f"{_LOCAL}RegisterResponse"),
        "GetLanguageOptions": _Method(f"{_LOCAL}LanguageOptionsRequest", "LanguageOptionsProto"),
        "GetBuiltinFunctions": _Method(
            "ZetaSQLBuiltinFunctionOptionsProto", f"{_LOCAL}GetBuiltinFunctionsResponse"
        ),
    }
)
"""The methods that are called, by the name of each."""


def load_time_zones() -> None:
    """Have the engine read all time zones now: it keeps them, and may not be able to later."""
    load = _function(library.load(), _LOAD_TIME_ZONE, c_char_p, c_size_t, c_void_p)
    found = ctypes.create_string_buffer(8)
    for name in (files("tzdata") / "zones").read_bytes().split():
        load(name, len(name), addressof(found))


class NativeError(Exception):
    """The engine answered with an error: `text` in its own words and where it has a place, that."""

    def __init__(self, text: str) -> None:
        """Keep the text."""
        super().__init__(text)
        self.text = text


# The library keeps its address for as long as the process lives, so it must live as long.
_DIE = ctypes.CFUNCTYPE(None)(lambda: os._exit(OUT_OF_MEMORY))


class Service:
    """One local service of the library, with its catalogs. One owner: not for two threads."""

    def __init__(self) -> None:
        """Load the library and make the service."""
        self._library = library.load()
        self._self = ctypes.create_string_buffer(_ROOM)
        self._function(f"{_SERVICE}C1Ev", c_void_p)(addressof(self._self))
        finalize(self, _end, self._function(f"{_SERVICE}D1Ev", c_void_p), self._self)
        self._calls: dict[str, Callable[[bytes], bytes]] = {}
        self._answer = ctypes.create_string_buffer(_STRING_BYTES)  # an empty std::string is zeros
        self._parse = self._function(
            "_ZN6google8protobuf11MessageLite14ParseFromArrayEPKvi", c_void_p, c_char_p, c_int
        )
        self._parse.restype = c_bool
        self._serialize = self._function(
            "_ZNK6google8protobuf11MessageLite24SerializePartialToStringEPNSt3__112basic_string"
            "IcNS2_11char_traitsIcEENS2_9allocatorIcEEEE",
            c_void_p,
            c_void_p,
        )
        self._serialize.restype = c_bool
        self._keep_quiet()
        self._die_without_memory()

    def call(self, method: str, request: bytes) -> bytes:
        """Call a method. Raises `NativeError` when it answers with one."""
        if method not in self._calls:
            self._calls[method] = self._made(method)
        return self._calls[method](request)

    def unregister_catalog(self, number: int) -> None:
        """Forget a registered catalog. Raises `NativeError` for one that is not known."""
        status = ctypes.create_string_buffer(8)
        symbol = f"{_SERVICE}17UnregisterCatalogEl"
        unregister = self._function(symbol, c_void_p, c_void_p, c_int64)
        unregister(addressof(status), addressof(self._self), number)
        self._check(status)

    def _made(self, method: str) -> Callable[[bytes], bytes]:
        types = METHODS[method]
        taken, filled = _named(types.request), _named(types.response)
        symbol = f"{_SERVICE}{len(method)}{method}ERK{taken}P{filled}"
        function = self._function(symbol, c_void_p, c_void_p, c_void_p, c_void_p)
        request = _Object(self._library, types.request)
        response = _Object(self._library, types.response)
        status = ctypes.create_string_buffer(8)

        def call(data: bytes) -> bytes:
            with request as asked, response as answer:
                if not self._parse(asked, data, len(data)):
                    raise NativeError("the engine cannot read the request")
                function(addressof(status), addressof(self._self), asked, answer)
                self._check(status)
                # INVARIANT: what is not written whole is no answer, least of all one of before.
                if not self._serialize(answer, addressof(self._answer)):
                    raise NativeError("the engine's answer is too large")
                return _string(addressof(self._answer))

        return call

    def _check(self, status: ctypes.Array[ctypes.c_char]) -> None:
        number = int.from_bytes(status.raw, "little")
        if number == _OK:
            return
        text = ctypes.create_string_buffer(_STRING_BYTES)
        write = self._function(_STATUS_TEXT, c_void_p, c_void_p, c_int)
        write(addressof(text), number, _WITH_PAYLOADS)
        said = _string(addressof(text)).decode("utf-8", "replace")
        self._function(_END_STRING, c_void_p)(addressof(text))
        if not number & _INLINED:
            self._function(_STATUS, c_void_p)(number)
        raise NativeError(_placed(said))

    def _function(self, symbol: str, *arguments: Any) -> Any:
        return _function(self._library, symbol, *arguments)

    def _keep_quiet(self) -> None:
        """INVARIANT: the engine logs nothing: it would write queries and values of rows."""
        self._function(_SET_LEAST_LOGGED, c_int)(_NOTHING_IS_LOGGED)

    def _die_without_memory(self) -> None:
        """Have the process end with a code of its own, where C++ would abort like for any fault."""
        self._function("_ZSt15set_new_handlerPFvvE", c_void_p)(_DIE)


class _Object:
    """Room for one message of the engine's; it lives from `with` to the end of it."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self._room = ctypes.create_string_buffer(_ROOM)
        of = "_ZN" + "".join(f"{len(part)}{part}" for part in ("zetasql", *name.split("::")))
        make = f"{of}C1EPN6google8protobuf5ArenaE"
        self._make = _function(library, make, c_void_p, c_void_p)
        self._end = _function(library, f"{of}D1Ev", c_void_p)

    def __enter__(self) -> int:
        self._make(addressof(self._room), None)
        return addressof(self._room)

    def __exit__(self, *_: object) -> None:
        self._end(addressof(self._room))


def _function(library: ctypes.CDLL, symbol: str, *arguments: Any) -> Any:
    function = library[symbol]
    function.argtypes, function.restype = arguments, None
    return function


def _end(destructor: Callable[[int], None], room: ctypes.Array[ctypes.c_char]) -> None:
    destructor(addressof(room))


def _string(address: int) -> bytes:
    """Read libc++'s std::string: bytes in place, or capacity (its lowest bit set), size, data."""
    raw = ctypes.string_at(address, _STRING_BYTES)
    if raw[0] & 1:
        size, data = (int.from_bytes(raw[at : at + 8], "little") for at in (8, 16))
        return ctypes.string_at(data, size)
    return raw[1 : 1 + (raw[0] >> 1)]


def _placed(text: str) -> str:
    """Write the place of a syntax error as the engine does elsewhere: "… [at 1:9]"."""
    place = ""
    while found := _PAYLOAD.search(text):
        text = text[: found.start()]
        if found[1] == "ErrorLocation":
            raw = found[2].encode("ascii").decode("unicode_escape").encode("latin-1")
            location = error_location_pb2.ErrorLocation.FromString(raw)
            place = f" [at {location.line}:{location.column}]"
    return _CODE.sub("", text) + place


def _named(name: str) -> str:
    """Write a type as a parameter of a method, where its namespaces stand for themselves (S_, S0_).

    Itanium C++ ABI, 5.1.8.
    """
    *scope, last = name.split("::")
    return f"N{'S0_' if scope else 'S_'}{len(last)}{last}E"
