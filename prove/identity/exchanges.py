"""Exchanges of tokens by Google's own auth libraries, and what they say of a refusal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from prove.clients.environments import AbsentError
from prove.identity.libraries import Library
from prove.identity.sources import ID_TOKEN, JWT, Sources
from prove.identity.stage import AGENT, AUDIENCE, BRIEF, DISMISSED, LAPTOP, MASKED, SQL, Stage

_LENT_BY = "executable"


class Exchange(NamedTuple):
    """One attempt of a library: what was tried, what was wrong (nothing if empty), the requests.

    `attempts` is how many the token endpoint got, and `refusal` whether it was to refuse.
    """

    library: str
    what: str
    fault: str
    attempts: int
    refusal: bool


def exchanges(
    stage: Stage, sources: Sources, libraries: Sequence[Library], *, small: bool
) -> Iterator[Exchange]:
    """Try all sources with each library, then all refusals.

    A library that cannot be had on this machine is one fault.
    """
    refused = _refused(stage)
    for library in libraries:
        try:
            found_by = library.found_by(small=small)
        except AbsentError as error:
            yield Exchange(library.name, "installed", str(error), 0, refusal=False)
            continue
        asking = _Asking(stage, sources, library, found_by)
        sources.put(stage.issuer.token(AGENT, AUDIENCE))
        for name in sources.named:
            yield asking.served(name, JWT)
        sources.put(stage.issuer.lent(LAPTOP, "sample-person", AUDIENCE)["id_token"])
        yield asking.served(_LENT_BY, ID_TOKEN)
        for what, (token, words) in refused.items():
            sources.put(token)
            yield asking.refused(what, words)


class _Asking(NamedTuple):
    stage: Stage
    sources: Sources
    library: Library
    found_by: dict[str, str]

    def served(self, name: str, kind: str) -> Exchange:
        answer, counted = self._asked(name, kind)
        what = f"{name} ({kind.rpartition(':')[2]})"
        right = answer.get("rows") == [{"ssn": MASKED}] and counted == {"issued": 1}
        fault = "" if right else f"{answer}, exchanges {counted}"
        return Exchange(self.library.name, what, fault, sum(counted.values()), refusal=False)

    def refused(self, what: str, words: str) -> Exchange:
        answer, counted = self._asked("file, text", JWT)
        # As a person reads it in a terminal: the gateway's own sentence, whatever stands around.
        right = words in answer.get("message", "") and counted.keys() == {"refused"}
        fault = "" if right else f"{answer} does not say `{words}`, exchanges {counted}"
        return Exchange(self.library.name, what, fault, sum(counted.values()), refusal=True)

    def _asked(self, name: str, kind: str) -> tuple[dict[str, Any], dict[str, int]]:
        """Ask a query, and count what the token endpoint has answered meanwhile."""
        gateway = self.stage.gateways[0]
        before = gateway.counts("exchanges")
        credential = self.sources.environment(name, gateway.token_url, kind)
        answer = self.library.ask(SQL, gateway.url, self.found_by | credential)
        after = gateway.counts("exchanges")
        counted = {name: after[name] - before[name] for name in after if after[name] > before[name]}
        return answer, counted


def _refused(stage: Stage) -> dict[str, tuple[str, str]]:
    """Give tokens that are refused, with the words that tell why."""
    disabled = stage.issuer.token(DISMISSED, AUDIENCE)
    named = ("--issuer", stage.issuer.url, "--subject", DISMISSED)
    stage.stack.keystile("agent", "disable", *named)
    expired = stage.issuer.token(BRIEF, AUDIENCE)
    time.sleep(2)
    return {
        "expired": (expired, "the token has expired; get a new one from its issuer"),
        "wrong audience": (
            stage.issuer.token(AGENT, "https://other.example.com/"),
            "the token is for the audience `https://other.example.com/`, not for this gateway",
        ),
        "disabled agent": (
            disabled,
            f"agent `{DISMISSED}` is disabled",
        ),
    }
