"""The network policies are Kubernetes' own words, and let through what the page says, no more."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
import yaml

from keystile.config.listeners import Storage
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "kubernetes" / "network-policies.yaml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "how-to" / "keep-agents-from-google.md").read_text(encoding="utf-8")
SERVED = Settings(upstream=Upstream(service_account_file="key.json"), storage=Storage(port=8423))


class Words(msgspec.Struct, forbid_unknown_fields=True):
    """Part of a NetworkPolicy (networking.k8s.io/v1): a word that is not there is an error."""


class Selector(Words):
    matchLabels: dict[str, str] = {}  # noqa: N815  Kubernetes' word

    def fits(self, labels: dict[str, str]) -> bool:
        return self.matchLabels.items() <= labels.items()


class Block(Words):
    cidr: str
    except_: list[str] = msgspec.field(name="except", default_factory=list)


class Peer(Words):
    namespaceSelector: Selector | None = None  # noqa: N815
    podSelector: Selector | None = None  # noqa: N815
    ipBlock: Block | None = None  # noqa: N815


class Port(Words):
    protocol: Literal["TCP", "UDP"]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Egress(Words):
    to: Annotated[list[Peer], msgspec.Meta(min_length=1)]
    ports: Annotated[list[Port], msgspec.Meta(min_length=1)]


class Ingress(Words):
    from_: Annotated[list[Peer], msgspec.Meta(min_length=1)] = msgspec.field(name="from")
    ports: Annotated[list[Port], msgspec.Meta(min_length=1)]


class Spec(Words):
    podSelector: Selector  # noqa: N815
    policyTypes: list[Literal["Ingress", "Egress"]]  # noqa: N815
    egress: list[Egress] = []
    ingress: list[Ingress] = []


class Metadata(Words):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    namespace: str


class NetworkPolicy(Words):
    apiVersion: Literal["networking.k8s.io/v1"]  # noqa: N815
    kind: Literal["NetworkPolicy"]
    metadata: Metadata
    spec: Spec


POLICIES = [msgspec.convert(one, NetworkPolicy) for one in yaml.safe_load_all(EXAMPLE)]


class Pod(NamedTuple):
    namespace: str
    labels: dict[str, str] = {}  # noqa: RUF012  a NamedTuple's default, never changed

    def fits(self, peer: Peer, home: str) -> bool:
        if peer.ipBlock:
            return False
        if peer.namespaceSelector is None:
            there = self.namespace == home
        else:
            there = peer.namespaceSelector.fits({"kubernetes.io/metadata.name": self.namespace})
        return there and (peer.podSelector is None or peer.podSelector.fits(self.labels))


class Address(NamedTuple):
    text: str

    def fits(self, peer: Peer, _home: str) -> bool:
        block, at = peer.ipBlock, ipaddress.ip_address(self.text)
        return bool(
            block
            and at in ipaddress.ip_network(block.cidr)
            and not any(at in ipaddress.ip_network(one) for one in block.except_)
        )


AGENT = Pod("agents", {"app": "anything"})
GATEWAY = Pod("keystile", {"app": "keystile"})
NAMES = Pod("kube-system", {"k8s-app": "kube-dns"})
GOOGLE, METADATA, INSIDE = Address("142.250.1.95"), Address("169.254.169.254"), Address("10.0.0.1")


def _passes(side: str, pod: Pod, other: Pod | Address, port: int, protocol: str) -> bool:
    """Say whether a pod's policies of one side let it through; without any, all is let through."""
    binding = [
        one
        for one in POLICIES
        if side in one.spec.policyTypes
        and one.metadata.namespace == pod.namespace
        and one.spec.podSelector.fits(pod.labels)
    ]
    rules: list[tuple[list[Peer], list[Port], str]] = []
    for one in binding:
        home = one.metadata.namespace
        rules += [(rule.to, rule.ports, home) for rule in one.spec.egress if side == "Egress"]
        rules += [(rule.from_, rule.ports, home) for rule in one.spec.ingress if side == "Ingress"]
    return not binding or any(
        Port(protocol, port) in ports and any(other.fits(peer, home) for peer in peers)  # type: ignore[arg-type]
        for peers, ports, home in rules
    )


def _reaches(source: Pod, to: Pod | Address, port: int, protocol: str = "TCP") -> bool:
    leaves = _passes("Egress", source, to, port, protocol)
    return leaves and (isinstance(to, Address) or _passes("Ingress", to, source, port, protocol))


def test_agents_reach_the_gateway_and_names_and_nothing_else() -> None:
    assert _reaches(AGENT, GATEWAY, SERVED.gateway.port)
    assert _reaches(AGENT, GATEWAY, SERVED.storage.port)
    assert _reaches(AGENT, NAMES, 53, "UDP")
    assert not _reaches(AGENT, GATEWAY, SERVED.console.port)
    for address in (GOOGLE, METADATA, INSIDE):
        for port in (53, 80, 443, 988, 6443):
            assert not _reaches(AGENT, address, port)
            assert not _reaches(AGENT, address, port, "UDP")
    for pod in (AGENT, Pod("keystile"), Pod("kube-system"), Pod("elsewhere", GATEWAY.labels)):
        assert not _reaches(AGENT, pod, SERVED.gateway.port)


def test_the_gateway_reaches_google_and_is_reached_by_few() -> None:
    assert _reaches(GATEWAY, GOOGLE, 443)
    assert _reaches(GATEWAY, NAMES, 53, "UDP")
    assert not [one for one in (METADATA, INSIDE) if _reaches(GATEWAY, one, 443)]
    assert not _reaches(GATEWAY, GOOGLE, 80)
    assert _reaches(Pod("ingress"), GATEWAY, SERVED.console.port)
    assert _reaches(Pod("monitoring"), GATEWAY, SERVED.gateway.port)
    for port in (SERVED.gateway.port, SERVED.console.port, SERVED.storage.port):
        assert not _reaches(Pod("elsewhere"), GATEWAY, port)


def test_a_word_that_kubernetes_does_not_have_would_be_noticed() -> None:
    for wrong in ("podSelectors: {}", "policyType: [Egress]"):
        text = EXAMPLE.replace(wrong.replace("ors:", "or:").replace("Type:", "Types:"), wrong, 1)
        assert text != EXAMPLE
        with pytest.raises(msgspec.ValidationError):
            [msgspec.convert(one, NetworkPolicy) for one in yaml.safe_load_all(text)]


def _blocks() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_shows_the_policy_of_the_example() -> None:
    assert _blocks()[0] == EXAMPLE.partition("---\n")[0]


def test_an_agents_container_has_no_way_out() -> None:
    (found,) = (yaml.safe_load(block) for block in _blocks() if "compose.yaml" in block)
    compose: Any = found
    assert compose["services"]["agent"]["networks"] == ["agents"]
    assert compose["networks"]["agents"] == {"internal": True}
    assert {*compose["services"]["keystile"]["networks"]} == {"agents", "out"}
