"""What a client asks to know of its permissions.

Source of fact: `TestIamPermissionsRequest` of the API.
"""

from __future__ import annotations

from keystile.model.errors import InvalidRequestError
from keystile.wire.jsonbody import parse_object
from keystile.wire.strict import Strict, converted

_MOST = 100


class _Body(Strict, frozen=True):
    # Google's own reader of JSON takes a list within the list for its items.
    permissions: list[str | list[str]] | None = None


def parse_permissions(body: bytes) -> tuple[str, ...]:
    """Read the body of testIamPermissions, each permission once. Raises `InvalidRequestError`."""
    given = converted(parse_object(body), _Body).permissions or []
    names = [name for item in given for name in (item if isinstance(item, list) else (item,))]
    if len(names) > _MOST:
        raise InvalidRequestError(f"`permissions` has more than {_MOST} names")
    return tuple(dict.fromkeys(names))
