"""The functions that a query may call, and the known ones that it may not.

INVARIANT: a function on neither list is opaque. A test compares both lists with the engine's own,
so that no name is invented and none of the engine's is missed.
"""

from __future__ import annotations

ALLOWED = frozenset(
    """
$add $and $array_at_offset $array_at_ordinal $between $bitwise_and $bitwise_left_shift $bitwise_not
$bitwise_or $bitwise_right_shift $bitwise_xor $case_no_value $case_with_value $concat_op $count_star
$divide $equal $extract $extract_date $extract_datetime $extract_time $greater $greater_or_equal $in
$in_array $interval $is_distinct_from $is_false $is_not_distinct_from $is_null $is_true $less
$less_or_equal $like $like_all $like_any $make_array $multiply $not $not_equal $not_like_all
$not_like_any $or $safe_array_at_offset $safe_array_at_ordinal $safe_subscript_with_offset
$safe_subscript_with_ordinal $subscript $subscript_with_offset $subscript_with_ordinal $subtract
$unary_minus
$differential_privacy_approx_count_distinct $differential_privacy_approx_quantiles
$differential_privacy_avg $differential_privacy_count $differential_privacy_count_star
$differential_privacy_extract_for_dp_approx_count_distinct
$differential_privacy_init_for_dp_approx_count_distinct
$differential_privacy_merge_partial_for_dp_approx_count_distinct
$differential_privacy_percentile_cont $differential_privacy_stddev_pop $differential_privacy_sum
$differential_privacy_var_pop $like_all_array $like_any_array $not_like_all_array
$not_like_any_array
classifier collate first is_first is_last last match_number match_row_number next prev
abs acos acosh any_value approx_cosine_distance approx_count_distinct approx_dot_product
approx_euclidean_distance approx_quantiles approx_top_count approx_top_sum array_agg array_avg
array_concat array_concat_agg array_distinct array_filter array_find_all array_first array_first_n
array_includes array_includes_all array_includes_any array_is_distinct array_last array_last_n
array_length array_max array_min array_offsets array_remove_first_n array_remove_last_n
array_reverse array_slice array_sum array_to_string array_transform array_zip ascii asin asinh atan
atan2 atanh avg bit_and
bit_count bit_or bit_xor bool bool_array byte_length cbrt ceil char_length chr coalesce
code_points_to_bytes code_points_to_string concat corr cos cosh cosine_distance cot coth count
countif covar_pop covar_samp csc csch cume_dist current_date current_datetime current_time
current_timestamp date date_add date_bucket date_diff date_from_unix_date date_sub date_trunc
datetime datetime_add datetime_bucket datetime_diff datetime_sub datetime_trunc dense_rank div
dot_product edit_distance elementwise_avg elementwise_sum ends_with error euclidean_distance exp
farm_fingerprint first_value float32 float32_array float64 float64_array floor format format_date
format_datetime format_time format_timestamp from_base32 from_base64 from_hex generate_array
generate_date_array generate_range_array generate_timestamp_array generate_uuid greatest grouping
hll_count.extract hll_count.init hll_count.merge hll_count.merge_partial ieee_divide if iferror
ifnull initcap instr int64 int64_array is_inf is_nan iserror json_array json_array_append
json_array_insert json_contains json_extract json_extract_array json_extract_scalar
json_extract_string_array json_flatten json_keys json_object json_query json_query_array json_remove
json_set json_strip_nulls json_type json_value json_value_array justify_days justify_hours
justify_interval kll_quantiles.extract_float64 kll_quantiles.extract_int64
kll_quantiles.extract_point_float64 kll_quantiles.extract_point_int64
kll_quantiles.extract_relative_rank_float64 kll_quantiles.extract_relative_rank_int64
kll_quantiles.init_float64 kll_quantiles.init_int64 kll_quantiles.merge_float64
kll_quantiles.merge_int64 kll_quantiles.merge_partial kll_quantiles.merge_point_float64
kll_quantiles.merge_point_int64 kll_quantiles.merge_relative_rank_float64
kll_quantiles.merge_relative_rank_int64 l1_norm l2_norm lag last_day last_value lax_bool
lax_bool_array lax_float32 lax_float32_array lax_float64 lax_float64_array lax_int64
lax_int64_array lax_string lax_string_array lead least left length ln log log10 logical_and
logical_or lower lpad ltrim make_interval manhattan_distance max md5 min mod net.host
net.ip_from_string net.ip_net_mask net.ip_to_string net.ip_trunc net.ipv4_from_int64
net.ipv4_to_int64 net.public_suffix net.reg_domain net.safe_ip_from_string normalize
normalize_and_casefold nth_value ntile nullif nulliferror nullifzero parse_bignumeric parse_date
parse_datetime parse_json parse_numeric parse_time parse_timestamp percent_rank percentile_cont
percentile_disc pi pi_bignumeric pi_numeric pow rand range range_bucket range_contains range_end
range_intersect range_is_end_unbounded range_is_start_unbounded range_overlaps range_start rank
regexp_contains regexp_extract regexp_extract_all regexp_extract_groups regexp_instr regexp_replace
repeat replace reverse right round row_number rpad rtrim s2_cellidfrompoint s2_coveringcellids
safe_add safe_convert_bytes_to_string safe_divide safe_multiply safe_negate safe_subtract
safe_to_json sec sech sha1 sha256 sha512 sign sin sinh soundex split split_substr sqrt st_angle
st_area st_asbinary st_asgeojson st_askml st_astext st_azimuth st_boundary st_boundingbox st_buffer
st_bufferwithtolerance st_centroid st_centroid_agg st_closestpoint st_clusterdbscan st_contains
st_convexhull st_coveredby st_covers st_difference st_dimension st_disjoint st_distance st_dump
st_dumppoints st_dwithin st_endpoint st_equals st_extent st_exteriorring st_geogfrom
st_geogfromgeojson st_geogfromkml st_geogfromtext st_geogfromwkb st_geogpoint
st_geogpointfromgeohash st_geohash st_geometrytype st_hausdorffdistance st_hausdorffdwithin
st_interiorrings st_intersection st_intersects st_intersectsbox st_isclosed st_iscollection
st_isempty st_isring st_length st_lineinterpolatepoint st_linelocatepoint st_linesubstring
st_makeline st_makepolygon st_makepolygonoriented st_maxdistance st_nearest_neighbors
st_numgeometries st_numpoints st_perimeter st_pointn st_simplify st_snaptogrid st_startpoint
st_touches st_unaryunion st_union st_union_agg st_within st_x st_y starts_with stddev_pop
stddev_samp string string_agg string_array strpos substr sum tan tanh time time_add time_diff
time_sub time_trunc timestamp timestamp_add timestamp_bucket timestamp_diff
timestamp_from_unix_micros timestamp_from_unix_millis timestamp_from_unix_seconds timestamp_micros
timestamp_millis timestamp_seconds timestamp_sub timestamp_trunc to_base32 to_base64 to_code_points
to_hex to_json to_json_string translate trim trunc typeof unicode unix_date unix_micros unix_millis
unix_seconds upper var_pop var_samp zeroifnull
""".split()  # noqa: SIM905 - 480 names read better as a table
)
"""Pure functions of their arguments (or of the clock or chance), and aggregates of them."""

ALIASES = frozenset(
    {
        "ceiling",
        "character_length",
        "octet_length",
        "power",
        "regexp_substr",
        "st_npoints",
        "stddev",
        "substring",
        "variance",
    }
)
"""Second names of functions that are allowed, which the engine turns into the first ones."""

DENIED = frozenset(
    """
session_user
aead.decrypt_bytes aead.decrypt_string aead.encrypt aead.envelope_decrypt_bytes
aead.envelope_decrypt_string aead.envelope_encrypt deterministic_decrypt_bytes
deterministic_decrypt_string deterministic_encrypt keys.add_key_from_raw_bytes keys.keyset_chain
keys.keyset_from_json keys.keyset_length keys.keyset_to_json keys.new_keyset keys.new_wrapped_keyset
keys.rewrap_keyset keys.rotate_keyset keys.rotate_wrapped_keyset
$dynamic_property_equals $is_dest_node $is_source_node $path_concat $unchecked_path
$unchecked_path_concat all_different destination_node_id edges element_definition_name element_id
is_acyclic is_simple is_trail labels nodes path path_first path_last path_length property_exists
property_names same source_node_id
$proto_map_at_key $safe_proto_map_at_key $safe_subscript_with_key $subscript_with_key filter_fields
flatten proto_map_contains_key proto_modify_map
agg apply new_uuid to_seconds_interval zstd_compress
zstd_decompress_to_bytes zstd_decompress_to_string
""".split()  # noqa: SIM905 - 480 names read better as a table
)
"""What reveals the gateway's identity, handles keys, or is no part of BigQuery's queries."""
