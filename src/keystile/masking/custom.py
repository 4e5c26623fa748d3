"""Masks of SQL that a policy's author wrote: what such an expression may say.

INVARIANT: it knows `value` alone, gives the same for equal values, and raises no error for any
value, since an error would tell of it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.analysis.functions import ALLOWED
from keystile.analysis.groups import GOOGLESQL
from keystile.analysis.resolve import ResolveRequest, resolved_tree
from keystile.analysis.scope import Scope
from keystile.analysis.statements import walk_statement
from keystile.analysis.tree import descendants, kind
from keystile.analysis.walker import enum_name
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has, inherited, sql_type, unwrapped
from keystile.googlesql.task import Task
from keystile.masking.filters import parsed
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.masks import SqlMask
from keystile.model.schema import SqlType

_PLAIN = frozenset(
    {
        "ResolvedCast",
        "ResolvedColumnRef",
        "ResolvedComputedColumn",
        "ResolvedFunctionCall",
        "ResolvedLiteral",
        "ResolvedOutputColumn",
        "ResolvedProjectScan",
        "ResolvedQueryStmt",
        "ResolvedSingleRowScan",
    }
)
_NEVER_FAIL = frozenset(
    """
$and $between $case_no_value $case_with_value $equal $extract $extract_date $extract_datetime
$extract_time $greater $greater_or_equal $in $is_false $is_null $is_true $less $less_or_equal $not
$not_equal $or byte_length char_length coalesce concat ends_with greatest if ifnull ieee_divide
initcap is_inf is_nan least length lower ltrim net.host net.public_suffix net.reg_domain
net.safe_ip_from_string nullif reverse rtrim safe_add safe_convert_bytes_to_string safe_divide
safe_multiply safe_negate safe_subtract sha256 sha512 sign starts_with strpos to_base64 to_hex trim
upper
""".split()  # noqa: SIM905 - names read better as a table
)
"""Functions and operators that raise no error, whatever values they are handed."""

_CHANGING = frozenset(
    {
        "current_date",
        "current_datetime",
        "current_time",
        "current_timestamp",
        "error",
        "generate_uuid",
        "rand",
    }
)
_WIDENING = frozenset(
    {
        ("INT64", "BIGNUMERIC"),
        ("INT64", "FLOAT64"),
        ("INT64", "NUMERIC"),
        ("NUMERIC", "BIGNUMERIC"),
        ("NUMERIC", "FLOAT64"),
    }
)


class Expressions(msgspec.Struct, frozen=True):
    """Masks of a policy's own SQL, to be looked at before any table is known."""

    masks: tuple[SqlMask, ...]


class Unsound(msgspec.Struct, frozen=True):
    """What is wrong with each; empty for a good one."""

    found: tuple[str, ...]


def unsound(engine: Engine, request: Expressions) -> Unsound:
    """Say what is wrong with expressions."""
    found = []
    for mask in request.masks:
        try:
            check(engine, mask)
        except (InvalidQueryError, RefusedError) as error:
            found.append(error.message)
        else:
            found.append("")
    return Unsound(tuple(found))


UNSOUND = Task(unsound, Expressions, Unsound)
"""Look at masks of a policy's own SQL."""


def check(engine: Engine, mask: SqlMask) -> None:
    """Raise `RefusedError`, or `InvalidQueryError`, for an expression that may not mask."""
    parsed(engine, mask.expression)
    # It was parsed by itself, and the type is one of a fixed list.
    sql = f"SELECT ({mask.expression}\n) FROM (SELECT CAST(NULL AS {mask.type}) AS value)"  # noqa: S608
    statement = resolved_tree(engine, ResolveRequest(sql, Scope(())), prune=False)
    walked = walk_statement(statement, Scope(()))
    if walked.walk.opaque:
        raise RefusedError(f"{next(iter(walked.walk.opaque))} is not understood")
    for node in descendants(statement):
        name = kind(node)
        if name not in _PLAIN:
            raise RefusedError("it may only combine plain functions, operators and literals")
        if name == "ResolvedFunctionCall":
            _check_call(node)
        elif name == "ResolvedCast":
            _check_cast(node)
    if walked.output[0].type != SqlType(mask.type):
        raise RefusedError(f"it gives {walked.output[0].type}, and its column has {mask.type}")


def _check_call(call: Any) -> None:
    group, _, name = inherited(call, "function").name.partition(":")
    is_safe = enum_name(call.parent, "error_mode") == "SAFE_ERROR_MODE"
    known = ALLOWED if is_safe else _NEVER_FAIL
    if name.startswith("$extract") and _has_zone(call, name):
        raise RefusedError("`AT TIME ZONE` can fail, and an error would tell of the value")
    if group != GOOGLESQL or name in _CHANGING or name not in known | _NEVER_FAIL:
        shown = f"`{name.removeprefix('$').upper()}`"
        if group == GOOGLESQL and name in ALLOWED and name not in _CHANGING:
            raise RefusedError(f"{shown} can fail, and an error would tell of the value")
        raise RefusedError(f"it may not use {shown}")


def _has_zone(extract: Any, name: str) -> bool:
    # Which part is extracted is an argument too, where it is not in the function's name.
    return len(inherited(extract, "argument_list")) > (2 if name == "$extract" else 1)


def _check_cast(cast: Any) -> None:
    source = sql_type(inherited(unwrapped(cast.expr), "type")).kind
    target = sql_type(inherited(cast, "type")).kind
    plain = (source, target) in _WIDENING or (target == "STRING" and source != "BYTES")
    plain = plain and not has(cast, "format") and not has(cast, "time_zone")
    if not cast.return_null_on_error and not plain:
        raise RefusedError("`CAST` can fail, and an error would tell of the value")
