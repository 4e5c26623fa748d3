from __future__ import annotations

import msgspec
import pytest

from keystile.googlesql.frames import Done, Failed, error_of, failed, framed
from keystile.model import errors
from keystile.model.errors import KeystileError, NotFoundError, RefusedError

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, KeystileError)
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_of_the_tree_crosses(kind: type[KeystileError]) -> None:
    crossed = error_of(failed(kind("no `x`", hint="do y")))
    assert (type(crossed), crossed.message, crossed.hint) == (kind, "no `x`", "do y")


def test_an_error_outside_the_tree_crosses_as_its_nearest_parent() -> None:
    class OwnError(NotFoundError):
        pass

    assert type(error_of(failed(OwnError("x")))) is NotFoundError


@pytest.mark.parametrize("name", ["ValueError", "ClassVar", "__doc__", ""])
def test_an_unknown_error_is_a_refusal(name: str) -> None:
    assert type(error_of(Failed(name, "x", "", last=False))) is RefusedError


def test_a_frame_starts_with_its_length() -> None:
    frame = framed(Done(msgspec.Raw(msgspec.msgpack.encode([1, 2]))))
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    done = msgspec.msgpack.decode(frame[4:], type=Done | Failed)
    assert isinstance(done, Done)
    assert msgspec.msgpack.decode(done.answer) == [1, 2]
