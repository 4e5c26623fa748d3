"""The mask vocabulary. What each one does to a value is defined in the `masking` room."""

from __future__ import annotations

import msgspec


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


class KeepLastMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="keep_last"
):
    """All but the last `count` characters become `*`; a text no longer than that is all `*`."""

    count: int


class EmailMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="email"
):
    """`jane@acme.com` becomes `j***@acme.com`; a text that is no address becomes `***`."""


class KeyedHashMask(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="keyed_hash"
):
    """HMAC-SHA-256 under the gateway's key, in hex: equal values stay joinable; NULL stays NULL."""


Mask = (
    NullMask | DefaultMask | ConstantMask | PatternMask | KeepLastMask | EmailMask | KeyedHashMask
)
