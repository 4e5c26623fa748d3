"""The tables that GoogleSQL's tests name, in the nearest types that BigQuery has.

`INT32`, `UINT32` and `UINT64` of the sample catalog are INT64 here and `FLOAT` is FLOAT64; columns
of protos, enumerations, maps and UUIDs are left out, and so are value tables: BigQuery has none.
"""

from __future__ import annotations

_INNER = "STRUCT<a INT64, b STRING>"
_NESTED = f"STRUCT<c INT64, d {_INNER}>"
_DOUBLY = f"STRUCT<e INT64, f {_NESTED}>"

_TIMES = "`timestamp_seconds` TIMESTAMP, `timestamp_millis` TIMESTAMP, `timestamp_micros` TIMESTAMP"

SAMPLE_CATALOG = {
    "Value": "Value INT64, Value_1 INT64",
    "KeyValue": "Key INT64, Value STRING",
    "KeyValue2": "Key INT64, Value2 STRING",
    "AnotherKeyValue": "Key INT64, value STRING",
    "KeyValueWithPrimaryKey": "Key INT64, Value STRING",
    "KeyValueReadTimeIgnored": "Key INT64, Value STRING",
    "MultipleColumns": (
        "int_a INT64, string_a STRING, int_b INT64, string_b STRING, int_c INT64, int_d INT64"
    ),
    "TableWithTimestampColumn": "ts_col TIMESTAMP",
    "TableWithMixedCaseColumn": "ts_col TIMESTAMP, MiXeD_cAsE STRING",
    "abTable": "a INT64, b STRING",
    "bcTable": "b INT64, c STRING",
    "TableWithDefaultColumn": "id INT64, a INT64, default_col INT64",
    "GeoStructTable1": "geo STRUCT<a GEOGRAPHY>",
    "GeoStructTable2": "geo STRUCT<b GEOGRAPHY>",
    "StructWithJsonTable": "json_struct STRUCT<json JSON, json_2 JSON>",
    "ArrayOfStructOfJsonAndIntTable": "json_and_int_array ARRAY<STRUCT<json JSON, `int` INT64>>",
    "CollatedTable": (
        "string_ci STRING, string_binary STRING,"
        " struct_with_string_ci STRUCT<a INT64, b STRING>,"
        " array_with_string_ci ARRAY<STRING>"
    ),
    "SimpleTypes": (
        "`int32` INT64, `int64` INT64, `uint32` INT64, `uint64` INT64, `string` STRING,"
        " `bytes` BYTES, `bool` BOOL, `float` FLOAT64, `double` FLOAT64, `date` DATE,"
        f" {_TIMES}, `timestamp_nanos` TIMESTAMP,"
        " `timestamp` TIMESTAMP, `numeric` NUMERIC, `bignumeric` BIGNUMERIC, `json` JSON"
    ),
    "SimpleTypesWithAnonymizationUid": (
        "`int32` INT64, `int64` INT64, `uint32` INT64, `uint64` INT64, `string` STRING,"
        " `bytes` BYTES, `bool` BOOL, `float` FLOAT64, `double` FLOAT64, `date` DATE, uid INT64,"
        " `numeric` NUMERIC"
    ),
    "TableWithSingleInt64ArrayCol": "array_col ARRAY<INT64>",
    "ArrayWithAnonymizationUid": "int64_array ARRAY<INT64>, double_array ARRAY<FLOAT64>, uid INT64",
    "GeographyTable": "key INT64, text STRING, geo1 GEOGRAPHY, geo2 GEOGRAPHY",
    "NumericTypeTable": "numeric_col NUMERIC",
    "BigNumericTypeTable": "bignumeric_col BIGNUMERIC",
    "JSONTable": "json_col JSON",
    "TwoIntegers": "key INT64, value INT64",
    "FourIntegers": "key1 INT64, value1 INT64, key2 INT64, value2 INT64",
    "NameConflictTable": "key INT64",
    "name_conflict_table": "a STRING, name_conflict_field STRING",
    "user_training_data": "data INT64",
    "unicode_column_table": "`å学` INT64, `ô` STRING, a STRUCT<`1𐌰:aô` STRING>",
    "TestTable": "key INT64",
    "EnumTable": "key INT64",
    "ComplexTypes": f"key INT64, Int32Array ARRAY<INT64>, TestStruct {_NESTED}",
    "MoreComplexTypes": (
        f"key INT64, ArrayOfStruct ARRAY<{_INNER}>,"
        f" StructOfArrayOfStruct STRUCT<x INT64, y {_INNER}, z ARRAY<{_INNER}>>"
    ),
    "DoublyNestedStructTable": f"key INT64, doubly_nested_struct {_DOUBLY}",
    "ArrayTypes": (
        "Int32Array ARRAY<INT64>, Int64Array ARRAY<INT64>, UInt32Array ARRAY<INT64>,"
        " UInt64Array ARRAY<INT64>, StringArray ARRAY<STRING>, BytesArray ARRAY<BYTES>,"
        " BoolArray ARRAY<BOOL>, FloatArray ARRAY<FLOAT64>, DoubleArray ARRAY<FLOAT64>,"
        " DateArray ARRAY<DATE>, TimestampSecondsArray ARRAY<TIMESTAMP>,"
        " TimestampMillisArray ARRAY<TIMESTAMP>, TimestampMicrosArray ARRAY<TIMESTAMP>,"
        f" TimestampArray ARRAY<TIMESTAMP>, StructArray ARRAY<{_INNER}>, JsonArray ARRAY<JSON>,"
        " NumericArray ARRAY<NUMERIC>, BigNumericArray ARRAY<BIGNUMERIC>,"
        " IntervalArray ARRAY<INTERVAL>"
    ),
    "SimpleTypesWithStruct": f"key INT64, TestStruct {_NESTED}",
    "KeywordTable": "`current_date` DATE, `current_timestamp` TIMESTAMP",
}
"""Columns of the analyser tests' tables, as `CREATE TABLE` spells them."""

PARAMETERS = {
    "test_param_int32": "INT64",
    "test_param_int64": "INT64",
    "test_param_uint32": "INT64",
    "test_param_uint64": "INT64",
    "test_param_bool": "BOOL",
    "test_param_string": "STRING",
    "test_param_bytes": "BYTES",
    "test_param_float": "FLOAT64",
    "test_param_double": "FLOAT64",
    "test_param_date": "DATE",
    "test_param_timestamp": "TIMESTAMP",
    "test_param_numeric": "NUMERIC",
    "test_param_bignumeric": "BIGNUMERIC",
    "test_param_array": "ARRAY<INT64>",
    "test_param_struct": _INNER,
    "param_a": "INT64",
}
"""Query parameters that the tests name without declaring them."""
