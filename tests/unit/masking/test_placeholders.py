"""What a mask gives is recognised where an agent writes it back."""

from __future__ import annotations

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


async def rewrite(court: Court, sql: str, mask: Mask, *given: Parameter) -> object:
    statement = Statement(sql, PROJECT, DATASET, given)
    analysed = await court.analyst.analyse(statement, Shop())
    return await court.rewriter.rewrite(
        analysed, (ColumnMask(ColumnRef(CUSTOMERS.id, ("ssn",)), "l", mask),)
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


async def test_a_column_without_a_mask_may_get_any_text(court: Court) -> None:
    await rewrite(court, "UPDATE customers SET name = 'XXX' WHERE id = 1", PatternMask("XXX"))
