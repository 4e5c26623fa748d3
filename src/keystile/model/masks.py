"""The mask vocabulary. What each one does to a value is defined in the `masking` room."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

KeyName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
# Not `KeyName | Literal[""]`: msgspec would hold the empty text to the pattern as well.
MaybeKeyName = Annotated[str, msgspec.Meta(pattern=r"^([a-z][a-z0-9_]{0,31})?$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
JsonPath = Annotated[str, msgspec.Meta(pattern=r"^\$(\.[A-Za-z_][A-Za-z0-9_]*)+$")]
JsonPaths = Annotated[tuple[JsonPath, ...], msgspec.Meta(min_length=1)]


class NullMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="null"
):
    """Every value becomes NULL."""


class DefaultMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="default"
):
    """Every value becomes its type's default (`""`, 0, FALSE, 1970-01-01 …); NULL stays NULL."""


class ConstantMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="constant"
):
    """Every value becomes `value`; NULL stays NULL."""

    value: str | int | float | bool


class PatternMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="pattern"
):
    """Every text becomes `pattern`, such as `XXX-XX-XXXX`, at any length; NULL stays NULL."""

    pattern: str


class KeepFirstMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="keep_first"
):
    """All but the first `count` characters become `*`; a text no longer than that is all `*`."""

    count: Count


class KeepLastMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="keep_last"
):
    """All but the last `count` characters become `*`; a text no longer than that is all `*`."""

    count: Count


class EmailMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="email"
):
    """`jane@acme.com` becomes `j***@acme.com`; a text that is no address becomes `***`."""


class UrlHostMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="url_host"
):
    """Of a URL its host is left; a text that is none becomes `***`."""


class IpMask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="ip"):
    """Of an address its network is left: /24 of IPv4, /48 of IPv6; another text becomes `***`."""


class KeyedHashMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="keyed_hash"
):
    """HMAC-SHA-256 in hex: equal values stay joinable; NULL stays NULL.

    `key` names one of the gateway's masking keys; empty is the one without a name.
    """

    key: MaybeKeyName = ""


class TokenMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="token"
):
    """Digits become other digits and letters other letters; different values stay different.

    `key` is as in `KeyedHashMask`.
    """

    key: MaybeKeyName = ""


class TruncateMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="truncate"
):
    """A date or time becomes the first moment of its month, quarter or year, in UTC."""

    to: Literal["month", "quarter", "year"]


class BucketMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bucket"
):
    """A number becomes the greatest multiple of `width` that is not above it."""

    width: int | float


class RoundMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="round"
):
    """A number becomes the nearest multiple of `to`; of two that are as near, the greater."""

    to: int | float


class JsonPathsMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="json_paths"
):
    """What stands at these paths of a JSON value becomes `null`.

    Where something else than objects stands on the way to one, the whole value becomes `null`.
    """

    paths: JsonPaths


class SqlMask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="sql"):
    """What an SQL expression over `value`, of the scalar `type`, makes of it."""

    expression: str
    type: str = "STRING"


Mask = (
    NullMask
    | DefaultMask
    | ConstantMask
    | PatternMask
    | KeyedHashMask
    | TokenMask
    | EmailMask
    | KeepFirstMask
    | KeepLastMask
    | UrlHostMask
    | IpMask
    | TruncateMask
    | BucketMask
    | RoundMask
    | JsonPathsMask
    | SqlMask
)
"""Every mask, the most protective first (`keystile.model.strength`)."""

KEYED = (KeyedHashMask, TokenMask)
"""Those that need a key."""
