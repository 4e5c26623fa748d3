"""What a mask gives is recognised where an agent writes it back."""

from __future__ import annotations

import base64

import pytest
from prove.shop import CUSTOMERS, DATASET, PROJECT, Shop
from prove.trial import Court

from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import pads
from keystile.masking.placeholders import is_one
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask
from keystile.model.errors import RefusedError
from keystile.model.masks import (
    ConstantMask,
    DefaultMask,
    EmailMask,
    IpMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    PatternMask,
    TokenMask,
    UrlHostMask,
)
from keystile.model.schema import ColumnRef, Parameter, SqlType

HASH = "0f" * 32


@pytest.mark.parametrize(
    ("mask", "text", "is_it"),
    [
        (PatternMask("XXX"), "XXX", True),
        (PatternMask("XXX"), "XX", False),
        (ConstantMask("hidden"), "hidden", True),
        (ConstantMask(5), "5", False),
        (KeyedHashMask(), HASH, True),
        (KeyedHashMask(), HASH.upper(), False),
        (KeyedHashMask(), HASH + "0", False),
        (EmailMask(), "j***@acme.com", True),
        (EmailMask(), "***", True),
        (EmailMask(), "jane@acme.com", False),
        (UrlHostMask(), "***", True),
        (UrlHostMask(), "shop.example.com", False),
        (IpMask(), "***", True),
        (IpMask(), "10.0.0.0", False),
        (KeepFirstMask(2), "DE****", True),
        (KeepFirstMask(2), "**", True),
        (KeepFirstMask(2), "DE89", False),
        (KeepFirstMask(2), "", False),
        (KeepLastMask(4), "*****1111", True),
        (KeepLastMask(4), "****", True),
        (KeepLastMask(4), "1111", False),
        (DefaultMask(), "", False),
    ],
)
def test_what_a_mask_gives_is_told_from_values(*, mask: Mask, text: str, is_it: bool) -> None:
    assert is_one(mask, text) is is_it


async def rewrite(
    court: Court, sql: str, mask: Mask, *given: Parameter, column: str = "ssn"
) -> object:
    statement = Statement(sql, PROJECT, DATASET, given)
    analysed = await court.analyst.analyse(statement, Shop())
    return await court.rewriter.rewrite(
        analysed, (ColumnMask(ColumnRef(CUSTOMERS.id, tuple(column.split("."))), "l", mask),)
    )


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO customers (id, ssn) VALUES (1, '123'), (2, {})",
        "INSERT customers (ssn, id) VALUES (CAST({} AS STRING), 2)",
        "INSERT INTO customers (id, ssn) SELECT id, {} FROM orders",
        "INSERT INTO customers (id, ssn) (SELECT 1, 'x' UNION ALL SELECT 2, {})",
        "UPDATE customers SET name = 'x', SSN = {} WHERE id = 1",
        "MERGE customers c USING orders o ON FALSE WHEN MATCHED THEN UPDATE SET ssn = {}",
        "MERGE customers c USING orders o ON FALSE WHEN NOT MATCHED THEN INSERT (ssn) VALUES ({})",
        "INSERT INTO customers (id, ssn) SELECT 1, s FROM UNNEST(['x', {}]) AS s",
        "INSERT INTO customers (id, ssn) SELECT r.i, r.s FROM UNNEST([STRUCT(1 AS i, {} AS s)]) r",
        "INSERT INTO customers (id, ssn) SELECT * FROM UNNEST([STRUCT(1, 'x'), STRUCT(2, {})])",
        "INSERT INTO customers (ssn) WITH w AS (SELECT {} AS s) SELECT DISTINCT s FROM w",
        "INSERT INTO customers (id, ssn) VALUES (1, (SELECT s FROM UNNEST([{}]) AS s))",
        "UPDATE customers SET ssn = CASE id WHEN 1 THEN 'x' WHEN 2 THEN {} END WHERE TRUE",
        "UPDATE customers SET ssn = CASE WHEN id = 1 THEN {} ELSE NULL END WHERE TRUE",
        "UPDATE customers SET ssn = IF(id = 1, COALESCE(NULL, {}), 'x') WHERE TRUE",
        "UPDATE customers c SET ssn = r.s FROM UNNEST([STRUCT(1 AS i, {} AS s)]) r WHERE id = r.i",
        "MERGE customers c USING UNNEST([{}]) s ON FALSE WHEN MATCHED THEN UPDATE SET ssn = s",
        "MERGE customers c USING (SELECT {} s) ON FALSE WHEN NOT MATCHED THEN INSERT (ssn) ROW",
    ],
)
async def test_a_mask_is_not_written_back_as_a_literal_or_parameter(court: Court, sql: str) -> None:
    texts = {PatternMask("XXX-XX-XXXX"): "XXX-XX-XXXX", KeyedHashMask(): HASH}
    for mask, text in texts.items():
        parameter = Parameter("Given", SqlType("STRING"), {"value": text})
        with pytest.raises(RefusedError, match="a mask's output over the values of `ssn`"):
            await rewrite(court, sql.format(f"'{text}'"), mask)
        with pytest.raises(RefusedError, match="a mask's output over the values of `ssn`"):
            await rewrite(court, sql.format("@given"), mask, parameter)
        value = Parameter("given", SqlType("STRING"), {"value": "123-45-6789"})
        await rewrite(court, sql.format("@given"), mask, value)
        await rewrite(court, sql.format("'123-45-6789'"), mask)


async def test_a_hash_of_a_replaced_key_is_not_written_back() -> None:
    """What agents have read under the old key is a placeholder still, in text and by lineage."""
    old, new = (bytes([number]) * 32 for number in (1, 2))
    now = old

    async def key(name: str) -> bytes:
        del name
        return now

    runner = InlineRunner()
    court = Court(runner, Engine())
    court.rewriter = Rewriter(runner, key)
    read = pads(KeyedHashMask(), old).hmac(b"123-45-6789").hex()
    now = new
    again = pads(KeyedHashMask(), new).hmac(b"123-45-6789").hex()
    assert read != again
    for text in (read, again):
        sql = f"UPDATE customers SET ssn = '{text}' WHERE id = 1"  # noqa: S608 - its own words
        with pytest.raises(RefusedError, match="a mask's output over the values of `ssn`"):
            await rewrite(court, sql, KeyedHashMask())
    for mask in (KeyedHashMask(), TokenMask()):
        with pytest.raises(RefusedError, match="its mask would be written over the values"):
            await rewrite(court, "UPDATE customers SET ssn = UPPER(ssn) WHERE id = 1", mask)


BYTES_HASH = r"b'\x0f\x0e" + "x" * 30 + "'"


@pytest.mark.parametrize(
    "value", [BYTES_HASH, f"FROM_HEX('{HASH}')", f"FROM_BASE64('{'Dw8P' * 10}Dw8=')", "@given"]
)
async def test_a_hash_of_bytes_was_written_over_them_as_a_literal(court: Court, value: str) -> None:
    text = {"value": base64.b64encode(bytes(32)).decode()}
    given = Parameter("given", SqlType("BYTES"), text)
    for sql in (
        f"UPDATE customers SET secret = {value} WHERE id = 1",  # noqa: S608 - its own words
        f"INSERT INTO customers (id, secret) SELECT 1, b FROM UNNEST([b'x', {value}]) AS b",  # noqa: S608
    ):
        with pytest.raises(RefusedError, match="a mask's output over the values of `secret`"):
            await rewrite(court, sql, KeyedHashMask(), given, column="secret")
        await rewrite(court, sql, DefaultMask(), given, column="secret")
    for other in ("b'0123'", "FROM_HEX('0f')", "FROM_HEX('no')", "CAST('x' AS BYTES)"):
        sql = f"UPDATE customers SET secret = {other} WHERE id = 1"  # noqa: S608
        await rewrite(court, sql, KeyedHashMask(), column="secret")


ROWS = SqlType(
    "ARRAY", SqlType("STRUCT", fields=(("i", SqlType("INT64")), ("s", SqlType("STRING"))))
)


async def test_a_mask_was_written_back_in_rows_that_are_a_parameter(court: Court) -> None:
    def rows(text: str | None) -> Parameter:
        row = {"i": {"value": "1"}, "s": {"value": text}}
        return Parameter("Rows", ROWS, {"arrayValues": [{"structValues": row}]})

    sql = "INSERT INTO customers (id, ssn) SELECT r.i, r.s FROM UNNEST(@rows) AS r"
    with pytest.raises(RefusedError, match="a mask's output over the values of `ssn`"):
        await rewrite(court, sql, PatternMask("XXX"), rows("XXX"))
    await rewrite(court, sql, PatternMask("XXX"), rows("123"))
    await rewrite(court, sql, PatternMask("XXX"), rows(None))


@pytest.mark.parametrize(
    ("column", "set_", "refused"),
    [
        ("address.street", "address = STRUCT('a', 'XXX', STRUCT(1.0, 'z'))", True),
        ("address.street", "address = STRUCT('XXX', 'a', STRUCT(1.0, 'XXX'))", False),
        ("address.geo.zone", "address.geo = STRUCT(@x, 'XXX')", True),
        ("address", "address.geo.zone = 'XXX'", True),
        ("address.city", "address.geo.zone = 'XXX'", False),
        ("contacts.value", "contacts = [('phone', 'x'), ('mail', 'XXX')]", True),
        ("contacts.value", "contacts = [STRUCT('XXX' AS kind, 'x' AS value)]", False),
        ("tags", "tags = ['a', 'XXX']", True),
    ],
)
async def test_a_mask_was_written_back_within_structs_and_arrays(
    court: Court, column: str, set_: str, *, refused: bool
) -> None:
    sql = f"UPDATE customers SET {set_} WHERE id = 1"  # noqa: S608 - its own words
    given = Parameter("x", SqlType("FLOAT64"), {"value": "1.0"})
    if not refused:
        await rewrite(court, sql, PatternMask("XXX"), given, column=column)
        return
    with pytest.raises(RefusedError, match=f"a mask's output over the values of `{column}"):
        await rewrite(court, sql, PatternMask("XXX"), given, column=column)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE customers SET ssn = '1' WHERE name = 'XXX'",
        "UPDATE customers SET ssn = IF(name = 'XXX', '1', '2') WHERE TRUE",
        "UPDATE customers SET ssn = CASE name WHEN 'XXX' THEN '1' END WHERE TRUE",
        "UPDATE customers c SET ssn = r.s FROM UNNEST([STRUCT('XXX' AS i, '1' AS s)]) r WHERE TRUE",
        "INSERT INTO customers (name, ssn) VALUES ('XXX', '1')",
    ],
)
async def test_what_stands_beside_a_value_is_not_written(court: Court, sql: str) -> None:
    await rewrite(court, sql, PatternMask("XXX"))


async def test_a_column_without_a_mask_may_get_any_text(court: Court) -> None:
    await rewrite(court, "UPDATE customers SET name = 'XXX' WHERE id = 1", PatternMask("XXX"))
