"""What expressions of a statement give by themselves: texts and bytes of literals and parameters.

A value is followed through columns of subqueries, rows of UNNEST, fields of STRUCTs and calls that
give one of their arguments. What is computed in other ways is nobody's constant.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from keystile.analysis.tree import children, descendants, kind
from keystile.googlesql.protos import inherited, unwrapped
from keystile.model.schema import Parameter, SqlType

Constant = str | bytes
Place = tuple[int, ...]
"""Which field of a STRUCT, and which field of that; an ARRAY stands for each of its elements."""

_GIVEN: Mapping[str, Callable[[Sequence[Any]], Sequence[Any]]] = {
    "$case_no_value": lambda arguments: arguments,
    "$case_with_value": lambda arguments: (*arguments[2::2], arguments[-1]),
    "$make_array": lambda arguments: arguments,
    "coalesce": lambda arguments: arguments,
    "if": lambda arguments: arguments[1:],
    "ifnull": lambda arguments: arguments,
}
"""Which of its arguments a call may give."""

_DECODED: Mapping[str, Callable[[Any], Constant]] = {
    "from_base64": base64.b64decode,
    "from_hex": bytes.fromhex,
    "to_hex": bytes.hex,
}


class Constants:
    """The constants of one resolved statement."""

    def __init__(self, statement: Any, given: Iterable[Parameter]) -> None:
        """`given` are the agent's named parameters."""
        self._given = {one.name.lower(): one for one in given}
        self._made: dict[int, list[Any]] = {}
        """The expressions that columns are, by column ids …"""
        self._taken: dict[int, list[int]] = {}
        """… and the columns that others take their values from."""
        queries = {
            node.with_query_name: unwrapped(node.with_subquery)
            for node in descendants(statement)
            if kind(node) == "ResolvedWithEntry"
        }
        for node in descendants(statement):
            self._note(node, queries)

    def of(self, value: Any, place: Place = ()) -> Iterator[Constant]:
        """Give what may stand at, or beneath, a place of a value.

        `value` is an expression, or the id of a column.
        """
        seen: set[tuple[int, Place]] = set()
        is_column = isinstance(value, int)
        waiting = [*self._column(value, place, seen)] if is_column else [(value, place)]
        while waiting:
            node, place = waiting.pop()
            waiting += self._beneath(node, place, seen)
            yield from self._own(node, place)

    def _own(self, node: Any, place: Place) -> Iterator[Constant]:
        """Give what a literal, a parameter or a text that a call decodes is."""
        match kind(node):
            case "ResolvedLiteral":
                yield from _literal(inherited(node, "value").value, place)
            case "ResolvedParameter" if one := self._given.get(node.name.lower()):
                yield from _parameter(one.value, one.type, place)
            case "ResolvedFunctionCall":
                name, arguments = _call(node)
                if name in _DECODED and arguments:
                    yield from _decoded(name, self.of(arguments[0]))

    def _beneath(
        self, node: Any, place: Place, seen: set[tuple[int, Place]]
    ) -> Iterator[tuple[Any, Place]]:
        """Give the expressions whose values this one gives on, and at which place of theirs."""
        match kind(node):
            case "ResolvedColumnRef":
                yield from self._column(node.column.column_id, place, seen)
            case "ResolvedSubqueryExpr":
                for column in inherited(unwrapped(node.subquery), "column_list")[:1]:
                    yield from self._column(column.column_id, place, seen)
            case "ResolvedGetStructField":
                yield unwrapped(node.expr), (node.field_idx, *place)
            case "ResolvedCast":
                yield unwrapped(node.expr), place
            case "ResolvedMakeStruct":
                fields = node.field_list[place[0] : place[0] + 1] if place else node.field_list
                yield from ((unwrapped(field), place[1:]) for field in fields)
            case "ResolvedFunctionCall":
                name, arguments = _call(node)
                if name in _GIVEN:
                    yield from ((one, place) for one in _GIVEN[name](arguments))

    def _column(
        self, id_: int, place: Place, seen: set[tuple[int, Place]]
    ) -> Iterator[tuple[Any, Place]]:
        """Give the expressions that a column is, each once."""
        waiting = [id_]
        while waiting:
            one = waiting.pop()
            if (one, place) not in seen:
                seen.add((one, place))
                waiting += self._taken.get(one, ())
                yield from ((made, place) for made in self._made.get(one, ()))

    def _note(self, node: Any, queries: Mapping[str, Any]) -> None:
        match kind(node):
            case "ResolvedComputedColumn":
                self._made.setdefault(node.column.column_id, []).append(unwrapped(node.expr))
            case "ResolvedArrayScan":
                for column, array in zip(
                    node.element_column_list, node.array_expr_list, strict=False
                ):
                    self._made.setdefault(column.column_id, []).append(unwrapped(array))
            case "ResolvedSetOperationScan":
                for item in node.input_item_list:
                    self._take(inherited(node, "column_list"), item.output_column_list)
            case "ResolvedWithRefScan" if query := queries.get(node.with_query_name):
                self._take(inherited(node, "column_list"), inherited(query, "column_list"))

    def _take(self, columns: Iterable[Any], sources: Iterable[Any]) -> None:
        for column, source in zip(columns, sources, strict=False):
            self._taken.setdefault(column.column_id, []).append(source.column_id)


def _call(node: Any) -> tuple[str, list[Any]]:
    name = inherited(node, "function").name.rpartition(":")[2].lower()
    return name, [below for field, below in children(node) if field == "argument_list"]


def _decoded(name: str, constants: Iterable[Constant]) -> Iterator[Constant]:
    for one in constants:
        try:
            yield _DECODED[name](one)
        except (TypeError, ValueError):
            continue  # the call fails, or is of another kind


def _literal(value: Any, place: Place) -> Iterator[Constant]:
    match value.WhichOneof("value"):
        case "array_value":
            for element in value.array_value.element:
                yield from _literal(element, place)
        case "struct_value":
            fields = value.struct_value.field
            for field in fields[place[0] : place[0] + 1] if place else fields:
                yield from _literal(field, place[1:])
        case "string_value":
            yield str(value.string_value)
        case "bytes_value":
            yield bytes(value.bytes_value)


def _parameter(value: Any, type_: SqlType, place: Place) -> Iterator[Constant]:
    """Give what is in a parameter's value, in BigQuery's JSON."""
    match value, type_:
        case {"arrayValues": list(items)}, SqlType(element=SqlType() as element):
            for item in items:
                yield from _parameter(item, element, place)
        case {"structValues": dict(parts)}, _:
            fields = type_.fields[place[0] : place[0] + 1] if place else type_.fields
            for name, inner in fields:
                yield from _parameter(parts.get(name), inner, place[1:])
        case {"value": str(text)}, SqlType(kind="STRING"):
            yield text
        case {"value": str(text)}, SqlType(kind="BYTES"):
            yield from _decoded("from_base64", [text])
