"""The compiled engine module, made once per machine and kept.

Compiling takes 13-42 s and 1 GB; loading the kept file takes milliseconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import wasmtime

from keystile.googlesql import lean

# Wasmtime's bound is its 2 MiB fiber; its default of 512 KiB ends at 200 terms of `a || b || …`.
_STACK_BYTES = 1_900_000


class CompiledModule(NamedTuple):
    """The module and the engine configuration that it was compiled for."""

    engine: wasmtime.Engine
    module: wasmtime.Module


def default_folder() -> Path:
    """Where compiled modules are kept: `$XDG_CACHE_HOME/keystile`, else `~/.cache/keystile`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "keystile"


def load(folder: Path | None = None) -> CompiledModule:
    """Load the compiled module, compiling and keeping it first where there is none yet."""
    engine = wasmtime.Engine(_configuration())
    kept = kept_at(folder or default_folder())
    if not kept.exists():
        with _alone(kept):
            if not kept.exists():
                _keep(_compiled(engine), kept)
    return CompiledModule(engine, wasmtime.Module.deserialize_file(engine, str(kept)))


def kept_at(folder: Path) -> Path:
    """Name the file for this wheel, this wasmtime and this kind of processor."""
    key = hashlib.sha256(
        "|".join(
            (
                version("zetasql"),
                version("wasmtime"),
                lean.REVISION,
                platform.machine(),
                _processor(),
            )
        ).encode()
    ).hexdigest()[:16]
    return folder / f"googlesql-{key}.cwasm"


def _processor() -> str:
    # Compiled code may use what this processor offers (AVX …), so another kind needs its own file.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _configuration() -> wasmtime.Config:
    configuration = wasmtime.Config()
    configuration.epoch_interruption = True
    configuration.shared_memory = True
    configuration.max_wasm_stack = _STACK_BYTES
    return configuration


def _compiled(engine: wasmtime.Engine) -> wasmtime.Module:
    return wasmtime.Module(engine, lean.lean(wasm()))


def wasm() -> bytes:
    """Read the wheel's module."""
    return (files("zetasql.wasi") / "zetasql.wasm").read_bytes()


@contextmanager
def _alone(kept: Path) -> Iterator[None]:
    """Let one process compile while the others wait: each would take 1 GB."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keep(module: wasmtime.Module, kept: Path) -> None:
    """Write beside and rename, so that a reader never meets half a file."""
    with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as half:
        half.write(module.serialize())
    Path(half.name).replace(kept)


def main() -> None:
    """Compile and keep the module if need be: `python -m keystile.googlesql.module [FOLDER]`."""
    load(Path(sys.argv[1]) if sys.argv[1:] else None)


if __name__ == "__main__":
    main()
