"""One instance of Google's SQL engine, called with protobuf messages.

INVARIANT: one engine has one owner. What it is asked runs to its end in this process; only a worker
process can be ended before (`pool.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from google._upb import _message

from keystile.googlesql.messages import service
from keystile.googlesql.native import NativeError, Service
from keystile.model.errors import InvalidQueryError, KeystileError, RefusedError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from keystile.googlesql.messages import simple_catalog_pb2

ResponseT = TypeVar("ResponseT", bound="Message")

_CATALOGS_KEPT = 32
_NO_CONTENTS: Mapping[str, bytes] = MappingProxyType({})

# Without this, 24 terms of `a || b || …` nest deeper than the protobuf runtime reads.
_message.SetAllowOversizeProtos(True)  # noqa: FBT003 -- takes no keyword


# "Syntax error: … [at 1:9]", which BigQuery words "Syntax error: … at [1:9]".
_PLACE = re.compile(r"\[at (\d+:\d+)\]")

_LONGEST_ERROR = 2_000  # characters
_TOO_DEEP = "Out of stack space due to deeply nested query expression"


class Engine:
    """A live instance."""

    def __init__(self) -> None:
        """Load the library where this process has not, and make a service of its own in it."""
        self._service = Service()
        self._catalogs: OrderedDict[bytes, int] = OrderedDict()

    def call(self, method: str, request: Message, response: type[ResponseT]) -> ResponseT:
        """Call one method of the engine's local service.

        Raises `InvalidQueryError` with GoogleSQL's own text when the engine answers with an error,
        and `RefusedError` where the text is nested deeper than its stack.
        """
        try:
            answer = self._service.call(method, request.SerializeToString())
        except NativeError as error:
            raise _error(error.text) from error
        return response.FromString(answer)

    def registered(
        self,
        catalog: simple_catalog_pb2.SimpleCatalogProto,
        contents: Mapping[str, bytes] = _NO_CONTENTS,
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

    def register(self, catalog: simple_catalog_pb2.SimpleCatalogProto) -> int:
        """Register a catalog and give its number. It stays until `unregister`."""
        return self._register(service.RegisterCatalogRequest(simple_catalog=catalog))

    def unregister(self, number: int) -> None:
        """Forget a registered catalog."""
        self._service.unregister_catalog(number)

    def _register(self, request: service.RegisterCatalogRequest) -> int:
        answer = self.call("RegisterCatalog", request, service.RegisterResponse)
        number: int = answer.registered_id
        return number


def too_deep() -> RefusedError:
    """Say that the SQL is nested deeper than the engine can follow."""
    return RefusedError("the query is nested too deeply", hint="split it with WITH or a view")


def _error(text: str) -> KeystileError:
    if text.startswith(_TOO_DEEP):
        return too_deep()
    return InvalidQueryError(_PLACE.sub(r"at [\1]", _shortened(text)))


def _shortened(text: str) -> str:
    """Leave out the middle of an error that quotes very much; the place stands at its end."""
    if len(text) <= _LONGEST_ERROR:
        return text
    return f"{text[: _LONGEST_ERROR - 200]} … {text[-200:]}"
