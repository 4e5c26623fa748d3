from __future__ import annotations

import msgspec

from keystile.wire.cells import only_columns


def test_cells_are_cut_as_they_stand() -> None:
    row = msgspec.Raw(b'{"f":[{"v":"1"},{"v":[{"v":{"f":[{"v":null}]}}]},{"v":"x"}]}')
    cut = [bytes(one) for one in only_columns([row, {"f": [1, 2, 3]}], (1, 2))]
    assert cut == [b'{"f":[{"v":[{"v":{"f":[{"v":null}]}}]},{"v":"x"}]}', b'{"f":[2,3]}']
