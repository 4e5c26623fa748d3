# ruff: noqa: S608 - queries made of a test's own words
from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from prove.shop import CUSTOMERS, DATASET, HASH, MASKS, ORDERS, PROJECT, Shop
from prove.trial import Court

from keystile.analysis.statement import Statement
from keystile.masking import task
from keystile.masking.keyed import pads
from keystile.masking.rewrite import Rewritten
from keystile.masking.splice import ProtectedTable
from keystile.model.decision import ColumnMask
from keystile.model.errors import (
    KeystileError,
    OpaqueQueryError,
    RefusedError,
    UnsafeConfigurationError,
)
from keystile.model.masks import (
    ConstantMask,
    DefaultMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    PatternMask,
    RoundMask,
    SqlMask,
    TokenMask,
)
from keystile.model.schema import ColumnRef, Field, Parameter, SqlType, Table, TableId, TableKind

STRING = SqlType("STRING")


async def rewrite(
    court: Court, sql: str, masks: tuple[ColumnMask, ...], *parameters: Parameter
) -> Rewritten:
    analysed = await court.analyst.analyse(Statement(sql, PROJECT, DATASET, parameters), Shop())
    return await court.rewriter.rewrite(analysed, masks)


async def test_without_masks_the_text_is_untouched(court: Court) -> None:
    sql = "SELECT  ssn -- mine\nFROM `shop.customers`"

    rewritten = await rewrite(court, sql, ())

    assert rewritten == Rewritten(sql, ())


async def test_every_mask_at_once(court: Court) -> None:
    for sql in ("SELECT * FROM customers", "SELECT COUNT(*) FROM customers JOIN orders USING (id)"):
        rewritten = await rewrite(court, sql, MASKS)

        assert rewritten.sql.count("AS keystile_row)") == 1 + ("orders" in sql)


async def test_keyed_hash_brings_hidden_parameters(court: Court) -> None:
    own = Parameter("p", STRING, {"value": "x"})

    rewritten = await rewrite(court, "SELECT ssn FROM customers WHERE name = @p", (HASH,), own)

    assert rewritten.parameters[0] is own
    assert rewritten.hidden_parameters == ("keystile_hash_inner", "keystile_hash_outer")
    assert {p.name for p in rewritten.parameters[1:]} == set(rewritten.hidden_parameters)
    assert bytes(range(32)).hex() not in rewritten.sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ssn FROM customers",
        "SELECT TO_JSON_STRING(c), FORMAT('%T', c) FROM customers AS c",
        "CREATE TABLE shop.x AS SELECT * FROM customers",
        "INSERT INTO orders (note) SELECT ssn FROM customers",
        "EXPORT DATA OPTIONS (uri = 'gs://b/*', format = 'CSV') AS SELECT ssn FROM customers",
        "DECLARE n STRING; SET n = (SELECT MAX(ssn) FROM customers); SELECT n",
        "BEGIN SELECT ssn FROM customers; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
    ],
)
async def test_the_key_of_a_hash_stands_in_hidden_parameters_alone(court: Court, sql: str) -> None:
    rewritten = await rewrite(court, sql, (HASH,))

    assert "@keystile_hash_inner" in rewritten.sql
    assert rewritten.hidden_parameters == ("keystile_hash_inner", "keystile_hash_outer")
    for pad in (bytes(range(32)), *pads(KeyedHashMask(), bytes(range(32)))):
        for spelled in (pad.hex(), base64.b64encode(pad).decode(), pad.decode("latin-1")):
            assert spelled.lower() not in rewritten.sql.lower()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT @keystile_hash_inner",
        "SELECT @KEYSTILE_HASH_OUTER, ssn FROM customers",
        "DECLARE k BYTES DEFAULT @keystile_hash_inner; SELECT k, ssn FROM customers",
        "EXECUTE IMMEDIATE 'SELECT @k, ssn FROM customers' USING @keystile_hash_inner AS k",
        "EXECUTE IMMEDIATE 'SELECT @keystile_hash_inner, ssn FROM customers'",
        "EXECUTE IMMEDIATE 'SELECT ssn FROM customers'",
        "CREATE VIEW shop.v AS SELECT ssn FROM customers",
        "SELECT ssn FROM customers WHERE name = ?",
    ],
)
async def test_nothing_reads_or_keeps_the_key_of_a_hash(court: Court, sql: str) -> None:
    given = (Parameter("", STRING, {}),) if "?" in sql else ()
    with pytest.raises(KeystileError):
        await rewrite(court, sql, (HASH,), *given)


def test_keyed_hash_is_hmac() -> None:
    expected = hmac.new(bytes(range(32)), b"x", hashlib.sha256).digest()
    inner, outer = pads(KeyedHashMask(), bytes(range(32)))

    assert hashlib.sha256(outer + hashlib.sha256(inner + b"x").digest()).digest() == expected


async def test_keyed_hash_needs_named_parameters(court: Court) -> None:
    sql = "SELECT ssn FROM customers WHERE name = ?"
    with pytest.raises(RefusedError, match="named parameters"):
        await rewrite(court, sql, (HASH,), Parameter("", STRING, {}))

    assert (await rewrite(court, sql, MASKS, Parameter("", STRING, {}))).masked


async def test_reserved_parameter_names_are_refused(court: Court) -> None:
    with pytest.raises(RefusedError, match="reserved"):
        await rewrite(court, "SELECT 1", (), Parameter("Keystile_hash_inner", STRING, {}))


async def test_opaque_is_refused(court: Court) -> None:
    with pytest.raises(OpaqueQueryError):
        await rewrite(court, "SELECT SESSION_USER()", ())


@pytest.mark.parametrize("size", [0, 16, 65])
def test_the_key_has_a_sound_length(size: int) -> None:
    with pytest.raises(ValueError, match="32 to 64"):
        pads(KeyedHashMask(), b"k" * size)


async def test_the_strongest_mask_wins(court: Court) -> None:
    def mask(kind: Mask, *path: str) -> ColumnMask:
        return ColumnMask(ColumnRef(CUSTOMERS.id, path), "l", kind)

    several = (
        mask(KeepLastMask(4), "ssn"),
        mask(PatternMask("no"), "ssn"),
        mask(DefaultMask(), "address"),
        mask(KeepLastMask(2), "address", "city"),
    )

    sql = (await rewrite(court, "SELECT ssn, address FROM customers", several)).sql

    assert "'no'" in sql
    assert "RIGHT(" not in sql


def test_names_of_columns_cannot_be_captured() -> None:
    fields = (Field("keystile_row", "STRING"), Field("keystile__row", "STRING"))
    table = Table(TableId("p", "d", "t"), TableKind.TABLE, fields, "1")

    sql = ProtectedTable(table, {("keystile_row",): DefaultMask()}).subquery()

    alias = sql.rpartition(" AS ")[2]
    assert alias.lower() not in {field.name for field in fields}


ROW = "`acme-shop`.`shop`.`customers`"
GOOD = ProtectedTable(CUSTOMERS, {("ssn",): PatternMask("x")}).subquery()


def test_every_column_is_read_by_name_so_that_a_later_one_is_not_read() -> None:
    """`SELECT * REPLACE` would show a column that the table got after the masks were chosen."""
    assert "*" not in GOOD.replace(ROW, "")
    assert GOOD.count(" AS `") == len(CUSTOMERS.fields)


THEN = "FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00+00'"


async def test_a_table_as_it_was_is_read_by_the_columns_it_has_now(court: Court) -> None:
    """A column dropped since, with its label, would be back in `TO_JSON_STRING(t)`."""
    sql = f"SELECT TO_JSON_STRING(t) FROM orders AS t {THEN} TABLESAMPLE SYSTEM (9 PERCENT) LIMIT 1"

    rewritten = (await rewrite(court, sql, ())).sql

    columns = ", ".join(f"keystile_row.`{f.name}` AS `{f.name}`" for f in ORDERS.fields)
    read = f"SELECT {columns} FROM `acme-shop`.`shop`.`orders` AS keystile_row {THEN}"
    assert f"({read} TABLESAMPLE SYSTEM (9 PERCENT)) AS t" in rewritten
    assert rewritten.count("SYSTEM_TIME") == 1


async def test_a_raw_read_of_a_table_as_it_was_is_not_proved(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = f"SELECT TO_JSON_STRING(t) FROM orders AS t {THEN}"
    monkeypatch.setattr(task, "spliced", lambda *_: sql)
    with pytest.raises(RefusedError, match="proved"):
        await rewrite(court, sql, ())


def test_the_forgeries_below_begin_with_the_real_thing() -> None:
    assert GOOD.count("'x'") == 1
    assert GOOD.endswith(f" FROM {ROW} AS keystile_row")


@pytest.mark.parametrize(
    "forged",
    [
        "SELECT ssn FROM customers",
        f"SELECT ssn FROM (SELECT * FROM {ROW} AS keystile_row)",
        f"SELECT ssn FROM ({GOOD.replace(chr(39) + 'x' + chr(39), 'keystile_row.ssn')})",
        f"SELECT ssn FROM ({GOOD.replace(chr(39) + 'x' + chr(39), chr(39) + 'y' + chr(39))})",
        f"SELECT ssn FROM ({GOOD} WHERE keystile_row.ssn > '4')",
        f"SELECT ssn FROM ({GOOD} ORDER BY keystile_row.ssn)",
        f"SELECT ssn FROM ({GOOD.replace('SELECT ', 'SELECT keystile_row.ssn AS raw, ', 1)})",
        f"SELECT ssn FROM ({GOOD}) UNION ALL SELECT ssn FROM customers",
        f"SELECT (SELECT MAX(ssn) FROM customers) AS ssn FROM ({GOOD})",
        f"SELECT ssn FROM ({GOOD}) CROSS JOIN ({GOOD})",
        "SELECT 'x' AS ssn",
        f"SELECT ssn AS other FROM ({GOOD})",
        f"SELECT ssn FROM ({GOOD}) WHERE SESSION_USER() = ''",
        f"SELECT ssn FROM ({GOOD} TABLESAMPLE RESERVOIR (1 ROWS))",
        f"SELECT ssn FROM ({GOOD} TABLESAMPLE SYSTEM (1 PERCENT) WHERE keystile_row.ssn > '4')",
        f"SELECT ssn FROM ({GOOD.replace(chr(39) + 'x' + chr(39), 'keystile_row.ssn')} {THEN})",
        f"SELECT ssn FROM ({GOOD} FOR SYSTEM_TIME AS OF (SELECT MAX(day) FROM orders))",
    ],
)
async def test_proof_refuses_forgeries(
    court: Court, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    mask = (ColumnMask(ColumnRef(CUSTOMERS.id, ("ssn",)), "l", PatternMask("x")),)

    def give(text: str) -> Any:
        return lambda *_: text

    monkeypatch.setattr(task, "spliced", give(f"SELECT ssn FROM ({GOOD})"))
    await rewrite(court, "SELECT ssn FROM customers", mask)  # the honest form passes

    monkeypatch.setattr(task, "spliced", give(forged))
    with pytest.raises(RefusedError):
        await rewrite(court, "SELECT ssn FROM customers", mask)


async def test_each_key_has_parameters_of_its_own(court: Court) -> None:
    masks = tuple(
        ColumnMask(ColumnRef(CUSTOMERS.id, (name,)), "l", mask)
        for name, mask in (("ssn", KeyedHashMask("sales")), ("name", TokenMask("sales")))
    )
    rewritten = await rewrite(court, "SELECT ssn, name FROM customers", masks)

    assert set(rewritten.hidden_parameters) == {
        "keystile_hash_sales_inner",
        "keystile_hash_sales_outer",
        "keystile_token_sales_inner",
        "keystile_token_sales_outer",
    }
    assert all(f"@{name}" in rewritten.sql for name in rewritten.hidden_parameters)


async def test_a_key_that_cannot_be_read_refuses_the_query_and_no_other(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(name: str) -> bytes:
        raise UnsafeConfigurationError(f"no key {name}")

    monkeypatch.setattr(court.rewriter, "_keys", none)
    with pytest.raises(RefusedError, match="with a key that the gateway cannot read now"):
        await rewrite(court, "SELECT ssn FROM customers", (HASH,))
    assert (await rewrite(court, "SELECT ssn FROM customers", MASKS)).masked


async def test_a_mask_of_sql_is_checked_where_it_is_put_in_too(court: Court) -> None:
    def mask(expression: str) -> tuple[ColumnMask, ...]:
        return (ColumnMask(ColumnRef(CUSTOMERS.id, ("ssn",)), "l", SqlMask(expression)),)

    rewritten = await rewrite(court, "SELECT ssn FROM customers", mask("SAFE.LEFT(value, 2)"))
    assert "SAFE.LEFT(value, 2)" in rewritten.sql
    for wrong in ("name", "value) OR (TRUE", "(SELECT MAX(ssn) FROM customers)", "ERROR(value)"):
        with pytest.raises(KeystileError):
            await rewrite(court, "SELECT ssn FROM customers", mask(wrong))


async def test_a_mask_with_a_float_in_it_is_proved_wherever_the_engine_rewrites(
    court: Court,
) -> None:
    mask = ColumnMask(ColumnRef(ORDERS.id, ("amount",)), "l", RoundMask(20))
    constant = ColumnMask(ColumnRef(ORDERS.id, ("amount",)), "l", ConstantMask(2.5))
    sql = (
        "SELECT ARRAY(SELECT o FROM orders AS o WHERE ARRAY_INCLUDES(['1'], FORMAT('%T', o.day)))"
        " FROM orders"
    )
    for one in (mask, constant):
        assert (await rewrite(court, sql, (one,))).masked
