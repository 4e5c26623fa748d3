"""Numbers that others keep, read at every scrape, so that they need not know Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class EngineStats(Protocol):
    """What the GoogleSQL pool says of itself: three levels and three running totals."""

    @property
    def workers(self) -> int:
        """Workers alive."""
        ...

    @property
    def busy(self) -> int:
        """Workers that run a task now."""
        ...

    @property
    def queued(self) -> int:
        """Tasks that wait for a worker."""
        ...

    @property
    def restarts(self) -> Mapping[str, int]:
        """Workers replaced since the start, by why."""
        ...

    @property
    def waited_seconds(self) -> float:
        """How long all tasks that were run have waited for a worker, together."""
        ...

    @property
    def ran(self) -> int:
        """Tasks run since the start."""
        ...


class CacheStats(Protocol):
    """What the cache of the engine's answers says of itself."""

    @property
    def hits(self) -> int:
        """Answers that were known."""
        ...

    @property
    def misses(self) -> int:
        """Answers that were asked for."""
        ...

    @property
    def kept(self) -> int:
        """Answers kept now."""
        ...


class CredentialStats(Protocol):
    """What is known of one credential for BigQuery: `key` is a key's id, or empty for none."""

    @property
    def connection(self) -> str:
        """The connection that it belongs to."""
        ...

    @property
    def key(self) -> str:
        """The id of the key."""
        ...

    @property
    def age(self) -> float | None:
        """Seconds since the gateway first saw the key."""
        ...

    @property
    def expires(self) -> float | None:
        """When the last token ends, in UTC seconds since the epoch."""
        ...

    @property
    def rejections(self) -> int:
        """How often Google did not take a token of the connection."""
        ...


class EngineCollector(Collector):
    """Turns one `EngineStats` into metrics, so that the pool need not know Prometheus."""

    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        """Ask `stats` at every scrape."""
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Give them as they are now."""
        now = self._stats()
        yield GaugeMetricFamily("keystile_engine_workers", "GoogleSQL workers alive.", now.workers)
        yield GaugeMetricFamily(
            "keystile_engine_workers_busy", "GoogleSQL workers that run a task now.", now.busy
        )
        yield GaugeMetricFamily(
            "keystile_engine_queued", "Tasks that wait for a GoogleSQL worker.", now.queued
        )
        restarts = CounterMetricFamily(
            "keystile_engine_restarts_total", "GoogleSQL workers replaced, by why.", labels=["why"]
        )
        for why, count in now.restarts.items():
            restarts.add_metric([why], count)
        yield restarts
        yield CounterMetricFamily(
            "keystile_engine_waited_seconds_total",
            "Seconds that tasks have waited for a GoogleSQL worker.",
            now.waited_seconds,
        )
        yield CounterMetricFamily(
            "keystile_engine_tasks_total", "Tasks that the GoogleSQL workers ran.", now.ran
        )


class CacheCollector(Collector):
    """Turns one `CacheStats` into metrics."""

    def __init__(self, stats: Callable[[], CacheStats]) -> None:
        """Ask `stats` at every scrape."""
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Give them as they are now."""
        now = self._stats()
        asked = CounterMetricFamily(
            "keystile_engine_cache_total",
            "Answers of GoogleSQL that were known already, or not.",
            labels=["outcome"],
        )
        asked.add_metric(["hit"], now.hits)
        asked.add_metric(["miss"], now.misses)
        yield asked
        yield GaugeMetricFamily(
            "keystile_engine_cache_answers", "Answers of GoogleSQL that are kept.", now.kept
        )


class CredentialCollector(Collector):
    """Turns what is known of credentials into metrics."""

    def __init__(self, stats: Callable[[], Iterable[CredentialStats]]) -> None:
        """Ask `stats` at every scrape."""
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Give them as they are now."""
        age = GaugeMetricFamily(
            "keystile_credential_age_seconds",
            "Seconds since the gateway first saw a key for BigQuery.",
            labels=["connection", "key"],
        )
        expiry = GaugeMetricFamily(
            "keystile_credential_expiry_timestamp_seconds",
            "When the last token for BigQuery ends, in seconds since the epoch.",
            labels=["connection", "key"],
        )
        rejections = CounterMetricFamily(
            "keystile_credential_rejections_total",
            "Tokens of a connection that Google did not take.",
            labels=["connection"],
        )
        counts: dict[str, int] = {}
        for one in self._stats():
            counts[one.connection] = one.rejections
            if one.age is not None:
                age.add_metric([one.connection, one.key], one.age)
            if one.expires is not None:
                expiry.add_metric([one.connection, one.key], one.expires)
        for connection, count in counts.items():
            rejections.add_metric([connection], count)
        yield from (age, expiry, rejections)
