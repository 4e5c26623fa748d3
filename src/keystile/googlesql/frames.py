"""What a pool and its workers say to each other: msgpack with its length in front.

The pool trusts a worker's answer no further than its type: it is decoded against the type that the
task promises.
"""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.model import errors

# Larger than any catalog or answer that the limit on SQL text allows.
FRAME_LIMIT = 64 << 20
HEADER_BYTES = 4


class Order(msgspec.Struct, array_like=True):
    """Run `function` on `request`, which is of type `type`; both as `module:name`."""

    function: str
    type: str
    request: msgspec.Raw


class Ready(msgspec.Struct, array_like=True, tag=True):
    """The worker has its engine and takes orders."""


class Done(msgspec.Struct, array_like=True, tag=True):
    """The task's answer."""

    answer: msgspec.Raw


class Failed(msgspec.Struct, array_like=True, tag=True):
    """The task raised a `KeystileError` of this name. After the `last` answer the worker ends."""

    name: str
    message: str
    hint: str
    last: bool
    place: tuple[int, int] = (0, 0)


def framed(message: Any) -> bytes:
    """Encode a message with its length in front."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def failed(error: errors.KeystileError, *, last: bool = False) -> Failed:
    """Describe an error by the nearest class of the one tree of errors."""
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return Failed(name, error.message, error.hint, last, error.place)


def error_of(failure: Failed) -> errors.KeystileError:
    """Make the error again. An unknown name is a refusal."""
    kind = getattr(errors, failure.name, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.KeystileError)):
        kind = errors.RefusedError
    return kind(failure.message, hint=failure.hint).at(failure.place)
