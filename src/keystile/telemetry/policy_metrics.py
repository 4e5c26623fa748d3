"""What a gateway tells Prometheus of its policy."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge


class Publication(StrEnum):
    """How a request to publish a policy ended."""

    PUBLISHED = "published"
    SAME = "same"
    TRIED = "tried"
    REFUSED = "refused"
    FAILED = "failed"


class PolicyMetrics:
    """The policy that holds here, and who wanted another."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self._version = Gauge(
            "keystile_policy_version",
            "The published version of the policy that holds here, 0 for the folder.",
            registry=registry,
        )
        self._info = Gauge(
            "keystile_policy_info",
            "1 for the digest of the policy that holds here.",
            ["digest"],
            registry=registry,
        )
        self._unreadable = Gauge(
            "keystile_policy_unreadable",
            "1 while everything is refused because the published policy cannot be read here.",
            registry=registry,
        )
        self.publications = Counter(
            "keystile_policy_publications_total",
            "Requests to publish a policy, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in Publication:
            self.publications.labels(outcome)

    def holds(self, version: int, digest: str) -> None:
        """Say what holds from now on."""
        self._version.set(version)
        self._unreadable.set(0)
        self._info.clear()
        self._info.labels(digest).set(1)

    def unreadable(self, version: int) -> None:
        """Say that nothing holds, for this version cannot be read."""
        self._version.set(version)
        self._unreadable.set(1)
        self._info.clear()
