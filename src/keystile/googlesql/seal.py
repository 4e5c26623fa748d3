"""Takes from a worker process all that reading a query does not need: files, network, processes.

The engine is native code that is handed hostile text. Should a fault in it run code of an
attacker's, that code finds a process that may compute, use memory, and read and write what is open
already: the two pipes to the pool. Linux's seccomp(2) holds it to that, and nothing takes it back.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from typing import NamedTuple

from keystile.model.errors import UnsafeConfigurationError

_ALLOWED = {
    "read": 0,
    "write": 1,
    "close": 3,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "nanosleep": 35,
    "getpid": 39,
    "exit": 60,
    "gettimeofday": 96,
    "sigaltstack": 131,
    "gettid": 186,
    "futex": 202,
    "sched_getaffinity": 204,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "getrandom": 318,
    "rseq": 334,
}
"""System calls by their numbers on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl)."""

_TGKILL = 234  # how a process ends itself with a signal: allowed to itself alone
_SECCOMP = 317

_SET_MODE_FILTER, _ALL_THREADS = 1, 1  # linux/seccomp.h
_NO_NEW_PRIVILEGES = 38  # linux/prctl.h
_X86_64 = 0xC000003E  # linux/audit.h
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # struct seccomp_data

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: of words, constants
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_DENY = 0x00050000 | errno.EPERM


class _Instruction(NamedTuple):
    """One of struct sock_filter; the jumps are counted from the next instruction."""

    code: int
    value: int
    if_equal: int = 0
    if_not: int = 0

    def encoded(self) -> bytes:
        head = self.code.to_bytes(2, "little") + bytes((self.if_equal, self.if_not))
        return head + self.value.to_bytes(4, "little")


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def seal() -> None:
    """Give up all but the calls above, for all threads of this process and for good.

    Any other call fails with EPERM. Raises `UnsafeConfigurationError` where the system refuses.
    """
    code = b"".join(instruction.encoded() for instruction in _program(_ALLOWED.values()))
    program = _Program(len(code) // 8, code)
    system = ctypes.CDLL(None, use_errno=True)
    if (
        system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0
        or system.syscall(_SECCOMP, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)) != 0
    ):
        raise UnsafeConfigurationError(
            f"the system does not let a process give up rights: {os.strerror(ctypes.get_errno())}",
            hint="allow seccomp(2) to the gateway's container",
        )


def _program(allowed: Iterable[int]) -> list[_Instruction]:
    calls = sorted(allowed)
    to_allow = len(calls) + 4  # from the first comparison
    compared = [
        _Instruction(_EQUAL, number, if_equal=to_allow - at - 1) for at, number in enumerate(calls)
    ]
    return [
        _Instruction(_LOAD, _ARCHITECTURE),
        _Instruction(_EQUAL, _X86_64, if_equal=1),
        _Instruction(_RETURN, _KILL),
        _Instruction(_LOAD, _NUMBER),
        *compared,
        _Instruction(_EQUAL, _TGKILL, if_not=2),
        _Instruction(_LOAD, _FIRST_ARGUMENT),
        _Instruction(_EQUAL, os.getpid(), if_equal=1),
        _Instruction(_RETURN, _DENY),
        _Instruction(_RETURN, _ALLOW),
    ]
