"""Tokens that are good only with a key: by DPoP (RFC 9449) or a client certificate (RFC 8705)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import msgspec

from keystile.config.identity import SenderConstraint
from keystile.identity import dpop
from keystile.identity.bound import FREE, Binding
from keystile.identity.replay import Uses
from keystile.identity.subjects import Verified
from keystile.model.errors import TokenFault, TokenRefusedError
from keystile.model.sender import Sender

_WORDS = {
    "dpop": "a DPoP proof",
    "mtls": "a client certificate",
    "either": "a DPoP proof or a client certificate",
}


class Senders:
    """Says which keys senders have shown to hold, and whether they are those that it takes."""

    def __init__(self, uses: Uses, clock_skew: int) -> None:
        """Take the count of proofs, and how many seconds clocks may differ."""
        self._uses = uses
        self._skew = clock_skew

    async def bind(self, sender: Sender, tokens: Iterable[Verified]) -> Binding:
        """Give what a gateway token is to be bound to that these tokens are exchanged for.

        A proof always binds, a certificate where a token or the settings of its issuer ask for it.
        Raises `TokenRefusedError` where too little was shown.
        """
        (shown, proof), certificate = self._shown(sender), False
        for token in tokens:
            own, constraint = confirmed(token.claims), token.source.trust.sender_constraint
            _keep(own, shown)
            demand(constraint, shown)
            either = constraint == "either" and not shown.jkt
            certificate = certificate or bool(own.x5t) or constraint == "mtls" or either
        await self._use(proof)
        return Binding(shown.jkt, shown.x5t if certificate else "")

    async def require(self, binding: Binding, sender: Sender) -> None:
        """Let only who holds its keys end a token. Raises `TokenRefusedError`."""
        if binding:
            shown, proof = self._shown(sender)
            _keep(binding, shown)
            await self._use(proof)

    async def admit(self, binding: Binding, sender: Sender, token: str) -> None:
        """Let only who holds its keys use a token (RFC 9449 section 7.1, RFC 8705 section 3).

        Raises `TokenRefusedError`.
        """
        if sender.is_dpop != bool(binding.jkt):
            # INVARIANT: section 7.2: what is bound is never taken as a bearer's.
            _refuse(
                "the token is bound to a key, and came as a bearer's"
                if binding.jkt
                else "the token came with a DPoP proof, and is not bound to its key",
                hint=f"send it as `Authorization: {'DPoP' if binding.jkt else 'Bearer'}`",
            )
        if binding:
            shown, proof = self._shown(sender, token)
            _keep(binding, shown)
            await self._use(proof)

    def _shown(self, sender: Sender, token: str = "") -> tuple[Binding, dpop.Proof | None]:
        """Give every key of which a request shows that its sender holds it, and its proof.

        A proof must be for `token`, unless that is empty. Raises `TokenRefusedError` for a proof
        that proves nothing.
        """
        certificate = _thumbprint(sender.certificate) if sender.certificate else ""
        if not sender.proof:
            return Binding(x5t=certificate), None
        proof = dpop.verify(sender, token, self._skew)
        return Binding(proof.thumbprint, certificate), proof

    async def _use(self, proof: dpop.Proof | None) -> None:
        """Take a proof once, after all else: what is refused leaves nothing in the store."""
        if proof and not await self._uses.count(proof.digest, proof.expires_at, 1):
            raise TokenRefusedError(
                "the DPoP proof was used before",
                hint="make one for each request, with a `jti` of its own",
                fault=TokenFault.REPLAY,
                oauth_error="invalid_dpop_proof",
            )


def confirmed(claims: Mapping[str, Any]) -> Binding:
    """Give the keys that a token itself is bound to (RFC 7800 section 3.1).

    Raises `TokenRefusedError` for a `cnf` that is not understood: it would bind nobody.
    """
    if "cnf" not in claims:
        return FREE
    cnf = claims["cnf"]
    known = isinstance(cnf, dict) and cnf.keys() <= {"jkt", "x5t#S256"}
    if not known or not cnf or not all(isinstance(key, str) and key for key in cnf.values()):
        _refuse("the token is bound to a key in a way that is not understood (`cnf`)")
    return msgspec.convert(cnf, Binding)


def _keep(binding: Binding, shown: Binding) -> None:
    if binding.jkt and binding.jkt != shown.jkt:
        _refuse(
            "the token is bound to a key, and no DPoP proof shows that the sender holds it",
            hint="sign a proof with the key that the token was made for",
        )
    if binding.x5t and binding.x5t != shown.x5t:
        _refuse(
            "the token is bound to a client certificate, which the sender has not shown",
            hint="connect with the certificate that the token was made for",
        )


def demand(constraint: SenderConstraint, shown: Binding) -> None:
    """Raise `TokenRefusedError` where less was shown than an issuer's settings ask for."""
    enough = {
        "": True,
        "dpop": bool(shown.jkt),
        "mtls": bool(shown.x5t),
        "either": bool(shown),
    }
    if not enough[constraint]:
        _refuse(
            f"tokens of this issuer are taken only with {_WORDS[constraint]}",
            hint="its settings say so in `sender_constraint`",
        )


def _thumbprint(certificate: bytes) -> str:
    digest = hashlib.sha256(certificate).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _refuse(message: str, *, hint: str = "") -> NoReturn:
    raise TokenRefusedError(message, hint=hint, fault=TokenFault.PROOF)
