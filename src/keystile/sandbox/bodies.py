"""Bodies of resources: which fields pass, how a change is laid over what is there.

Source of fact: the discovery document of `bigquery:v2`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from keystile.model.errors import InvalidRequestError, PreconditionError
from keystile.sandbox.asks import Ask
from keystile.sandbox.errors import unsupported
from keystile.wire.jsonbody import parse_object
from keystile.wire.responses import Resource


class Fields(msgspec.Struct, frozen=True):
    """The fields of one kind of resource.

    `kept` are those that a client may set and that are told as they stand, `read` those that the
    sandbox reads itself, `output` those that only the server sets, `unserved` what it has not.
    """

    kept: frozenset[str]
    read: frozenset[str]
    output: frozenset[str]
    unserved: frozenset[str]

    @property
    def writable(self) -> frozenset[str]:
        """What a client may set."""
        return self.kept | self.read

    def of(self, ask: Ask) -> Resource:
        """Read a body without what only the server sets.

        Raises `InvalidRequestError` naming an unknown field, `UnsupportedError` naming one that the
        sandbox has not.
        """
        given = parse_object(ask.body)
        for name, value in given.items():
            if name in self.unserved and value:
                raise unsupported(f"`{name}`")
            if name not in self.kept | self.read | self.output | self.unserved:
                raise InvalidRequestError(
                    f'Invalid JSON payload received. Unknown name "{name[:100]}": '
                    "Cannot find field."
                )
        return {name: given[name] for name in given if name in self.writable}

    def details(self, given: Mapping[str, object]) -> Resource:
        """Keep what is told as it stands and says something."""
        return {
            name: given[name] for name in given if name in self.kept and given[name] is not None
        }


def patched(before: Mapping[str, object], change: Mapping[str, object]) -> Resource:
    """Lay a change over a resource as a JSON merge patch: null takes away, objects merge."""
    after = dict(before)
    for name, value in change.items():
        old = after.pop(name, None)
        if isinstance(value, Mapping):
            after[name] = patched(old if isinstance(old, Mapping) else {}, value)
        elif value is not None:
            after[name] = value
    return after


def check_match(ask: Ask, etag: object) -> None:
    """Raise `PreconditionError` where the client knows another state of what it changes."""
    if ask.if_match.strip('"') not in ("", "*", etag):
        raise PreconditionError("Precondition check failed.")


def reference(given: Mapping[str, object], name: str) -> Mapping[str, str]:
    """Give a reference such as `tableReference`. Raises `InvalidRequestError` naming it."""
    found = given.get(name)
    if not isinstance(found, Mapping) or not all(isinstance(v, str) for v in found.values()):
        raise InvalidRequestError(f"Required parameter is missing: {name}")
    return found


def truth(ask: Ask, name: str) -> bool:
    """Read a query parameter that is a truth value. Raises `InvalidRequestError` naming it."""
    text = ask.call.parameters.get(name, "false").lower()
    if text not in ("true", "false", ""):
        raise InvalidRequestError(f"`{name}` is not a truth value")
    return text == "true"
