"""What a parse tree may hold that no schema could make clear."""

from __future__ import annotations

from typing import Any

from keystile.analysis.calls import called
from keystile.analysis.effects import UNKNOWN_URI, options, uris
from keystile.analysis.functions import ALLOWED, DENIED
from keystile.analysis.parsing import identifiers
from keystile.analysis.script_parts import READABLE_VARIABLES
from keystile.analysis.tree import children, descendants, kind
from keystile.googlesql.protos import has, inherited, unwrapped

_NODES = {
    "ASTModelClause": "model",
    "ASTConnectionClause": "connection",
    "ASTWithConnectionClause": "connection",
    "ASTGraphTableQuery": "graph query",
    "ASTSequenceArg": "sequence",
    "ASTReturningClause": "THEN RETURN clause",
    "ASTOnConflictClause": "ON CONFLICT clause",
    "ASTLockMode": "lock",
    "ASTMacroBody": "macro",
}

# Columns that BigQuery adds to some tables and that neither a schema nor `Table.pseudo_columns`
# lists. What that lists the engine resolves, or reports as unknown as BigQuery does.
_PSEUDO_COLUMNS = frozenset(
    {
        "_CHANGE_TYPE",
        "_CHANGE_TIMESTAMP",
        "_CHANGE_SEQUENCE_NUMBER",
        "_ROW_TIMESTAMP",
        "_COMMIT_TIMESTAMP",
    }
)

_PLAIN_ALTERATIONS = frozenset(
    {
        "ASTAddColumnAction",
        "ASTDropColumnAction",
        "ASTRenameColumnAction",
        "ASTAlterColumnOptionsAction",
        "ASTAlterColumnTypeAction",
        "ASTAlterColumnDropDefaultAction",
        "ASTAlterColumnDropNotNullAction",
        "ASTSetOptionsAction",
    }
)

# What an ALTER would have to resolve: the engine does not look into it.
_COMPUTED = frozenset(
    {
        "ASTExpressionSubquery",
        "ASTFunctionCall",
        "ASTGeneratedColumnInfo",
    }
)

_FORMATS = frozenset({"AVRO", "CSV", "JSON", "PARQUET"})

PLAIN_OPTIONS = frozenset(
    """
allow_non_incremental_definition default_partition_expiration_days default_rounding_mode
default_table_expiration_days description enable_refresh expiration_timestamp friendly_name labels
location max_staleness max_time_travel_hours partition_expiration_days
refresh_interval_minutes require_partition_filter rounding_mode storage_billing_model
compression field_delimiter format header overwrite uri use_avro_logical_types
analyzer data_types default_index_column_granularity distance_type index_type ivf_options
auto_arima auto_class_weights batch_size booster_type boxcox_transformation_lambda
calculate_p_values
category_encoding_method class_weights colsample_bylevel colsample_bynode colsample_bytree
data_frequency data_split_col data_split_eval_fraction data_split_method decompose_time_series
distance_type dropout early_stop enable_global_explain feedback_type fit_intercept hidden_units
holiday_region horizon input_label_cols item_col kmeans_init_col kmeans_init_method l1_reg l2_reg
learn_rate learn_rate_strategy ls_init_learn_rate max_iterations max_parallel_trials max_tree_depth
min_rel_progress min_split_loss min_tree_child_weight model_type non_seasonal_order num_clusters
num_factors num_parallel_tree num_principal_components num_trials optimize_strategy optimizer
pca_explained_variance_ratio pca_solver rating_col scale_features standardize_features subsample
time_series_data_col time_series_id_col time_series_length_fraction time_series_timestamp_col
tree_method user_col wals_alpha warm_start xgboost_version
""".split()  # noqa: SIM905 - names read better as a table
)
"""Options that neither open access nor reach outside BigQuery, of all statements together."""

_PLAIN_DROPS = ("kTable", "kView", "kExternalTable", "kSchema")


def doubt(node: Any) -> str:
    """Name what makes the whole text opaque, in the user's words; empty where nothing does."""
    name = kind(node)
    if name in _NODES:
        return _NODES[name]
    check = _CHECKS.get(name)
    return check(node) if check else ""


def _table_function(node: Any) -> str:
    if called(node):
        return ""
    return f"table function `{'.'.join(identifiers(node.name))}`"


def _function(node: Any) -> str:
    path = identifiers(node.function)
    name = ".".join(path).lower()
    bare = name.removeprefix("safe.")
    if bare in DENIED or bare == "current_user":
        return f"function `{bare.upper()}`"
    if "." in bare and bare not in ALLOWED and not called(node):
        return f"routine `{'.'.join(path)}`"
    return ""


def _system_variable(node: Any) -> str:
    name = ".".join(identifiers(node.path))
    return "" if name.lower() in READABLE_VARIABLES else f"system variable `@@{name}`"


def _parameter(node: Any) -> str:
    # INVARIANT: no text reads the gateway's own parameters, which hold the key of keyed hashes.
    name = node.name.id_string if has(node, "name") else ""
    return f"reserved parameter `@{name}`" if name.lower().startswith("keystile_") else ""


def _pseudo_column(node: Any) -> str:
    if node.id_string.upper() in _PSEUDO_COLUMNS:
        return f"pseudo column `{node.id_string}`"
    return ""


def _alteration(node: Any) -> str:
    for _, action in children(node):
        if kind(action) not in _PLAIN_ALTERATIONS:
            return "this kind of ALTER"
        if any(
            kind(inner) in _COMPUTED or has(inner, "default_expression")
            for inner in descendants(action)
        ):
            return "ALTER that computes values"
    return strange_option(node)


def strange_option(statement: Any) -> str:
    """Name an option of a statement that is on no list: it may open access or reach outside."""
    for entry in options(statement):
        if (name := entry.name.id_string.lower()) not in PLAIN_OPTIONS:
            return f"option `{name}`"
    return ""


def _drop(node: Any) -> str:
    field = node.DESCRIPTOR.fields_by_name["schema_object_kind"]
    if field.enum_type.values_by_number[node.schema_object_kind].name in _PLAIN_DROPS:
        return ""
    return "this kind of DROP"


def _create_table(node: Any) -> str:
    return strange_option(node)


def _is_temporary(node: Any) -> bool:
    # ASTCreateStatementEnums.Scope: 0 is the default, PUBLIC and PRIVATE belong to modules.
    return bool(inherited(node, "scope"))


def _create_view(node: Any) -> str:
    return "temporary view" if _is_temporary(node) else strange_option(node)


def _create_model(node: Any) -> str:
    odd = ("input_output_clause", "with_connection_clause", "aliased_query_list")
    if node.is_remote or not has(node, "query") or any(has(node, field) for field in odd):
        return "model that is remote, imported or made of several queries"
    return strange_option(node)


def _create_index(node: Any) -> str:
    odd = ("optional_index_unnest_expression_list", "spanner_interleave_clause")
    if not (node.is_search or node.is_vector) or any(has(node, field) for field in odd):
        return "this kind of index"
    return strange_option(node)


def _copy_of(node: Any) -> str:
    # The table as it was then may have columns with labels that nobody knows any more.
    odd = ("for_system_time", "where_clause")
    if any(has(node, field) for field in odd) or inherited(node, "postfix_operators"):
        return "CLONE or COPY of an earlier state or a part of a table"
    return ""


def _export(node: Any) -> str:
    if UNKNOWN_URI in uris(node):
        return "export to an address that is not written out"
    for entry in options(node):
        if entry.name.id_string.lower() == "format":
            value = unwrapped(entry.value)
            if getattr(value, "string_value", "").upper() not in _FORMATS:
                return "export in this format"
    return strange_option(node)


def _pipe_with_effect(_: Any) -> str:
    return "pipe operator that writes or branches"


_CHECKS = {
    "ASTTVF": _table_function,
    "ASTFunctionCall": _function,
    "ASTSystemVariableExpr": _system_variable,
    "ASTParameterExpr": _parameter,
    "ASTIdentifier": _pseudo_column,
    "ASTAlterActionList": _alteration,
    "ASTDropStatement": _drop,
    "ASTCloneDataSource": _copy_of,
    "ASTCopyDataSource": _copy_of,
    "ASTCreateIndexStatement": _create_index,
    "ASTCreateMaterializedViewStatement": _create_view,
    "ASTCreateModelStatement": _create_model,
    "ASTCreateSchemaStatement": strange_option,
    "ASTCreateSnapshotTableStatement": strange_option,
    "ASTCreateTableStatement": _create_table,
    "ASTCreateViewStatement": _create_view,
    "ASTExportDataStatement": _export,
    "ASTPipeCreateTable": _pipe_with_effect,
    "ASTPipeInsert": _pipe_with_effect,
    "ASTPipeExportData": _pipe_with_effect,
    "ASTPipeFork": _pipe_with_effect,
    "ASTPipeTee": _pipe_with_effect,
    "ASTPipeLog": _pipe_with_effect,
    "ASTPipeIf": _pipe_with_effect,
}
