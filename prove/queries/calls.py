"""Calls of functions, made of the engine's own signatures, as templates (see `filling`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from keystile.analysis.functions import ALLOWED
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import function_pb2, service, type_pb2
from keystile.googlesql.protos import builtin_catalog, sql_type
from keystile.model.schema import Routine, RoutineKind
from prove.queries.columns import MADE

_KINDS = function_pb2.SignatureArgumentKind
_ENUMS = function_pb2.FunctionEnums
_SCALAR, _AGGREGATE = _ENUMS.Mode.Value("SCALAR"), _ENUMS.Mode.Value("AGGREGATE")
_ARBITRARY = _KINDS.Value("ARG_TYPE_ARBITRARY")
_SHIFTS = ("_add", "_sub", "generate_timestamp_array")
_VARYING = frozenset({"array_transform"})
_ANYTHING = ("STRING", "INT64", "DATE")
_LAMBDA = "e -> CONCAT(CAST(e AS STRING), {t}) > '3'"
_WORDS = {
    "DateTimestampPart": "DAY",
    "NormalizeMode": "NFKC",
}


class Call(NamedTuple):
    """A function, how it is called, and the type that it gives; empty where that varies."""

    function: str
    template: str
    type: str
    aggregate: bool = False


@cache
def calls() -> tuple[Call, ...]:
    """Give a call of each allowed function that the evaluator runs, for each of its signatures."""
    engine = Engine()
    options = builtin_catalog(engine).builtin_function_options
    answer = engine.call("GetBuiltinFunctions", options, service.GetBuiltinFunctionsResponse)
    found = [*_SPELLED]
    for function in sorted(answer.function, key=lambda one: str(one.name_path)):
        name = ".".join(function.name_path).lower()
        if name in ALLOWED and name[0] != "$" and not _left_out(name):
            found += _calls(name, function)
    return tuple(dict.fromkeys(found))


def own_calls(routines: Iterable[Routine], *, aggregate: bool) -> tuple[Call, ...]:
    """Give a call of each function of a schema's own."""
    return tuple(
        _own_call(one) for one in routines if (one.kind is RoutineKind.AGGREGATE) == aggregate
    )


def _own_call(routine: Routine) -> Call:
    name = ".".join(routine.id.path[1:])
    given = ", ".join(f"{{{argument.type or 'STRING'}}}" for argument in routine.arguments)
    called, type_ = f"{name}({given})", str(routine.returns or "")
    aggregate = routine.kind is RoutineKind.AGGREGATE
    if routine.columns:
        column = routine.columns[0]
        called, type_ = f"(SELECT MAX(r.{column.name}) FROM {called} AS r)", column.type
    return Call(name, called, type_, aggregate)


def _left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith(_NOT_EVALUATED)


def _calls(name: str, function: Any) -> Iterator[Call]:
    if function.mode not in {_SCALAR, _AGGREGATE}:
        return
    for signature in function.signature:
        for any_ in _ANYTHING:
            given = [_argument(one, any_) for one in signature.argument if _is_wanted(one)]
            varies = name in _VARYING or signature.return_type.kind == _ARBITRARY
            result = "" if varies else _type(signature.return_type, any_)
            if all(given):
                listed = ", ".join(given)
                if name.endswith(_SHIFTS):
                    listed = listed.replace("{INT64}, DAY", "INTERVAL {INT64} DAY")
                template = f"{name.upper()}({listed})"
                yield Call(name, template, result, function.mode == _AGGREGATE)


def _is_wanted(argument: Any) -> bool:
    named = argument.options.named_argument_kind == _ENUMS.NAMED_ONLY
    return not named and argument.options.cardinality != _ENUMS.ArgumentCardinality.Value(
        "OPTIONAL"
    )


def _argument(argument: Any, any_: str) -> str:
    """Give an argument's slot; empty for a type that no column has."""
    if argument.kind == _KINDS.Value("ARG_TYPE_LAMBDA"):
        return _LAMBDA if len(getattr(argument, "lambda").argument) == 1 else ""
    if argument.type.type_kind == type_pb2.TYPE_ENUM:
        return _WORDS.get(argument.type.enum_type.enum_name.rpartition(".")[2], "")
    type_ = _type(argument, any_)
    inner = type_[len("ARRAY<") : -1] if type_.startswith("ARRAY<") else type_
    return f"{{{type_}}}" if inner in MADE else ""


def _type(argument: Any, any_: str) -> str:
    kind = _KINDS.Name(argument.kind)
    if kind == "ARG_TYPE_FIXED":
        return str(sql_type(argument.type))
    if kind == "ARG_TYPE_ARBITRARY":
        return any_
    if kind.startswith("ARG_ARRAY_TYPE_ANY"):
        return f"ARRAY<{any_}>"
    if kind.startswith("ARG_RANGE_TYPE_ANY"):
        return "RANGE<DATE>" if any_ == "DATE" else ""
    return any_ if kind.startswith("ARG_TYPE_ANY") else ""


_NOT_EVALUATED = ("st_", "s2_", "hll_", "kll_", "approx_")
"""Families that the reference evaluator does not run."""

_LEFT_OUT = frozenset(
    """
rand generate_uuid current_date current_datetime current_time current_timestamp
error grouping first last next prev classifier match_number match_row_number collate
from_base32 to_base32 format json_array_append json_array_insert json_extract json_query json_remove
json_set net.public_suffix net.reg_domain percentile_cont percentile_disc regexp_extract_groups
range string_agg time_add time_diff time_sub time_trunc
""".split()  # noqa: SIM905 - names read better as a list
)
"""What gives something else each time, and what has a place of its own among the templates."""

_SPELLED = (
    Call("format", "FORMAT('%s=%d', {STRING}, {INT64})", "STRING"),
    Call("format", "FORMAT('%t', {row})", "STRING"),
    Call("format", "FORMAT('%T', [{DATE}])", "STRING"),
    Call("format_date", "FORMAT_DATE('%A', {DATE})", "STRING"),
    Call("format_datetime", "FORMAT_DATETIME('%c', {DATETIME})", "STRING"),
    Call("format_time", "FORMAT_TIME('%R', {TIME})", "STRING"),
    Call("format_timestamp", "FORMAT_TIMESTAMP('%c', {TIMESTAMP}, 'Asia/Tokyo')", "STRING"),
    Call("json_array_append", "JSON_ARRAY_APPEND({JSON}, '$.b', {STRING})", "JSON"),
    Call("json_array_insert", "JSON_ARRAY_INSERT({JSON}, '$.b[0]', {INT64})", "JSON"),
    Call("json_extract", "JSON_EXTRACT({JSON}, '$.a')", "JSON"),
    Call("json_extract", "JSON_EXTRACT({STRING}, '$')", "STRING"),
    Call("json_query", "JSON_QUERY({JSON}, '$.b[0]')", "JSON"),
    Call("json_query", "JSON_QUERY(TO_JSON_STRING({row}), '$')", "STRING"),
    Call("json_remove", "JSON_REMOVE({JSON}, '$.a')", "JSON"),
    Call("json_set", "JSON_SET({JSON}, '$.a', {STRING})", "JSON"),
    Call("json_value", "JSON_VALUE({JSON}, '$.a')", "STRING"),
    Call("percentile_cont", "PERCENTILE_CONT({FLOAT64}, 0.4)", "FLOAT64", aggregate=True),
    Call("range", "RANGE({DATE}, NULL)", "RANGE<DATE>"),
    Call("regexp_extract_groups", "REGEXP_EXTRACT_GROUPS({STRING}, r'(.)(.)')", ""),
    Call("string_agg", "STRING_AGG({STRING}, '+' ORDER BY {by})", "STRING", aggregate=True),
    Call("time_add", "TIME_ADD({TIME}, INTERVAL {INT64} SECOND)", "TIME"),
    Call("time_diff", "TIME_DIFF({TIME}, {TIME}, MINUTE)", "INT64"),
    Call("time_sub", "TIME_SUB({TIME}, INTERVAL {INT64} HOUR)", "TIME"),
    Call("time_trunc", "TIME_TRUNC({TIME}, HOUR)", "TIME"),
    Call("$subtract", "{DATE} - {DATE}", "INTERVAL"),
    Call("$add", "{TIMESTAMP} + {INTERVAL}", "TIMESTAMP"),
    Call("$multiply", "{INTERVAL} * {INT64}", "INTERVAL"),
    Call("$divide", "{NUMERIC} / {NUMERIC}", "NUMERIC"),
    Call("$unary_minus", "-{BIGNUMERIC}", "BIGNUMERIC"),
    Call("$bitwise_and", "{INT64} & {INT64} | ~{INT64} ^ ({INT64} << 1) >> 2", "INT64"),
    Call("$bitwise_or", "{BYTES} | {BYTES}", "BYTES"),
    Call("$concat_op", "{BYTES} || {BYTES}", "BYTES"),
    Call("$concat_op", "{ARRAY<STRING>} || {ARRAY<STRING>}", "ARRAY<STRING>"),
    Call("$extract", "EXTRACT(DAYOFWEEK FROM {DATE})", "INT64"),
    Call("$extract", "EXTRACT(HOUR FROM {TIMESTAMP} AT TIME ZONE 'Asia/Tokyo')", "INT64"),
    Call("$extract_date", "EXTRACT(DATE FROM {TIMESTAMP})", "DATE"),
    Call("$extract_time", "EXTRACT(TIME FROM {DATETIME})", "TIME"),
    Call("$extract_datetime", "EXTRACT(DATETIME FROM {TIMESTAMP})", "DATETIME"),
    Call("$interval", "INTERVAL {INT64} WEEK", "INTERVAL"),
    Call("$is_true", "({BOOL} IS TRUE)", "BOOL"),
    Call("$is_false", "({BOOL} IS NOT FALSE)", "BOOL"),
    Call("$subscript", "{JSON}.a", "JSON"),
    Call("$subscript", "{JSON}['b'][0]", "JSON"),
    Call("$safe_array_at_ordinal", "{ARRAY<DATE>}[SAFE_ORDINAL({INT64})]", "DATE"),
    Call("$array_at_offset", "{ARRAY<STRING>}[OFFSET(MOD(LENGTH({STRING}), 2))]", "STRING"),
    Call("safe.parse", "SAFE.PARSE_JSON({STRING})", "JSON"),
    Call("safe.timestamp", "SAFE.TIMESTAMP({STRING})", "TIMESTAMP"),
)
"""Calls whose arguments must be literals, operators, and calls under SAFE."""
