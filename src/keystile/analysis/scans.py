"""Walks the scans of a resolved tree: where rows come from and how columns pass through.

INVARIANT: a scan that has no method here makes the query opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from keystile.analysis.fixed import is_fixed
from keystile.analysis.lineage import NOTHING, Value, merged, of_columns, union
from keystile.analysis.liveness import dead_columns
from keystile.analysis.temporary import is_temporary
from keystile.analysis.tree import Span, children, kind, span
from keystile.analysis.walker import Expressions, enum_name, output_columns, shown
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.model.facts import Use
from keystile.model.schema import Table


class Walk(Expressions):
    """One whole walk."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        """`tables` are by their full name, which the catalog gave the engine."""
        super().__init__(tables)
        self._with: dict[str, tuple[Value, ...]] = {}
        self._recursive: list[tuple[Value, ...]] = []

    def scan(self, node: Any) -> None:
        """Walk a scan and bind its columns."""
        method = self._scans.get(kind(inner := unwrapped(node)))
        if method is None:
            self.doubt(shown(inner), inner)
            for _, child in children(inner):
                if kind(child) in self._scans:
                    self.scan(child)
            for column in inherited(inner, "column_list"):
                self._columns.setdefault(column.column_id, NOTHING)
            return
        method(self, inner)

    def table(self, node: Any, *, written: bool = False) -> Table | None:
        """Bind the columns of a table; those of a written one need not be read."""
        table = self._tables.get(node.table.full_name)
        if table is None or node.read_as_row_type or has(node, "lock_mode"):
            self.doubt(f"table `{node.table.full_name or node.table.name}`", node)
            return None
        pseudo = {field.name for field in table.pseudo_columns}
        of_column = of_columns(table)
        for column in inherited(node, "column_list"):
            value = of_column(column.name)
            if value is None:
                if column.name not in pseudo:
                    self.doubt(f"pseudo column `{column.name}`", node)
            elif not written:
                self._scanned.append((column.column_id, value))
            self.bind(column, value or NOTHING)
        if (place := span(node)) is None:
            self.doubt(f"a reference to `{table.id}`", None)
        elif not written:
            self.scans[place] = table
            if has(node, "for_system_time_expr"):
                self._as_of(node.for_system_time_expr, place)
                if is_temporary(table.id):
                    self.doubt("FOR SYSTEM_TIME of a temporary table", node)
        return table

    def _as_of(self, expression: Any, place: Span) -> None:
        """Note that a table is read as it was; when, nothing that is read may say."""
        self.past.add(place)
        if not is_fixed(unwrapped(expression)):
            self.doubt("a time in FOR SYSTEM_TIME that is not a constant", unwrapped(expression))
        self.used(expression, Use.ARGUMENT)

    def _table_scan(self, node: Any) -> None:
        self.table(node)

    def _single_row(self, _: Any) -> None:
        """One row of nothing."""

    def _through(self, node: Any) -> None:
        """Walk a scan that hands its input on."""
        self.scan(node.input_scan)

    def _project(self, node: Any) -> None:
        self.scan(node.input_scan)
        for column in node.expr_list:
            self.computed(column)

    def _filter(self, node: Any) -> None:
        self.scan(node.input_scan)
        self.used(node.filter_expr, Use.FILTER)

    def _assert(self, node: Any) -> None:
        self.scan(node.input_scan)
        self.used(node.condition, Use.FILTER)
        self.used(node.message, Use.ARGUMENT)

    def _join(self, node: Any) -> None:
        self.scan(node.left_scan)
        self.scan(node.right_scan)
        if has(node, "join_expr"):
            self.used(node.join_expr, Use.JOIN)

    def _array(self, node: Any) -> None:
        if has(node, "input_scan"):
            self.scan(node.input_scan)
        values = [self.expression(array) for array in node.array_expr_list]
        for column, value in zip(node.element_column_list, values, strict=True):
            self.bind(column, value)
        if has(node, "array_offset_column"):
            self.bind(node.array_offset_column.column, NOTHING)
        if has(node, "join_expr"):
            self.used(node.join_expr, Use.JOIN)
        if has(node, "array_zip_mode"):
            self.used(node.array_zip_mode, Use.ARGUMENT)

    def _aggregate(self, node: Any) -> None:
        self.scan(inherited(node, "input_scan"))
        for column in inherited(node, "group_by_list"):
            self.use(self.computed(column), Use.GROUP)
        for column in inherited(node, "aggregate_list"):
            self.computed(column)
        for call in inherited(node, "grouping_call_list"):
            self.bind(call.output_column, NOTHING)

    def _private_aggregate(self, node: Any) -> None:
        """Walk an aggregation that withholds small groups or adds noise."""
        self._aggregate(node)
        for option in node.option_list:
            self.used(option.value, Use.ARGUMENT)
        if has(node, "group_selection_threshold_expr"):
            self.used(node.group_selection_threshold_expr, Use.FILTER)

    def _analytic(self, node: Any) -> None:
        self.scan(node.input_scan)
        for group in node.function_group_list:
            self._window(group)

    def _window(self, group: Any) -> Value:
        """Walk the window functions over one window; give what frames it."""
        framing = []
        if has(group, "partition_by"):
            keys = group.partition_by.partition_by_list
            framing += [self.used(key, Use.WINDOW) for key in keys]
        if has(group, "order_by"):
            items = group.order_by.order_by_item_list
            framing += [self.order_item(item, Use.WINDOW) for item in items]
        for column in group.analytic_function_list:
            value = self.computed(column)
            self.bind(unwrapped(column).column, value.with_sources(union(framing)))
        return Value(union(framing))

    def _match_recognize(self, node: Any) -> None:
        self.scan(node.input_scan)
        decided = [self._window(group) for group in node.analytic_function_group_list]
        self._bind_match(node, Value(union(decided)))
        variables = node.pattern_variable_definition_list
        decided += [self.used(variable.predicate, Use.FILTER) for variable in variables]
        for option in node.option_list:
            self.used(option.value, Use.ARGUMENT)
        # Which rows match depends on every predicate, and so does all that is told of a match.
        matched = Value(union(decided))
        self._bind_match(node, matched)
        for group in node.measure_group_list:
            for measure in group.aggregate_list:
                value = self.computed(measure)
                self.bind(unwrapped(measure).column, value.with_sources(matched.sources))
        self._bound_before(node)

    def _bind_match(self, node: Any, value: Value) -> None:
        """Bind what tells of a match: its number, that of a row in it, and what the row stands for.

        Predicates and measures may name these.
        """
        for field in ("match_number_column", "match_row_number_column", "classifier_column"):
            if has(node, field):
                self.bind(getattr(node, field), value)

    def _table_function(self, node: Any) -> None:
        """Walk the call of a routine that gives a table: each column may hold all it is given."""
        name = node.tvf.name
        if name not in self.routines:
            self.doubt(f"table function `{name}`", node)
        self.called.add(name)
        given = [self._operand(argument) for argument in node.argument_list]
        for value in given:
            self.use(value, Use.FILTER)
        for column in inherited(node, "column_list"):
            self.bind(column, Value(union([*given, self.routine(name)])))

    def _bound_before(self, node: Any) -> None:
        """Doubt a scan that puts out a column that nothing bound."""
        for column in inherited(node, "column_list"):
            self.column(column)

    def _set_operation(self, node: Any) -> None:
        rows = []
        for item in node.input_item_list:
            self.scan(item.scan)
            rows.append([self.column(column) for column in item.output_column_list])
        compared = not enum_name(node, "op_type").endswith("_ALL")
        for index, column in enumerate(inherited(node, "column_list")):
            value = merged(row[index] for row in rows)
            self.bind(column, value)
            # What EXCEPT and INTERSECT keep depends on every column, UNION DISTINCT's as well.
            if compared or not enum_name(node, "op_type").startswith("UNION"):
                self.use(value, Use.GROUP)

    def _order_by(self, node: Any) -> None:
        self.scan(node.input_scan)
        for item in node.order_by_item_list:
            self.order_item(item, Use.ORDER)

    def _limit(self, node: Any) -> None:
        self.scan(node.input_scan)
        for field in ("limit", "offset"):
            if has(node, field):
                self.used(getattr(node, field), Use.ARGUMENT)

    def _with_scan(self, node: Any) -> None:
        self._dead |= dead_columns(node)
        for entry in node.with_entry_list:
            self.scan(entry.with_subquery)
            outputs = output_columns(entry.with_subquery)
            self._with[entry.with_query_name] = tuple(self.column(column) for column in outputs)
        self.scan(node.query)

    def _with_reference(self, node: Any) -> None:
        self._bind_all(node, self._with.get(node.with_query_name))

    def _recursive_scan(self, node: Any) -> None:
        self.scan(node.non_recursive_term.scan)
        first = node.non_recursive_term.output_column_list
        current = tuple(self.column(column) for column in first)
        # Sources only grow and there are finitely many leaves, so this ends.
        while True:
            self._recursive.append(current)
            self.scan(node.recursive_term.scan)
            self._recursive.pop()
            step = [self.column(column) for column in node.recursive_term.output_column_list]
            grown = tuple(merged(pair) for pair in zip(current, step, strict=True))
            if grown == current:
                break
            current = grown
        self._bind_all(node, current, self._depth(node))
        if not enum_name(node, "op_type").endswith("_ALL"):
            for value in current:
                self.use(value, Use.GROUP)

    def _depth(self, node: Any) -> int | None:
        """Bind the column that counts a recursion's steps; give its number."""
        if not has(node, "recursion_depth_modifier"):
            return None
        modifier = node.recursion_depth_modifier
        for field in ("lower_bound", "upper_bound"):
            if has(modifier, field):
                self.used(getattr(modifier, field), Use.ARGUMENT)
        if not has(modifier, "recursion_depth_column"):
            return None
        column = modifier.recursion_depth_column.column
        self.bind(column, NOTHING)
        number: int = column.column_id
        return number

    def _recursive_reference(self, node: Any) -> None:
        self._bind_all(node, self._recursive[-1] if self._recursive else None)

    def _bind_all(
        self, node: Any, values: tuple[Value, ...] | None, apart: int | None = None
    ) -> None:
        """Bind the columns that a scan puts out, but for the one numbered `apart`."""
        columns = [one for one in inherited(node, "column_list") if one.column_id != apart]
        if values is None or len(values) < len(columns):
            self.doubt("a reference to a common table expression", node)
            values = (NOTHING,) * len(columns)
        for column, value in zip(columns, values, strict=False):
            self.bind(column, value)

    def _sample(self, node: Any) -> None:
        self.scan(node.input_scan)
        self.used(node.size, Use.ARGUMENT)
        if has(node, "repeatable_argument"):
            self.used(node.repeatable_argument, Use.ARGUMENT)
        if has(node, "weight_column"):
            self.bind(node.weight_column.column, NOTHING)
        for key in node.partition_by_list:
            self.used(key, Use.GROUP)

    def _pivot(self, node: Any) -> None:
        self.scan(node.input_scan)
        for column in node.group_by_list:
            self.use(self.computed(column), Use.GROUP)
        chosen = self.used(node.for_expr, Use.GROUP)
        for value in node.pivot_value_list:
            self.used(value, Use.GROUP)
        results = [self.expression(expression) for expression in node.pivot_expr_list]
        for pivot in node.pivot_column_list:
            result = results[pivot.pivot_expr_index]
            self.bind(pivot.column, result.with_sources(chosen.sources))

    def _unpivot(self, node: Any) -> None:
        self.scan(node.input_scan)
        for column in node.projected_input_column_list:
            self.computed(column)
        rows = [
            [self.expression(reference) for reference in argument.column_list]
            for argument in node.unpivot_arg_list
        ]
        for index, column in enumerate(node.value_column_list):
            value = merged(row[index] for row in rows)
            self.use(value, Use.ARGUMENT)  # NULLs decide which rows there are
            self.bind(column, value)
        self.bind(node.label_column, NOTHING)

    _scans: ClassVar[dict[str, Callable[[Walk, Any], None]]] = {
        "ResolvedTableScan": _table_scan,
        "ResolvedSingleRowScan": _single_row,
        "ResolvedBarrierScan": _through,
        "ResolvedProjectScan": _project,
        "ResolvedFilterScan": _filter,
        "ResolvedAssertScan": _assert,
        "ResolvedJoinScan": _join,
        "ResolvedArrayScan": _array,
        "ResolvedAggregateScan": _aggregate,
        "ResolvedAggregationThresholdAggregateScan": _private_aggregate,
        "ResolvedDifferentialPrivacyAggregateScan": _private_aggregate,
        "ResolvedAnalyticScan": _analytic,
        "ResolvedMatchRecognizeScan": _match_recognize,
        "ResolvedTVFScan": _table_function,
        "ResolvedSetOperationScan": _set_operation,
        "ResolvedOrderByScan": _order_by,
        "ResolvedLimitOffsetScan": _limit,
        "ResolvedWithScan": _with_scan,
        "ResolvedWithRefScan": _with_reference,
        "ResolvedRecursiveScan": _recursive_scan,
        "ResolvedRecursiveRefScan": _recursive_reference,
        "ResolvedSampleScan": _sample,
        "ResolvedPivotScan": _pivot,
        "ResolvedUnpivotScan": _unpivot,
    }
