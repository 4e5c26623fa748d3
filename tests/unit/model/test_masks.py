from __future__ import annotations

import msgspec
import pytest

from keystile.model.masks import KeyedHashMask, Mask, TokenMask


@pytest.mark.parametrize("mask", [KeyedHashMask(), TokenMask(), KeyedHashMask(key="crm")])
def test_a_mask_with_the_key_that_has_no_name_reaches_the_workers(mask: Mask) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(mask), type=Mask) == mask
