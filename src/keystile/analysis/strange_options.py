"""What a doubt is, and the options of statements that raise one: those that are on no list."""

from __future__ import annotations

from typing import Any, NamedTuple

from keystile.analysis.effects import options


class Doubt(NamedTuple):
    """What is not understood, in the user's words, and what to write instead, where that is known.

    `node` is where it stands, if not where it was found.
    """

    what: str
    hint: str = ""
    node: Any = None


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


def strange_option(statement: Any, more: frozenset[str] = frozenset()) -> Doubt | None:
    """Name an option of a statement that is on no list: it may open access or reach outside.

    `more` are options on no list that this statement may have.
    """
    for entry in options(statement):
        if (name := entry.name.id_string.lower()) not in PLAIN_OPTIONS | more:
            return Doubt(f"option `{name}`", "leave this option out", entry)
    return None
