"""Walks the expressions of a resolved tree and notes every use of every base column.

INVARIANT: a node that has no method here makes the query opaque.
INVARIANT: reading is noted where a value is used up (called on, compared, sorted by, put out), not
where a column is named; a column that is scanned and whose use was not seen counts as used whole.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from keystile.analysis.functions import ALLOWED
from keystile.analysis.groups import GOOGLESQL, ROUTINE_GROUPS
from keystile.analysis.lineage import NOTHING, Value, merged, union
from keystile.analysis.tree import Span, children, descendants, kind, span
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.model.facts import Use
from keystile.model.schema import ColumnRef, Table


class Expressions(ABC):
    """The part of a walk that looks at expressions, and what is found on the way."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        """`tables` are by their full name, which the catalog gave the engine."""
        self._tables = tables
        self._columns: dict[int, Value] = {}
        self._scanned: list[tuple[int, Value]] = []
        self._dead: set[int] = set()
        self.routines: Mapping[str, frozenset[ColumnRef]] = {}
        self.uses: dict[ColumnRef, set[Use]] = {}
        self.functions: set[str] = set()
        self.called: set[str] = set()
        self.opaque: dict[str, Span | None] = {}
        self.scans: dict[Span, Table] = {}
        self.past: set[Span] = set()

    def use(self, value: Value, use: Use) -> None:
        """Note that a value is used up."""
        for source in value.sources:
            self.uses.setdefault(source, set()).add(use)

    def column(self, column: Any) -> Value:
        """Give what a column of the tree holds."""
        value = self._columns.get(column.column_id)
        if value is None:
            self.doubt(f"column `{column.name}`", None)
            return NOTHING
        return value

    def bind(self, column: Any, value: Value) -> None:
        """Remember what a column of the tree holds."""
        self._columns[column.column_id] = value

    def doubt(self, what: str, node: Any) -> None:
        """Note something that is not understood."""
        self.opaque.setdefault(what, _nearest(node) if node is not None else None)

    def finish(self) -> None:
        """Count every scanned column whose use was not seen as used whole, but for the dead."""
        for number, value in self._scanned:
            seen = any(source in self.uses for source in value.sources)
            if not seen and number not in self._dead:
                self.use(value, Use.ARGUMENT)

    def expression(self, node: Any) -> Value:
        """Give what an expression derives from, noting what it uses up."""
        method = self._methods.get(kind(inner := unwrapped(node)))
        if method is None:
            self.doubt(shown(inner), inner)
            self._use_all_beneath(inner)
            return NOTHING
        return method(self, inner)

    def used(self, node: Any, use: Use) -> Value:
        """Walk an expression whose value is used up at once."""
        value = self.expression(node)
        self.use(value, use)
        return Value(value.sources)

    def _use_all_beneath(self, node: Any) -> None:
        # The query is refused; its facts should still name what it touches.
        for _, child in children(node):
            if kind(child) == "ResolvedColumnRef":
                self.use(self.column(child.column), Use.ARGUMENT)
            elif kind(child) in self._methods:
                self.used(child, Use.ARGUMENT)
            else:
                self._use_all_beneath(child)

    def _column_ref(self, node: Any) -> Value:
        return self.column(node.column)

    def _constant(self, _: Any) -> Value:
        return NOTHING

    def _struct_field(self, node: Any) -> Value:
        held = self.expression(node.expr)
        fields = inherited(unwrapped(node.expr), "type").struct_type.field
        index = node.field_idx
        return held.field(index, fields[index].field_name if index < len(fields) else "")

    def _make_struct(self, node: Any) -> Value:
        fields = tuple(self.expression(field) for field in node.field_list)
        return Value(union(fields), fields=fields)

    def _operand(self, node: Any) -> Value:
        """Walk a node all of whose children are expressions that it uses up."""
        values = [self.used(child, Use.ARGUMENT) for _, child in children(node)]
        return Value(union(values))

    def _with_expression(self, node: Any) -> Value:
        for assignment in node.assignment_list:
            self.computed(assignment)
        return self.expression(node.expr)

    def _subquery(self, node: Any) -> Value:
        around, self.uses = self.uses, {}
        value = self._subquery_value(node)
        for ref, uses in self.uses.items():
            around.setdefault(ref, set()).update(uses)
        self.uses = around
        return value

    def _subquery_value(self, node: Any) -> Value:
        operand = self.used(node.in_expr, Use.ARGUMENT) if has(node, "in_expr") else NOTHING
        self.scan(node.subquery)
        results = [self.column(column) for column in output_columns(node.subquery)]
        if enum_name(node, "subquery_type") in {"SCALAR", "ARRAY"}:
            return merged(results[:1])
        for result in results:
            self.use(result, Use.ARGUMENT)
        # Whether there is a row depends on all that was used to find one.
        return Value(union([operand, *results]).union(self.uses))

    def _call(self, node: Any) -> Value:
        name = self._function(node)
        arguments: list[Value] = []
        # An aggregate of groups (`SUM(MAX(x) GROUP BY y)`) names its groups in what comes first.
        others = self._groups(node)
        for field, child in children(node):
            if field in _GROUPED:
                pass
            elif field == "argument_list":
                arguments.append(self.expression(child))
            elif field == "generic_argument_list":
                arguments.append(self._argument(child, arguments))
            elif field not in {"hint_list", "collation_list"}:
                others.append(self._modifier(field, child))
        if name in _ELEMENT_OF and arguments:
            for index in arguments[1:]:
                self.use(index, Use.ARGUMENT)
            return arguments[0].with_sources(union(arguments[1:]))
        for value in arguments:
            self.use(value, Use.ARGUMENT)
            if self.routines.get(name):
                self.use(value, Use.FILTER)  # a text that reads tables may choose rows by it
        return Value(union([*arguments, *others, self.routine(name)]))

    def routine(self, name: str) -> Value:
        """Use all that a routine's own text reads; nothing of a function of GoogleSQL."""
        value = Value(self.routines.get(name, frozenset()))
        self.use(value, Use.ARGUMENT)
        return value

    def _groups(self, node: Any) -> list[Value]:
        if kind(node) != "ResolvedAggregateFunctionCall":
            return []
        keys = [self.computed(column) for column in node.group_by_list]
        for key in keys:
            self.use(key, Use.GROUP)
        return [*keys, *(self.computed(column) for column in node.group_by_aggregate_list)]

    def _function(self, node: Any) -> str:
        group, _, spelled = inherited(node, "function").name.partition(":")
        if group in ROUTINE_GROUPS and spelled in self.routines:
            self.called.add(spelled)
            return str(spelled)
        name: str = spelled.lower()
        self.functions.add(name)
        if name not in ALLOWED or group != GOOGLESQL:
            self.doubt(f"function `{name.upper()}`", node)
        return name

    def _argument(self, node: Any, before: list[Value]) -> Value:
        """Walk an argument that may be a lambda over what the earlier arguments hold."""
        given = dict(children(node))
        if set(given) == {"expr"}:
            return self.expression(given["expr"])
        if set(given) == {"inline_lambda"}:
            body = given["inline_lambda"]
            for column in body.argument_list:
                self.bind(column, Value(union(before)))
            return self.used(body.body, Use.ARGUMENT)
        self.doubt("this kind of function argument", node)
        return NOTHING

    def _modifier(self, field: str, node: Any) -> Value:
        """Walk what an aggregate or a window function has beside its arguments."""
        if field in {"where_expr", "having_expr"}:
            return self.used(node, Use.FILTER)
        if field == "order_by_item_list":
            return self.order_item(node, Use.ORDER)
        if field == "having_modifier":
            return self.used(node.having_expr, Use.ARGUMENT)
        if field == "limit":
            return self.used(node, Use.ARGUMENT)
        if field == "window_frame":
            bounds = (child for _, child in children(node))
            inner = [expression for bound in bounds for _, expression in children(bound)]
            return Value(union([self.used(expression, Use.WINDOW) for expression in inner]))
        self.doubt(f"aggregate modifier `{field}`", node)
        return NOTHING

    def order_item(self, node: Any, use: Use) -> Value:
        """Walk one item of an ORDER BY."""
        if has(node, "collation_name"):
            self.used(node.collation_name, use)
        return self.used(node.column_ref, use)

    def computed(self, node: Any) -> Value:
        """Walk a computed column and bind it."""
        inner = unwrapped(node)
        if kind(inner) not in {"ResolvedComputedColumn", "ResolvedDeferredComputedColumn"}:
            self.doubt(shown(inner), inner)
            return NOTHING
        value = self.expression(inner.expr)
        self.bind(inner.column, value)
        if kind(inner) == "ResolvedDeferredComputedColumn":
            self.bind(inner.side_effect_column, Value(value.sources))
        return value

    @abstractmethod
    def scan(self, node: Any) -> None:
        """Walk a scan and bind its columns."""

    _methods: ClassVar[dict[str, Callable[[Expressions, Any], Value]]] = {
        "ResolvedLiteral": _constant,
        "ResolvedParameter": _constant,
        # A script's variable; what was put into it is counted where that is read.
        "ResolvedConstant": _constant,
        "ResolvedSystemVariable": _constant,
        "ResolvedDMLDefault": _constant,
        # In the text of a routine; what is given is counted where the routine is called.
        "ResolvedArgumentRef": _constant,
        "ResolvedColumnRef": _column_ref,
        "ResolvedGetStructField": _struct_field,
        "ResolvedMakeStruct": _make_struct,
        "ResolvedGetJsonField": _operand,
        "ResolvedCast": _operand,
        "ResolvedDMLValue": _operand,
        "ResolvedWithExpr": _with_expression,
        "ResolvedSubqueryExpr": _subquery,
        "ResolvedFunctionCall": _call,
        "ResolvedAggregateFunctionCall": _call,
        "ResolvedAnalyticFunctionCall": _call,
    }


def output_columns(scan: Any) -> Any:
    """Give the columns that a scan puts out."""
    return inherited(unwrapped(scan), "column_list")


def enum_name(node: Any, field: str) -> str:
    """Give the name of an enumeration field's value."""
    descriptor = node.DESCRIPTOR.fields_by_name[field].enum_type
    name: str = descriptor.values_by_number[getattr(node, field)].name
    return name


def shown(node: Any) -> str:
    """Name a node kind for a reader: `ResolvedGetProtoField` is "get proto field"."""
    words = re.findall("[A-Z]+(?![a-z])|[A-Z][a-z]*", kind(node).removeprefix("Resolved"))
    return f"`{' '.join(words).lower()}` in this query"


def _nearest(node: Any) -> Span | None:
    """Give the place of a node, or of the first beneath it that has one."""
    return next((place for inner in descendants(node) if (place := span(inner))), None)


_GROUPED = frozenset({"group_by_list", "group_by_aggregate_list", "group_by_hint_list"})

_ELEMENT_OF = frozenset(
    {
        "$array_at_offset",
        "$array_at_ordinal",
        "$safe_array_at_offset",
        "$safe_array_at_ordinal",
        "array_first",
        "array_last",
        "array_reverse",
    }
)
"""Functions whose result is the first argument or an element of it."""
