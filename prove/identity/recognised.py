"""Tokens of each preset's shape, and attacks on tokens, at a gateway that runs."""

from __future__ import annotations

from collections.abc import Iterator

from prove.identity.attacks import ATTACKS
from prove.identity.presets import EXAMPLES, OTHERS, signed
from prove.identity.stage import MASKED, Gateway

# As in OAuth's errors (RFC 6749 section 5.2): no quotes, no backslashes, nothing beyond ASCII.
_PLAIN = str.maketrans({'"': "'", "\\": "/"})


def presets(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """Sign in with a token of each, and read; gives each preset and what was wrong, if anything.

    Policy lets in whom the preset should make of the claims, and nobody else.
    """
    for example in EXAMPLES:
        reply = gateway.exchange(signed(example))
        if reply.ok:
            reply = gateway.query(reply.json()["access_token"])
        yield example.preset, "" if reply.ok and MASKED in reply.text else reply.text


def attacks(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """Try every attack on tokens; gives each and what was wrong with the refusal, if anything."""
    for name, attack in ATTACKS.items():
        before = gateway.counts("refusals").get(attack.fault, 0)
        fault = _refused(gateway, attack.token, attack.words)
        counted = gateway.counts("refusals")[attack.fault] - before
        # A second time as a bearer, unless no header or no JWT can be like it.
        yield name, fault or ("" if counted in {1, 2} else f"counted {counted} times")
    for number, (example, claims, words) in enumerate(OTHERS):
        yield f"{example.preset} {number}", _refused(gateway, signed(example, **claims), words)
    for example in EXAMPLES:
        token = signed(example, aud=...)
        yield f"{example.preset} for nobody", _refused(gateway, token, "has no audience")


def _refused(gateway: Gateway, token: str, words: str) -> str:
    """Say what is wrong with how a token is refused, at the token endpoint and as a bearer."""
    reply = gateway.exchange(token)
    said = reply.json()
    if reply.status_code != 400 or said.get("error") != "invalid_request":  # noqa: PLR2004 - OAuth's
        return f"{reply.status_code} {reply.text}"
    if words.translate(_PLAIN) not in said["error_description"]:
        return f"it says `{said['error_description']}`, not `{words}`"
    if not token.isascii() or not token.isprintable() or token != token.strip():
        return ""  # no header can carry it
    direct = gateway.query(token).status_code
    return "" if 400 <= direct < 500 else f"as a bearer it gets {direct}"  # noqa: PLR2004
