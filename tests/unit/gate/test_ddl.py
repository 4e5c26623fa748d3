from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.gate import ddl
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidRequestError, KeystileError, NotFoundError
from keystile.model.schema import Field, Mode, Table, TableId, TableKind
from keystile.wire.keys import ChangedKeys, ForeignKey, Keys
from keystile.wire.resources import NewColumn, NewDataset, NewTable, Partitioning, Words
from keystile.wire.updates import Changed

ID = TableId("acme-shop", "shop", "made")
WORDS = Words("it's", "Made", {"team": "x"})
OPTIONS = "description = 'it\\'s', friendly_name = 'Made', labels = [('team', 'x')]"


@pytest.fixture(scope="module")
def analyst() -> Iterator[Analyst]:
    return Analyst(InlineRunner(), 262_144)  # type: ignore[return-value]


class Nothing:
    """Knows no table."""

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        raise NotFoundError(str(id))

    tables_like = routine = table


def test_a_dataset_is_made_and_dropped() -> None:
    new = NewDataset("acme-shop", "lab", WORDS, "EU", 86_400_000, 43_200_000)
    assert ddl.create_dataset(new) == (
        f"CREATE SCHEMA `acme-shop`.`lab` OPTIONS ({OPTIONS},"
        " default_table_expiration_days = 1.0, default_partition_expiration_days = 0.5)"
    )
    assert ddl.create_dataset(NewDataset("p", "d", Words())) == "CREATE SCHEMA `p`.`d`"
    more = NewDataset("p", "d", Words(), rounding_mode="ROUND_HALF_EVEN", time_travel_hours=48)
    assert ddl.create_dataset(more) == (
        "CREATE SCHEMA `p`.`d` OPTIONS (default_rounding_mode = 'ROUND_HALF_EVEN',"
        " max_time_travel_hours = 48)"
    )
    blind = NewDataset("p", "d", Words(), ignores_case=True)
    assert ddl.create_dataset(blind) == (
        "CREATE SCHEMA `p`.`d` OPTIONS (is_case_insensitive = TRUE)"
    )
    assert ddl.drop_dataset("p", "d", contents=False) == "DROP SCHEMA `p`.`d`"
    assert ddl.drop_dataset("p", "d", contents=True) == "DROP SCHEMA `p`.`d` CASCADE"


def test_a_table_is_made_with_all_that_its_resource_says() -> None:
    inner = (Field("x", "INT64", Mode.REQUIRED, description="d"), Field("y", "BYTES"))
    fields = (
        Field("id", "INT64", Mode.REQUIRED),
        Field("tags", "STRING", Mode.REPEATED),
        Field("parts", "STRUCT", Mode.REPEATED, inner),
        Field("span", "RANGE", range_element="DATE"),
        Field("at", "TIMESTAMP"),
    )
    cut = Partitioning("DAY", "at", 86_400_000)
    new = NewTable(ID, WORDS, fields, "", 1_500, cut, ("id",), require_partition_filter=True)
    assert ddl.create_table(new) == (
        "CREATE TABLE `acme-shop`.`shop`.`made` (`id` INT64 NOT NULL, `tags` ARRAY<STRING>,"
        " `parts` ARRAY<STRUCT<`x` INT64 NOT NULL OPTIONS (description = 'd'), `y` BYTES>>,"
        " `span` RANGE<DATE>, `at` TIMESTAMP)"
        " PARTITION BY TIMESTAMP_TRUNC(`at`, DAY) CLUSTER BY `id`"
        f" OPTIONS ({OPTIONS}, expiration_timestamp = TIMESTAMP '1970-01-01 00:00:01.500000+00',"
        " partition_expiration_days = 1.0, require_partition_filter = TRUE)"
    )


async def test_a_comment_in_a_default_value_hides_no_column(analyst: Any) -> None:
    fields = (
        NewColumn("s", "STRING", Mode.REQUIRED, parameters=(7,), default="'x' -- or so"),
        NewColumn("n", "NUMERIC", Mode.REPEATED, parameters=(10, 2)),
    )
    sql = ddl.create_table(NewTable(ID, Words(), fields))
    assert sql == (
        "CREATE TABLE `acme-shop`.`shop`.`made` (`s` STRING(7) DEFAULT 'x' -- or so\n NOT NULL,"
        " `n` ARRAY<NUMERIC(10, 2)>)"
    )
    analysed = await analyst.analyse(Statement(sql, "acme-shop", ""), Nothing())
    assert (analysed.facts.statement, analysed.facts.opaque) == ("CREATE_TABLE", ())


def test_a_dataset_is_changed() -> None:
    options: dict[str, Any] = {"labels": {"team": "x"}, "description": None}
    options |= {"defaultTableExpirationMs": 43_200_000, "friendlyName": "it's"}
    assert ddl.alter_dataset("p", "d", Changed(options)) == (
        "ALTER SCHEMA `p`.`d` SET OPTIONS (labels = [('team', 'x')], description = NULL,"
        " default_table_expiration_days = 0.5, friendly_name = 'it\\'s')"
    )


def test_a_table_gets_its_columns_first_and_its_options_then() -> None:
    added = (Field("a", "INT64", description="d"), Field("b", "STRING", Mode.REPEATED))
    columns, options = ddl.alter_table(ID, "TABLE", Changed({"expirationTime": 0}, added))
    assert columns == (
        "ALTER TABLE `acme-shop`.`shop`.`made` ADD COLUMN `a` INT64 OPTIONS (description = 'd'),"
        " ADD COLUMN `b` ARRAY<STRING>"
    )
    assert options == (
        "ALTER TABLE `acme-shop`.`shop`.`made` SET OPTIONS"
        " (expiration_timestamp = TIMESTAMP '1970-01-01 00:00:00.000000+00')"
    )
    for kind in ("VIEW", "MATERIALIZED_VIEW"):
        (said,) = ddl.alter_table(ID, kind, Changed({"labels": None}))
        assert said.startswith(f"ALTER {kind.replace('_', ' ')} `acme-shop`")
        assert said.endswith(" SET OPTIONS (labels = NULL)")
    for kind, changed in (("VIEW", Changed({}, added)), ("EXTERNAL", Changed({"labels": None}))):
        with pytest.raises(InvalidRequestError, match="nothing that can be changed"):
            list(ddl.alter_table(ID, kind, changed))


@pytest.mark.parametrize(
    ("cut", "written"),
    [
        (Partitioning("DAY"), "_PARTITIONDATE"),
        (Partitioning("HOUR"), "TIMESTAMP_TRUNC(_PARTITIONTIME, HOUR)"),
        (Partitioning("DAY", "D"), "`D`"),
        (Partitioning("MONTH", "d"), "DATE_TRUNC(`d`, MONTH)"),
        (Partitioning("DAY", "dt"), "DATETIME_TRUNC(`dt`, DAY)"),
    ],
)
def test_partitions_are_written_as_bigquery_asks(cut: Partitioning, written: str) -> None:
    fields = (Field("d", "DATE"), Field("dt", "DATETIME"), Field("s", "STRING"))
    said = ddl.create_table(NewTable(ID, Words(), fields, partitioning=cut))
    assert said.endswith(f") PARTITION BY {written}")


def test_what_no_statement_can_say_is_refused() -> None:
    fields = (Field("s", "STRING"),)
    for new in (
        NewTable(ID, Words(), fields, "SELECT 1"),
        NewTable(ID, Words(), fields, partitioning=Partitioning("DAY", "s")),
        NewTable(ID, Words(), fields, partitioning=Partitioning("DAY", "other")),
        NewTable(ID, Words(), fields, expires_ms=(1 << 63) - 1),
    ):
        with pytest.raises(InvalidRequestError):
            ddl.create_table(new)
    with pytest.raises(InvalidRequestError):
        ddl.drop_table(ID, TableKind.OTHER)
    assert ddl.drop_table(ID, TableKind.SNAPSHOT).startswith("DROP SNAPSHOT TABLE ")


def test_a_name_with_a_dot_in_it_is_not_taken_for_a_dataset_and_a_table() -> None:
    id_ = TableId("acme-shop", "shop", "other.customers")
    for write in (
        lambda: ddl.create_table(NewTable(id_, Words(), (Field("a", "INT64"),))),
        lambda: ddl.drop_table(id_, TableKind.TABLE),
        lambda: ddl.drop_dataset("acme-shop", "shop.customers", contents=False),
    ):
        with pytest.raises(InvalidRequestError, match="is no name of a dataset, table or routine"):
            write()
    assert ddl.drop_dataset("example.com:shop", "shop", contents=False) == (
        "DROP SCHEMA `example.com:shop`.`shop`"
    )


ODD = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["`", "\\", "a` INT64) --", "'", "'); DROP TABLE x; --", "\n", "*/", "😀"]
)


@given(name=ODD, nested=ODD, description=ODD, key=ODD, column=ODD, query=st.booleans())
@settings(max_examples=60)
async def test_no_word_of_a_resource_becomes_sql(  # noqa: PLR0913, PLR0917 - so many words it has
    analyst: Any,
    name: str,
    nested: str,
    description: str,
    key: str,
    column: str,
    query: bool,  # noqa: FBT001
) -> None:
    fields = (Field(column, "STRUCT", fields=(Field(nested, "INT64", description=description),)),)
    words = Words(description, key, {key: description})
    id_ = TableId("acme-shop", "shop", name)
    new = NewTable(id_, words, () if query else fields, "SELECT 1 AS a" if query else "")
    if "." in name:
        with pytest.raises(InvalidRequestError):
            ddl.create_table(new)
        return
    statement = Statement(ddl.create_table(new), "acme-shop", "")
    made = "CREATE_VIEW" if query else "CREATE_TABLE"
    options = {"description": description, "friendlyName": key, "labels": {key: description}}
    changes = ddl.alter_table(id_, "TABLE", Changed({**options}, fields))
    said = {made: statement.sql} | dict(zip(("ALTER_TABLE", "ALTER TABLE"), changes, strict=True))
    for kind, sql in said.items():
        try:
            analysed = await analyst.analyse(Statement(sql, "acme-shop", ""), Nothing())
        except KeystileError:
            continue  # a name that no table can have is an error, never another statement
        assert analysed.facts.statement == kind.replace(" ", "_")
        assert set(analysed.facts.writes) <= {id_}
        assert set(analysed.facts.reads) <= {id_}  # `__` may name columns of its own


KEY = ForeignKey("to`u", ("a", "b"), TableId("p", "d", "u"), ("x", "y"))
FOREIGN = "FOREIGN KEY (`a`, `b`) REFERENCES `p`.`d`.`u`(`x`, `y`) NOT ENFORCED"


def test_keys_are_made_with_a_table() -> None:
    fields = (Field("a", "INT64"), Field("b", "STRING"))
    unnamed = KEY.unnamed
    new = NewTable(ID, Words(), fields, keys=Keys(("a", "b"), (KEY, unnamed)))
    assert ddl.create_table(new) == (
        "CREATE TABLE `acme-shop`.`shop`.`made` (`a` INT64, `b` STRING,"
        " PRIMARY KEY (`a`, `b`) NOT ENFORCED,"
        f" CONSTRAINT `to\\`u` {FOREIGN}, {FOREIGN})"
    )
    with pytest.raises(InvalidRequestError, match="tableConstraints"):
        ddl.create_table(NewTable(ID, Words(), keys=Keys(("a",))))


def test_keys_are_dropped_before_others_take_their_place() -> None:
    keys = ChangedKeys(
        drops_primary=True, dropped=("one", "to`u"), added=Keys(("a",), (KEY.unnamed,))
    )
    alter = "ALTER TABLE `acme-shop`.`shop`.`made`"
    assert [*ddl.alter_table(ID, "TABLE", Changed(keys=keys))] == [
        f"{alter} DROP CONSTRAINT `one`",
        f"{alter} DROP CONSTRAINT `to\\`u`",
        f"{alter} DROP PRIMARY KEY",
        f"{alter} ADD PRIMARY KEY (`a`) NOT ENFORCED",
        f"{alter} ADD {FOREIGN}",
    ]
    assert [*ddl.alter_table(ID, "TABLE", Changed(clustering=("a",)))] == []
    for changed in (Changed(keys=keys), Changed(clustering=())):
        with pytest.raises(InvalidRequestError, match="can be changed"):
            [*ddl.alter_table(ID, "VIEW", changed)]
