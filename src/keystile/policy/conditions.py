"""CEL conditions: the words they may use, checked when the policy is compiled.

The language is the Common Expression Language (https://cel.dev) with its standard functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import msgspec
from cel_expr_python import cel

from keystile.model.facts import Action, QueryFacts, used_columns
from keystile.model.principal import Principal
from keystile.policy.context import Context
from keystile.policy.expressions import BOOL, compiled, evaluated, whole

_ACTIONS = frozenset(map(str, Action))
_TEXT = cel.Type.STRING
_TEXTS = cel.Type.List(_TEXT)
# What `query.touches(…)` is called on: which function gives true for which labels, as `_asked` has
# it. It is of a type that no other word has, and one value, where each item of a list costs time.
_LABELS = cel.Type.BYTES
_FUNCTIONS = ("touches", "outputs", "filters")
# What `request.network(…)` is called on: the client's address, of a type that no other word has.
_ADDRESS = cel.Type.List(cel.Type.BYTES)
_NETWORK_ARGUMENT = re.compile(r"""\.\s*network\s*\(\s*(["'])([^"']*)\1\s*\)""")
_IDENTIFIER = re.compile(r"\w+")
_NO_WORDS = cel.NewEnv(variables={})
_ACTION_NAMED = re.compile(r"""(["'])([^"']*)\1\s*in\s+query\s*\.\s*actions\b""")
_LABEL_ARGUMENT = re.compile(r"""\.\s*(?:touches|outputs|filters)\s*\(\s*(["'])([^"']*)\1\s*\)""")

_OF_AGENT = "agent."
_AGENT_WORDS: dict[str, Any] = {
    "agent.name": _TEXT,
    "agent.groups": _TEXTS,
    "agent.attributes": cel.Type.Map(_TEXT, _TEXT),
    "agent.service_account": _TEXT,
    "agent.issuer": _TEXT,
    "agent.subject": _TEXT,
    "agent.on_behalf_of": _TEXT,
    "request.project": _TEXT,
    "request.time": cel.Type.TIMESTAMP,
    "request.dry_run": cel.Type.BOOL,
    "request.client": _TEXT,
    "request": _ADDRESS,
}
_BYTES = "query.bytes"
_MOST_BYTES = (1 << 63) - 1  # of the runtime's whole numbers
_QUERY_WORDS: dict[str, Any] = {
    "query": _LABELS,
    "query.statement": _TEXT,
    "query.actions": _TEXTS,
    "query.tables": _TEXTS,
    "query.functions": _TEXTS,
    "query.uris": _TEXTS,
    "query.connections": _TEXTS,
    "query.columns": _TEXTS,
    "query.destination": _TEXTS,
    _BYTES: cel.Type.INT,
}

_LAST = "|".join(word.partition(".")[2] for word in (*_AGENT_WORDS, *_QUERY_WORDS) if "." in word)
_OF_LABEL = re.compile(rf"""query\.({"|".join(_FUNCTIONS)})\((["'])([\w.-]+)\2\)""")
_ALONE = re.compile(rf"\b(query|request)\b(?!\s*\.\s*(?:{_LAST})\b)")

WORDS = (*_AGENT_WORDS, *_QUERY_WORDS, *_FUNCTIONS, "network")
"""All that a condition may name beside the language's own functions."""


class TouchedLabels(msgspec.Struct, frozen=True):
    """Labels, and all labels above them, on the columns that a query uses.

    `touches`: any use; `outputs`: part of a result's value; `filters`: decides which rows appear.
    """

    touches: AbstractSet[str] = frozenset()
    outputs: AbstractSet[str] = frozenset()
    filters: AbstractSet[str] = frozenset()


class Request(msgspec.Struct):
    """What conditions ask about: who asks, what the query does, which labels it touches, and when.

    `known` has the value of each word that one has asked for, as the runtime takes it.
    """

    principal: Principal
    facts: QueryFacts
    labels: TouchedLabels
    context: Context
    known: dict[str, Any] = {}

    def values(self, words: Iterable[str]) -> dict[str, Any]:
        """Give the values of these words.

        What is not known is not there: asking for it fails, where it would matter.
        """
        known, found = self.known, {}
        for word in words:
            if word not in known:
                known[word] = _VALUES[word](self)
            if (value := known[word]) is not None:
                found[word] = value
        return found


class Condition(msgspec.Struct, frozen=True):
    """A compiled condition. `about_query` is False where it asks only for agent and request.

    One that `is_constant` asks for nothing, so that it holds always or never. `words` are those
    that it may ask for. One that is no more than `query.touches("pii")` is known by these two texts
    as `of_label`, and needs no runtime to be answered.
    """

    text: str
    about_query: bool
    expression: Any
    words: tuple[str, ...]
    is_constant: bool = False
    of_label: tuple[str, str] | None = None

    @property
    def asks_bytes(self) -> bool:
        """Whether it may ask how much the query reads."""
        return _BYTES in self.words

    @property
    def about_agent(self) -> bool:
        """Whether it asks for the agent alone, so that all that it asks is answered alike."""
        return not self.about_query and all(word.startswith(_OF_AGENT) for word in self.words)

    def holds(self, request: Request | None) -> bool | None:
        """Evaluate; None where that fails, for example for an attribute that the agent lacks.

        One that `is_constant` needs no request.
        """
        if self.of_label and request:
            function, label = self.of_label
            return label in getattr(request.labels, function)
        try:
            value = evaluated(self.expression, request.values(self.words) if request else {})
        except ValueError:
            return None
        return value if isinstance(value, bool) else None


class Conditions:
    """Compiles the conditions of one policy, which knows these `labels`."""

    def __init__(self, labels: Collection[str]) -> None:
        """Declare the words. `labels` holds each declared label and all above it."""
        self._known = frozenset(labels)
        self._compiled: dict[str, Condition] = {}
        network = _member("network", _ADDRESS, _is_in)
        self._about_agent = cel.NewEnv(variables=_AGENT_WORDS, functions=[network])
        self._about_query = cel.NewEnv(
            variables=_AGENT_WORDS | _QUERY_WORDS,
            functions=[
                network,
                *(_member(name, _LABELS, self._asks_for(name)) for name in _FUNCTIONS),
            ],
        )

    def compile(self, text: str) -> Condition:
        """Type-check one condition. Raises `ValueError` with a sentence for the policy's author."""
        if text not in self._compiled:
            self._compiled[text] = self._compile(text)
        return self._compiled[text]

    def _compile(self, text: str) -> Condition:
        expression = compiled(self._about_query, text, BOOL)
        for argument in _LABEL_ARGUMENT.finditer(text):
            if argument[2] not in self._known:
                raise UnknownLabelError(argument[2])
        for argument in _ACTION_NAMED.finditer(text):
            if argument[2] not in _ACTIONS:
                raise ValueError(f"asks for `{argument[2]}`, which is no action")
        for argument in _NETWORK_ARGUMENT.finditer(text):
            _network(argument[2])
        try:
            compiled(self._about_agent, text, BOOL)
        except ValueError:
            asks = _OF_LABEL.fullmatch(text.strip())
            return Condition(
                text,
                about_query=True,
                expression=expression,
                words=_words(text),
                of_label=(asks[1], asks[3]) if asks else None,
            )
        return Condition(
            text,
            about_query=False,
            expression=expression,
            words=_words(text),
            is_constant=_is_constant(text),
        )

    def _asks_for(self, function: str) -> Callable[[bytearray, str], bool]:
        def asks(labels: bytearray, label: str) -> bool:
            if label not in self._known:  # computed, so not seen when compiled: an error, not False
                raise UnknownLabelError(label)
            return _asked(function, label) in labels

        return asks


def _asked(function: str, label: str) -> bytes:
    """Give what stands among the labels where a function gives true: no label has a tab."""
    return f"\t{function} {label}\t".encode()


def _labels(touched: TouchedLabels) -> bytes:
    return b"".join(
        _asked(name, label) for name in _FUNCTIONS for label in sorted(getattr(touched, name))
    )


def _member(name: str, receiver: Any, implementation: Callable[..., bool]) -> Any:
    """Declare a function that is called on a word, with one text, and gives true or false."""
    overload = cel.Overload(
        f"member_{name}",
        return_type=cel.Type.BOOL,
        parameters=[receiver, _TEXT],
        is_member=True,
        impl=implementation,
    )
    return cel.FunctionDecl(name, [overload])


def _words(text: str) -> tuple[str, ...]:
    """Give every word that an expression may ask for.

    INVARIANT: the last part of a word that is asked for stands in the text by itself, and `query`
    or `request`, where it is asked for, before something else than the rest of another word. Where
    they mean something else, one word too many is bound.
    """
    there = set(_IDENTIFIER.findall(text))
    found = {word for word in _VALUES if "." in word and word.rpartition(".")[2] in there}
    return tuple(sorted(found.union(_ALONE.findall(text))))


def _is_constant(text: str) -> bool:
    try:
        compiled(_NO_WORDS, text, BOOL)
    except ValueError:
        return False
    return True


def _plain(address: str) -> list[bytes]:
    """Give an address as text, as IPv4 where it is that of IPv4 in IPv6; empty for no address.

    INVARIANT: never its bytes, which the runtime reads up to the first NUL: `a01:203::` would be
    10.1.2.3.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return [b""]
    return [str(getattr(found, "ipv4_mapped", None) or found).encode()]


def _is_in(address: list[bytearray], network: str) -> bool:
    # INVARIANT: an address that nobody knows is in no network and not outside of one: an error.
    return ip_address(address[0].decode()) in _network(network)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    """Read a network. Raises `ValueError` with a sentence for the policy's author."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"asks for `{text}`, which is no network such as `10.0.0.0/8`") from error


def _bytes(count: int | None) -> int | None:
    return None if count is None else min(count, _MOST_BYTES)


def _texts(texts: Iterable[object]) -> list[str]:
    return [*map(whole, map(str, texts))]


_VALUES: dict[str, Callable[[Request], Any]] = {
    "agent.name": lambda asked: asked.principal.agent,
    "agent.groups": lambda asked: list(asked.principal.groups),
    "agent.attributes": lambda asked: asked.principal.attributes,
    "agent.service_account": lambda asked: asked.principal.service_account,
    "agent.issuer": lambda asked: asked.principal.issuer,
    "agent.subject": lambda asked: asked.principal.subject,
    "agent.on_behalf_of": lambda asked: asked.principal.on_behalf_of,
    "request.project": lambda asked: whole(asked.context.project),
    "request.time": lambda asked: asked.context.time,
    "request.dry_run": lambda asked: asked.context.dry_run,
    "request.client": lambda asked: whole(asked.principal.client),
    "request": lambda asked: _plain(asked.principal.address),
    "query": lambda asked: _labels(asked.labels),
    "query.statement": lambda asked: asked.facts.statement,
    "query.actions": lambda asked: [str(action) for action in asked.facts.actions],
    "query.tables": lambda asked: _texts(sorted({*asked.facts.reads, *asked.facts.writes})),
    "query.functions": lambda asked: _texts(asked.facts.functions),
    "query.uris": lambda asked: _texts(asked.facts.uris),
    "query.connections": lambda asked: _texts(asked.facts.connections),
    "query.columns": lambda asked: sorted(set(_texts(used_columns(asked.facts)))),
    "query.destination": lambda asked: _texts(sorted(asked.facts.writes)),
    _BYTES: lambda asked: _bytes(asked.context.bytes),
}


class UnknownLabelError(ValueError):
    """A condition names a label that no document declares."""

    def __init__(self, label: str) -> None:
        """Keep the label for a suggestion."""
        super().__init__(f"unknown label `{label}`")
        self.label = label
