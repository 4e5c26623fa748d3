"""Whether a client got the same through the gateway as from BigQuery itself, apart from masks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keystile.sandbox.sample import SAMPLE

HASHED = "<keyed hash>"
_SHOP = SAMPLE / "acme-shop" / "shop"
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
# Where a fault lies the gateway may know better than BigQuery. What it withholds of a table is told
# in docs/reference/api.md.
_PLACE = frozenset(("location", "locationType"))
_WITHHELD = frozenset(("policyTags", "PolicyTags"))
_ADVICE = re.compile(r"; [^;\n]+")
# What two runs can never have the same: addresses, and names that a server or a client makes up.
_VARYING = (
    (re.compile(r"https?://127\.0\.0\.1:\d+"), "SERVER"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\bjob_[\w-]{8,}"), "ID"),
    # The gateway says where in the text a table is named, BigQuery in which place it looked.
    (re.compile(r"(?<=was not found) (?:at \[\d+:\d+\]|in location US)"), ""),
    # A job that nobody has is named with its place by BigQuery, which only BigQuery knows.
    (re.compile(r"(?<=Job acme-shop:)US\."), ""),
)


class Veil:
    """Puts on what a client got directly the masks of the shop's policy (`examples/policy`)."""

    def __init__(
        self, customers: Iterable[Mapping[str, Any]], tickets: Iterable[Mapping[str, Any]]
    ) -> None:
        """Learn every protected value from the rows of both tables."""
        self.customers = [*customers]
        self._masks: dict[str, str] = {}
        for customer in self.customers:
            self._masks[customer["ssn"]] = "XXX-XX-XXXX"
            self._masks[customer["name"]] = HASHED
            if email := customer["email"]:
                self._masks[email] = f"{email[0]}***{email[email.index('@') :]}"
            if phone := customer["phone"]:
                self._masks[phone] = "*" * (len(phone) - 4) + phone[-4:]
            values = (contact["value"] for contact in customer["contacts"])
            self._masks |= dict.fromkeys((customer["notes"], *values), "")
        self._masks |= {ticket["body"]: "" for ticket in tickets}
        self._masks = {value: mask for value, mask in self._masks.items() if value}
        longest_first = sorted(map(re.escape, self._masks), key=len, reverse=True)
        self._protected = re.compile("|".join(longest_first))

    def over(self, value: Any) -> Any:
        """Give a copy of an outcome with its masks on; of an address every part is NULL."""
        if isinstance(value, str):
            return self._protected.sub(lambda found: self._masks[found[0]], value)
        if isinstance(value, list):
            return [self.over(item) for item in value]
        if isinstance(value, dict):
            if value.keys() == {"street", "city", "zip"}:
                return dict.fromkeys(value)
            return {name: self.over(item) for name, item in value.items()}
        return value


def shop_veil() -> Veil:
    """Give the veil over the sample shop."""
    customers, tickets = (
        [json.loads(line) for line in (_SHOP / f"{name}.ndjson").read_text().splitlines()]
        for name in ("customers", "tickets")
    )
    return Veil(customers, tickets)


def plain(value: Any) -> Any:
    """Give an outcome without what two runs can never have the same."""
    if isinstance(value, str):
        for pattern, instead in _VARYING:
            value = pattern.sub(instead, value)
        return _HASH.sub(HASHED, value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def difference(wanted: Any, got: Any, at: str = "") -> str:
    """Say the first place in which two outcomes differ, and how; nothing if they do not."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        return next(filter(None, _in_dicts(wanted, got, at)), "")
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        pairs = enumerate(zip(wanted, got, strict=True))
        return next(filter(None, (difference(*pair, f"{at}[{n}]") for n, pair in pairs)), "")
    if type(wanted) is type(got) and wanted == got:
        return ""
    if at.endswith(".message") and _ADVICE.sub("", str(got)) == _ADVICE.sub("", str(wanted)):
        return ""  # after BigQuery's own words the gateway says what to do next
    return f"{at or 'the answer'} is {_short(got)}, directly {_short(wanted)}"


def _in_dicts(wanted: Mapping[str, Any], got: Mapping[str, Any], at: str) -> Iterator[str]:
    for name in [*wanted, *(name for name in got if name not in wanted)]:
        if name in _WITHHELD or (name in _PLACE and ".errors[" in at):
            continue
        if name not in wanted or name not in got:
            missing = "through the gateway" if name in wanted else "directly"
            yield f"{at}.{name} is missing {missing}"
        else:
            yield difference(wanted[name], got[name], f"{at}.{name}")


def _short(value: Any, most: int = 200) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"
