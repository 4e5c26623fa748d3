"""What can be found: the shape that gives a value away, and the check that says where it stands.

A shape is a regular expression over the bytes of UTF-8 that RE2 and Python's `re` read alike:
short, bounded, without groups or look-arounds. INVARIANT: a value is found only where its shape
matches, for the check is asked nowhere else. So the gate (`finder`) is made of the shapes
themselves, and needs no list of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from keystile.detecting import checks, numbers, phones

Check = Callable[[bytes, int], tuple[int, int] | None]
"""Takes a text and where a shape matched in it; gives where the value begins and ends, if any."""

_KEYS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",  # AWS access key
    r"gh[oprsu]_[0-9A-Za-z]{36}",  # GitHub token
    r"github_pat_[0-9A-Za-z_]{22}",
    r"glpat-[0-9A-Za-z_-]{20}",  # GitLab token
    r"xox[abceoprs]-[0-9A-Za-z-]{10}",  # Slack token
    r"xapp-[0-9A-Za-z-]{10}",
    r"[rs]k_(?:live|test)_[0-9A-Za-z]{16}",  # Stripe key
    r"whsec_[0-9A-Za-z+/=]{24}",
    r"AIza[0-9A-Za-z_-]{35}",  # Google API key
    r"GOCSPX-[0-9A-Za-z_-]{28}",  # Google OAuth client secret
    r"ya29\.[0-9A-Za-z_-]{20}",  # Google access token
    r"sk-[0-9A-Za-z_-]{20}",  # OpenAI and Anthropic key
    r"SG\.[0-9A-Za-z_-]{16}",  # SendGrid key
    r"SK[0-9a-f]{32}",  # Twilio key
    r"npm_[0-9A-Za-z]{36}",
    r"pypi-[0-9A-Za-z_-]{50}",
    r"hf_[0-9A-Za-z]{34}",  # Hugging Face token
    r"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean token
    r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}",  # Shopify token
    r"key-[0-9a-f]{32}",  # Mailgun key
    r"sq0[a-z]{3}-[0-9A-Za-z_-]{22}",  # Square token
    r"dapi[0-9a-f]{32}",  # Databricks token
)


class Entity(NamedTuple):
    """One kind of value."""

    name: str
    shape: str
    check: Check


ENTITIES: Mapping[str, Entity] = {
    name: Entity(name, shape, check)
    for name, shape, check in (
        ("jwt", r"\beyJ[0-9A-Za-z_-]{8}", checks.jwt),
        ("api_key", rf"\b(?:{'|'.join(_KEYS)})", checks.api_key),
        ("iban", numbers.IBAN, numbers.iban),
        ("card", numbers.CARD, numbers.card),
        ("email", checks.EMAIL, checks.email),
        ("ssn", numbers.SSN, numbers.ssn),
        ("ip", checks.IP, checks.ip),
        ("phone", phones.PHONE, phones.phone),
    )
}
"""By name, the surest first: they claim a text that several could be in this order."""
