"""Proposals of a scan as a policy file, for people to read and put beside the others."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keystile.gate.label_scan import Scanned

_HEAD = """\
# Labels that `keystile labels scan` proposes. Read each one before it counts; a label without a
# mask of its own has the type's default.
labels:
"""


def policy_file(scanned: Sequence[Scanned]) -> str:
    """Write YAML that `keystile policy validate` accepts. It has counts, and no value."""
    by_label: dict[str, list[str]] = {}
    for one in scanned:
        for proposal in one.proposals:
            column = f"{one.table}.{'.'.join(proposal.path)}"
            guess = proposal.guess
            entry = f"      - {_quoted(column)} # {guess.confidence}: {guess.why}\n"
            by_label.setdefault(guess.label, []).append(entry)
    if not by_label:
        return _HEAD.replace("labels:\n", "labels: []\n")
    parts = (
        f"  - label: {label}\n    columns:\n{''.join(entries)}"
        for label, entries in sorted(by_label.items())
    )
    return _HEAD + "".join(parts)


def _quoted(text: str) -> str:
    """Write a text as YAML reads JSON's."""
    return msgspec.json.encode(text).decode()
