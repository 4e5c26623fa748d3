"""Masks with a key: which key a query has, and what is told of it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

from keystile.masking import keyed
from keystile.model.masks import EmailMask, KeyedHashMask, TokenMask

OLD, NEW = b"o" * 32, b"n" * 64


def test_the_pads_are_those_of_hmac() -> None:
    for key in (OLD, NEW):
        expected = hmac.new(key, b"x", hashlib.sha256).digest()
        assert keyed.pads(KeyedHashMask(), key).hmac(b"x") == expected


def test_pads_do_not_show() -> None:
    assert "o" * 8 not in repr(keyed.pads(KeyedHashMask(), OLD))
    assert repr(keyed.pads(KeyedHashMask(), OLD)) == "Pads()"


async def test_a_query_has_one_key_while_it_is_replaced() -> None:
    """Equal values have equal tokens in a query, in whichever moment the key is another."""
    now = OLD

    async def source(name: str) -> bytes:
        del name
        key = now
        await asyncio.sleep(0)
        return key

    masks = (KeyedHashMask(), TokenMask(), KeyedHashMask("sales"), EmailMask())

    async def query() -> bytes:
        found = await keyed.filled(masks, source)
        assert len(found) == 6
        of_key = [
            key
            for key in (OLD, NEW)
            if all(
                found[name].value["value"] == filled.value["value"]
                for name, filled in (await keyed.filled(masks[:2], keyed.always(key))).items()
            )
        ]
        assert len(of_key) == 1, "the hash and the token are of one key"
        return of_key[0]

    async def replace() -> None:
        nonlocal now
        await asyncio.sleep(0)
        now = NEW

    *keys, _ = await asyncio.gather(*(query() for _ in range(50)), replace())
    assert OLD in keys
    assert await query() == NEW
