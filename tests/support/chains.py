"""Lines of recordings as whole texts, for tests that forge them."""

from __future__ import annotations

from keystile.recording import chain


def linked(seq: int, prev: str, event: bytes) -> tuple[bytes, str]:
    """Make the line that follows `prev`, and its hash."""
    parts, digest = chain.link(seq, prev, event)
    return b"".join(parts), digest
