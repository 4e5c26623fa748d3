"""Every number that a gateway exposes to Prometheus, in one registry of its own.

`docs/reference/metrics.md` lists them; a test holds page and registry together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from keystile.model.decision import Effect
from keystile.model.errors import TokenFault
from keystile.telemetry.collectors import (
    CacheCollector,
    CacheStats,
    CredentialCollector,
    CredentialStats,
    EngineCollector,
    EngineStats,
)
from keystile.telemetry.policy_metrics import PolicyMetrics

# Seconds. An analysis takes milliseconds, a query at BigQuery up to minutes.
_QUERY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_APPEND_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class Phase(StrEnum):
    """The steps of a query whose time is measured."""

    ANALYSE = "analyse"
    DECIDE = "decide"
    REWRITE = "rewrite"
    DRY_RUN = "dry_run"
    APPROVE = "approve"
    EXECUTE = "execute"
    READ = "read"


class Exchange(StrEnum):
    """How a request at the token endpoint ended."""

    ISSUED = "issued"
    REFUSED = "refused"
    FAILED = "failed"


class Metrics:
    """The registry and its instruments. One per gateway, so that two can share a process."""

    def __init__(self) -> None:
        """Register everything, with every label that is known beforehand at 0."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "keystile_requests_total",
            "Requests answered, by BigQuery method and HTTP status.",
            ["method", "status"],
            registry=self.registry,
        )
        self.shadows = Counter(
            "keystile_shadow_rules_total",
            "What rules in shadow would have done.",
            ("rule", "would"),
            registry=self.registry,
        )
        self.decisions = Counter(
            "keystile_decisions_total",
            "Policy decisions, by effect.",
            ["effect"],
            registry=self.registry,
        )
        self.limit_refusals = Counter(
            "keystile_limit_refusals_total",
            "Requests refused by a limit of the policy, by the reason that clients get.",
            ["reason"],
            registry=self.registry,
        )
        self.bytes_billed = Counter(
            "keystile_bytes_billed_total",
            "Bytes that BigQuery bills for the queries that ended well.",
            registry=self.registry,
        )
        for reason in ("quotaExceeded", "rateLimitExceeded"):
            self.limit_refusals.labels(reason)
        self.query_seconds = Histogram(
            "keystile_query_seconds",
            "Seconds that a query spends in each phase.",
            ["phase"],
            buckets=_QUERY_BUCKETS,
            registry=self.registry,
        )
        self.approvals_pending = Gauge(
            "keystile_approvals_pending",
            "Queries that wait for a person.",
            registry=self.registry,
        )
        self.agents_stopping = Gauge(
            "keystile_agents_stopping",
            "Disablings of agents after which something may run still.",
            registry=self.registry,
        )
        self.masked_columns = Counter(
            "keystile_masked_columns_total",
            "Protected columns that were masked, counted once per query.",
            registry=self.registry,
        )
        self.found_values = Counter(
            "keystile_found_values_total",
            "Values that no label covers, found in results and masked, by entity.",
            ["entity"],
            registry=self.registry,
        )
        self.recording_append_seconds = Histogram(
            "keystile_recording_append_seconds",
            "Seconds until a recorded event was durable.",
            buckets=_APPEND_BUCKETS,
            registry=self.registry,
        )
        self.token_exchanges = Counter(
            "keystile_token_exchanges_total",
            "Requests at the token endpoint, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.token_refusals = Counter(
            "keystile_token_refusals_total",
            "Requests refused at the token endpoint, by what was wrong.",
            ["fault"],
            registry=self.registry,
        )
        self.authority_expiry = Gauge(
            "keystile_authority_expiry_timestamp_seconds",
            "When the next of the authorities that are trusted ends, by where.",
            ["at"],
            registry=self.registry,
        )
        self.certificate_expiry = Gauge(
            "keystile_certificate_expiry_timestamp_seconds",
            "When a certificate that is shown ends, in seconds since 1970.",
            ["at"],
            registry=self.registry,
        )
        self.policy = PolicyMetrics(self.registry)
        for fault in TokenFault:
            self.token_refusals.labels(fault)
        for effect in Effect:
            self.decisions.labels(effect)
        for phase in Phase:
            self.query_seconds.labels(phase)
        for outcome in Exchange:
            self.token_exchanges.labels(outcome)

    def watch_engine(self, stats: Callable[[], EngineStats]) -> None:
        """Read the GoogleSQL pool's own numbers at every scrape."""
        self.registry.register(EngineCollector(stats))

    def watch_cache(self, stats: Callable[[], CacheStats]) -> None:
        """Read the numbers of the cache of the engine's answers at every scrape."""
        self.registry.register(CacheCollector(stats))

    def watch_credentials(self, stats: Callable[[], Iterable[CredentialStats]]) -> None:
        """Read how old the credentials for BigQuery are at every scrape."""
        self.registry.register(CredentialCollector(stats))

    def text(self) -> bytes:
        """Give the page that Prometheus scrapes (text format 0.0.4)."""
        return generate_latest(self.registry)
