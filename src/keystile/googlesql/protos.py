"""The engine's protobufs made handy: options, types, and fields of the resolved tree.

The resolved tree wraps each node twice: `Any…Proto` messages hold one of many kinds, and a node
keeps the fields of its base class in a nested `parent`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import (
    options_pb2,
    public_options,
    service,
    simple_catalog_pb2,
    type_pb2,
)
from keystile.model.errors import OpaqueQueryError
from keystile.model.schema import SqlType

if TYPE_CHECKING:
    from google.protobuf.message import Message

_SCALARS = {
    "BIGNUMERIC": type_pb2.TYPE_BIGNUMERIC,
    "BOOL": type_pb2.TYPE_BOOL,
    "BYTES": type_pb2.TYPE_BYTES,
    "DATE": type_pb2.TYPE_DATE,
    "DATETIME": type_pb2.TYPE_DATETIME,
    "FLOAT64": type_pb2.TYPE_DOUBLE,
    "GEOGRAPHY": type_pb2.TYPE_GEOGRAPHY,
    "INT64": type_pb2.TYPE_INT64,
    "INTERVAL": type_pb2.TYPE_INTERVAL,
    "JSON": type_pb2.TYPE_JSON,
    "NUMERIC": type_pb2.TYPE_NUMERIC,
    "STRING": type_pb2.TYPE_STRING,
    "TIME": type_pb2.TYPE_TIME,
    "TIMESTAMP": type_pb2.TYPE_TIMESTAMP,
}
_NAMES = {number: name for name, number in _SCALARS.items()}

_KEYWORDS = ("GRAPH_TABLE", "MATCH_RECOGNIZE", "QUALIFY")
"""What the engine takes for names unless it is told that they are words of the language."""

_FEATURES = (
    public_options.FEATURE_COLLATION_SUPPORT,
    public_options.FEATURE_DIFFERENTIAL_PRIVACY,
    public_options.FEATURE_DIFFERENTIAL_PRIVACY_MAX_ROWS_CONTRIBUTED,
    public_options.FEATURE_DIFFERENTIAL_PRIVACY_MIN_PRIVACY_UNITS_PER_GROUP,
    public_options.FEATURE_DIFFERENTIAL_PRIVACY_PUBLIC_GROUPS,
    public_options.FEATURE_DIFFERENTIAL_PRIVACY_THRESHOLDING,
    public_options.FEATURE_LIKE_ANY_SOME_ALL_ARRAY,
    public_options.FEATURE_LIKE_ANY_SOME_ALL_SUBQUERY,
)
"""What BigQuery has beyond the engine's "maximum" features."""

_language: WeakKeyDictionary[Engine, Any] = WeakKeyDictionary()


def language_options(engine: Engine) -> Any:
    """Give a fresh `LanguageOptionsProto` of BigQuery's dialect: all features, all statements.

    An empty `supported_statement_kinds` means every kind: what is allowed is decided later, by
    name, so that a refusal can name the statement.
    """
    if engine not in _language:
        options = engine.call(
            "GetLanguageOptions",
            service.LanguageOptionsRequest(maximum_features=True),
            options_pb2.LanguageOptionsProto,
        )
        options.product_mode = public_options.PRODUCT_EXTERNAL
        options.ClearField("supported_statement_kinds")
        for keyword in _KEYWORDS:
            if keyword not in options.reserved_keywords:
                options.reserved_keywords.append(keyword)
        options.enabled_language_features.extend(_FEATURES)
        _language[engine] = options
    fresh = options_pb2.LanguageOptionsProto()
    fresh.CopyFrom(_language[engine])
    return fresh


def analyzer_options(engine: Engine) -> Any:
    """Give a fresh `AnalyzerOptionsProto`: BigQuery's dialect, UTC, byte ranges of table paths.

    Undeclared parameters are an error; declare them in `query_parameters`.
    """
    options = options_pb2.AnalyzerOptionsProto()
    options.language_options.CopyFrom(language_options(engine))
    options.default_timezone = "UTC"  # the engine's own default is America/Los_Angeles
    options.prune_unused_columns = True
    options.parse_location_record_type = public_options.PARSE_LOCATION_RECORD_CODE_SEARCH
    options.error_message_mode = public_options.ERROR_MESSAGE_ONE_LINE
    options.statement_context = public_options.CONTEXT_DEFAULT
    return options


def builtin_catalog(engine: Engine) -> Any:
    """Give a fresh `SimpleCatalogProto` that holds GoogleSQL's own functions and nothing else."""
    catalog = simple_catalog_pb2.SimpleCatalogProto(name="root")
    catalog.builtin_function_options.language_options.CopyFrom(language_options(engine))
    return catalog


def type_proto(sql_type: SqlType) -> Any:
    """Turn a type into a `TypeProto`. Raises `OpaqueQueryError` for a kind that is not known."""
    proto = type_pb2.TypeProto()
    match sql_type:
        case SqlType(kind="ARRAY", element=SqlType() as element):
            proto.type_kind = type_pb2.TYPE_ARRAY
            proto.array_type.element_type.CopyFrom(type_proto(element))
        case SqlType(kind="RANGE", element=SqlType() as element):
            proto.type_kind = type_pb2.TYPE_RANGE
            proto.range_type.element_type.CopyFrom(type_proto(element))
        case SqlType(kind="STRUCT"):
            proto.type_kind = type_pb2.TYPE_STRUCT
            proto.struct_type.SetInParent()
            for name, inner in sql_type.fields:
                proto.struct_type.field.add(field_name=name, field_type=type_proto(inner))
        case SqlType(kind=kind) if kind in _SCALARS:
            proto.type_kind = _SCALARS[kind]
        case _:
            raise OpaqueQueryError(
                f"the type `{sql_type}` is not understood",
                hint="leave columns and parameters of this type out",
            )
    return proto


def sql_type(proto: Any) -> SqlType:
    """Turn a `TypeProto` into a type.

    Kinds that no BigQuery column has keep the engine's name without `TYPE_` (`ENUM` for a date
    part, `PROTO`), which `type_proto` refuses.
    """
    kind = proto.type_kind
    if kind == type_pb2.TYPE_ARRAY:
        return SqlType("ARRAY", element=sql_type(proto.array_type.element_type))
    if kind == type_pb2.TYPE_RANGE:
        return SqlType("RANGE", element=sql_type(proto.range_type.element_type))
    if kind == type_pb2.TYPE_STRUCT:
        fields = proto.struct_type.field
        return SqlType(
            "STRUCT",
            fields=tuple((field.field_name, sql_type(field.field_type)) for field in fields),
        )
    return SqlType(_NAMES.get(kind) or type_pb2.TypeKind.Name(kind).removeprefix("TYPE_"))


def unwrapped(node: Any) -> Any:
    """Take the node out of its `Any…Proto` wrappers; None where a wrapper is empty."""
    while _WRAPPERS[node.__class__]:
        kind = node.WhichOneof("node")
        if kind is None:
            return None
        node = getattr(node, kind)
    return node


def levels(node: Message) -> Iterator[Any]:
    """Give the node and then the nested `parent` of each base class, nearest first."""
    level: Any = node
    while True:
        yield level
        if "parent" not in level.DESCRIPTOR.fields_by_name or not level.HasField("parent"):
            return
        level = level.parent


def inherited(node: Any, name: str) -> Any:
    """Read a field of the node or of a base class; unset ones have protobuf's default.

    Raises `AttributeError` when no class of the node has the field, so that a wrong name shows.
    """
    depths = _depths(node.__class__, name)
    if not depths:
        raise AttributeError(f"{node.DESCRIPTOR.name} has no field {name}")
    return getattr(_level(node, depths[0]), name)


def has(node: Any, name: str) -> bool:
    """Tell whether a singular field of the node or of a base class exists and is set."""
    return any(_level(node, depth).HasField(name) for depth in _depths(node.__class__, name))


def _level(node: Any, depth: int) -> Any:
    for _ in range(depth):
        node = node.parent
    return node


class _Wrappers(dict[Any, bool]):
    """Whether a class of messages is a wrapper."""

    def __missing__(self, message: Any) -> bool:
        self[message] = is_wrapper = "node" in message.DESCRIPTOR.oneofs_by_name
        return is_wrapper


_WRAPPERS = _Wrappers()


@cache
def _depths(message: Any, name: str) -> tuple[int, ...]:
    """Give how many base classes up the field is found, nearest first."""
    found, depth = [], 0
    descriptor = message.DESCRIPTOR
    while descriptor is not None:
        if name in descriptor.fields_by_name:
            found.append(depth)
        base = descriptor.fields_by_name.get("parent")
        descriptor, depth = base and base.message_type, depth + 1
    return tuple(found)
