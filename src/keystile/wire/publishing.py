"""A policy as it is published over HTTP, and the bounds on it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.wire.jsonbody import parse_object

PATH = "/v1/policy"
MAX_BYTES = 4 << 20

FileName = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=255)]
Files = Annotated[dict[FileName, str], msgspec.Meta(min_length=1, max_length=1000)]


class PublishRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The policy's files by name, why it is to hold, and which version holds as its author knows.

    A dry run says what would change.
    """

    files: Files
    message: str
    expect: Annotated[int, msgspec.Meta(ge=0)] | None = None
    dry_run: bool = False


def read_publish_request(body: bytes) -> PublishRequest:
    """Read a request. Raises `InvalidRequestError`."""
    try:
        return msgspec.convert(parse_object(body, MAX_BYTES), PublishRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(
            f"the request to publish is not understood: {error}",
            hint="send it with `keystile policy apply --gateway`",
        ) from error
