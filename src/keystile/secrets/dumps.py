"""Keeps what a process holds in its memory out of core dumps."""

from __future__ import annotations

import ctypes
import resource

import structlog

_SET_DUMPABLE = 4  # linux/prctl.h


def keep_out_of_dumps(*, children: bool = False) -> None:
    """Let no crash of this process leave its memory on a disk; of its `children` neither, if asked.

    What is not dumpable (prctl(2)) is given to no collector that the system pipes dumps to either,
    and cannot be read by other processes of the same user. It ends where another program begins, so
    the limit is for those.
    """
    if children:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        structlog.get_logger(room="secrets").warning("dumps_not_disabled")
