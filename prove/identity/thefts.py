"""Attacks that take several steps: what is stolen, used again or lent to the wrong one.

Each begins with what is honest and must be taken, so that the rest is refused for its own fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import requests

from keystile.model.errors import TokenFault
from prove.identity.forging import KEY_B, KEY_PEOPLE, PEOPLE, THEIRS, USES, A, B, signed
from prove.identity.holder import Holder
from prove.identity.stage import Gateway

HOLDER, THIEF = Holder(), Holder()
_AGENT = {"iss": A, "sub": "agent-7"}


class Theft(NamedTuple):
    """What is done at a gateway and its replica, how the last of it is counted, and in what words.

    The last answer is the theft's.
    """

    tries: Callable[[Gateway, Gateway], requests.Response]
    fault: TokenFault
    words: str


def thefts(gateway: Gateway, replica: Gateway) -> Iterator[tuple[str, str]]:
    """Try each; gives its name and what was wrong with how it was refused, if anything."""
    for name, theft in THEFTS.items():
        before = _counted(theft.fault, gateway, replica)
        try:
            reply = theft.tries(gateway, replica)
        except _DishonestError as error:
            yield name, f"what is honest is refused: {error}"
            continue
        counted = _counted(theft.fault, gateway, replica) - before
        if reply.status_code not in {400, 401} or theft.words not in reply.text:
            yield name, f"{reply.status_code} {reply.text}"
        else:
            yield name, "" if counted == 1 else f"counted {counted} times"


class _DishonestError(Exception):
    """Something that is honest was refused."""


def _counted(fault: TokenFault, *gateways: Gateway) -> int:
    return sum(gateway.counts("refusals").get(fault, 0) for gateway in gateways)


def _taken(reply: requests.Response) -> requests.Response:
    if not reply.ok:
        raise _DishonestError(reply.text)
    return reply


def _person(**changes: Any) -> str:
    its = {"iss": PEOPLE, "sub": "sample-person", "jti": uuid4().hex}
    return signed(KEY_PEOPLE, **(its | changes))


def _once_too_often(gateway: Gateway, replica: Gateway) -> requests.Response:
    token = _person()
    for _ in range(USES):
        _taken(gateway.exchange(token))
    return replica.exchange(token)


def _lent(may_act: object, agent: Callable[[], str] = signed) -> Callable[..., requests.Response]:
    def tries(gateway: Gateway, _: Gateway) -> requests.Response:
        _taken(gateway.delegate(_person(may_act=_AGENT), signed()))
        return gateway.delegate(_person(may_act=may_act), agent())

    return tries


def _bound(gateway: Gateway) -> str:
    reply = _taken(gateway.exchange(signed(), HOLDER.proof("POST", gateway.token_url)))
    token: str = reply.json()["access_token"]
    _taken(gateway.datasets(token, "DPoP", _proof(gateway, token)))
    return token


def _proof(gateway: Gateway, token: str, holder: Holder = HOLDER) -> str:
    return holder.proof("GET", gateway.method("datasets"), token)


def _as_a_bearers(gateway: Gateway, replica: Gateway) -> requests.Response:
    return replica.datasets(_bound(gateway))


def _without_a_proof(gateway: Gateway, replica: Gateway) -> requests.Response:
    return replica.datasets(_bound(gateway), "DPoP")


def _with_the_thiefs_key(gateway: Gateway, _: Gateway) -> requests.Response:
    token = _bound(gateway)
    return gateway.datasets(token, "DPoP", _proof(gateway, token, THIEF))


def _with_a_proof_that_went_by(gateway: Gateway, replica: Gateway) -> requests.Response:
    token = _bound(gateway)
    proof = _proof(gateway, token)
    _taken(gateway.datasets(token, "DPoP", proof))
    return replica.datasets(token, "DPoP", proof)


def _with_a_proof_for_another_token(gateway: Gateway, _: Gateway) -> requests.Response:
    return gateway.datasets(_bound(gateway), "DPoP", _proof(gateway, _bound(gateway)))


def _with_a_proof_for_another_address(gateway: Gateway, _: Gateway) -> requests.Response:
    token = _bound(gateway)
    return gateway.datasets(token, "DPoP", HOLDER.proof("POST", gateway.token_url, token))


def _an_exchanges_proof_that_went_by(gateway: Gateway, replica: Gateway) -> requests.Response:
    proof = HOLDER.proof("POST", gateway.token_url)
    _taken(gateway.exchange(signed(), proof))
    return replica.exchange(signed(), proof)


def _an_agents_own_bound_token_itself(gateway: Gateway, _: Gateway) -> requests.Response:
    token = signed(cnf={"jkt": HOLDER.thumbprint})
    _taken(gateway.datasets(token, "DPoP", _proof(gateway, token)))
    _taken(gateway.datasets(signed()))
    return gateway.datasets(token)


def _an_agents_own_token_itself(gateway: Gateway, _: Gateway) -> requests.Response:
    token = _person()
    _taken(gateway.exchange(token))
    return gateway.datasets(token)


def _an_agents_own_bound_token(gateway: Gateway, _: Gateway) -> requests.Response:
    token = signed(cnf={"jkt": HOLDER.thumbprint})
    _taken(gateway.exchange(token, HOLDER.proof("POST", gateway.token_url)))
    return gateway.exchange(token)


F = TokenFault
_NOT_NAMED = "does not name the actor"
THEFTS = {
    "a token once too often, at the replica": Theft(_once_too_often, F.REPLAY, "exchanged 2 times"),
    "an actor that nobody names": Theft(_lent(...), F.DELEGATION, _NOT_NAMED),
    "another actor than is named": Theft(
        _lent({"iss": A, "sub": "agent-8"}), F.DELEGATION, _NOT_NAMED
    ),
    "a namesake at the people's issuer": Theft(_lent({"sub": "agent-7"}), F.DELEGATION, _NOT_NAMED),
    "an actor of another issuer with the same name": Theft(
        _lent(_AGENT, lambda: signed(KEY_B, iss=B, aud=THEIRS)), F.DELEGATION, "may not act for"
    ),
    "the subject as its own actor": Theft(
        _lent({"sub": "sample-person"}, _person), F.DELEGATION, "the subject itself"
    ),
    "an actor that is expired": Theft(
        _lent(_AGENT, lambda: signed(exp=1)), F.TIME, "`actor_token`: the token has expired"
    ),
    "a bound token as a bearer's": Theft(_as_a_bearers, F.PROOF, "came as a bearer"),
    "a bound token without a proof": Theft(_without_a_proof, F.PROOF, "no DPoP proof shows"),
    "a bound token with the thief's key": Theft(
        _with_the_thiefs_key, F.PROOF, "no DPoP proof shows"
    ),
    "a bound token with a proof that went by": Theft(
        _with_a_proof_that_went_by, F.REPLAY, "was used before"
    ),
    "a bound token with a proof for another": Theft(
        _with_a_proof_for_another_token, F.PROOF, "is for another token"
    ),
    "a bound token with a proof for another address": Theft(
        _with_a_proof_for_another_address, F.PROOF, "is for another request"
    ),
    "a proof of an exchange that went by": Theft(
        _an_exchanges_proof_that_went_by, F.REPLAY, "was used before"
    ),
    "an agent's own token that is bound, without its key": Theft(
        _an_agents_own_bound_token, F.PROOF, "no DPoP proof shows"
    ),
    "the same where a gateway token is expected": Theft(
        _an_agents_own_bound_token_itself, F.PROOF, "came as a bearer"
    ),
    "an own token itself, where its issuer is not set up so": Theft(
        _an_agents_own_token_itself, F.ISSUER, "are not taken here themselves"
    ),
}
