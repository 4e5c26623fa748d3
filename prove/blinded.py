"""BigQuery's stand-in, in which masks with a key look at the open part of each value (`alike`).

`python -m prove.blinded sandbox …` is `keystile sandbox …` but for that.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from keystile.cli import main
from keystile.sandbox import job_methods
from keystile.sandbox.asking import Asked
from keystile.sandbox.asks import Ask
from prove.alike import blinded


def _blinding(read: Callable[[Ask], Asked]) -> Callable[[Ask], Asked]:
    def asked(ask: Ask) -> Asked:
        found = read(ask)
        request = msgspec.structs.replace(found.request, sql=blinded(found.request.sql))
        return msgspec.structs.replace(found, request=request)

    return asked


if __name__ == "__main__":
    for name in ("asked_by_query", "asked_by_insert"):
        setattr(job_methods, name, _blinding(getattr(job_methods, name)))
    main()
