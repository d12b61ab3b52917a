"""Every metric, declared once: name, unit, help, labels. Labels come from small closed sets; never a source_id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from livemos.agent.causes import Cause
from livemos.agent.reasons import Reason

_LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


class FeedStatistics(Protocol):
    """What the hub counts."""

    @property
    def published_items(self) -> int: ...
    @property
    def delivered_items(self) -> int: ...
    @property
    def dropped_items(self) -> int: ...
    @property
    def subscribers(self) -> int: ...


class Metrics:
    """Prometheus metrics in a registry of their own, so that two agents in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.streams_open = Gauge("livemos_streams_open", "Streams open now.", registry=self.registry)
        self.streams_refused = Counter(
            "livemos_streams_refused_total", "Streams refused at the cap limits.streams.", registry=self.registry
        )
        segments = Counter(
            "livemos_segments_total",
            "Segments by outcome: scored, or the reason why the score is unset.",
            ["outcome"],
            registry=self.registry,
        )
        # a counter that exists at zero can be alarmed on
        self._segments = {reason: segments.labels(reason.value if reason else "scored") for reason in (None, *Reason)}
        causes = Counter(
            "livemos_segment_causes_total",
            "Scored segments by what lowers their score most, where the model gives causes.",
            ["cause"],
            registry=self.registry,
        )
        self._causes = {cause: causes.labels(cause.value) for cause in Cause}
        self.scoring_seconds = Histogram(
            "livemos_scoring_seconds",
            "Time of one engine call with features, over all streams due.",
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.score_latency_seconds = Histogram(
            "livemos_score_latency_seconds",
            "From the play-out of a segment's last sample to the publication of its score.",
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )

    def count_segment(self, reason: Reason | None, cause: Cause | None) -> None:
        """One more segment, scored (None) or unset for `reason`; with its cause, where one is known."""
        self._segments[reason].inc()
        if cause is not None:
            self._causes[cause].inc()

    def watch_hub(self, statistics: Callable[[], FeedStatistics]) -> None:
        """Export the hub's own counters when scraped."""
        self.registry.register(_HubCollector(statistics))

    def watch_sources(self, statistics: Mapping[str, Callable[[], Mapping[str, int]]]) -> None:
        """Export the counters of the configured sources, labelled by their configured names."""
        self.registry.register(_SourceCollector(statistics))


class _HubCollector(Collector):
    def __init__(self, statistics: Callable[[], FeedStatistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        now = self._statistics()
        yield CounterMetricFamily("livemos_feed_published_items", "Feed items published.", now.published_items)
        yield CounterMetricFamily(
            "livemos_feed_delivered_items", "Feed items taken by subscribers.", now.delivered_items
        )
        yield CounterMetricFamily(
            "livemos_feed_dropped_items", "Feed items slow subscribers missed, each stated in a gap.", now.dropped_items
        )
        yield GaugeMetricFamily("livemos_feed_subscribers", "Subscribe calls open now.", now.subscribers)


class _SourceCollector(Collector):
    def __init__(self, statistics: Mapping[str, Callable[[], Mapping[str, int]]]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[CounterMetricFamily]:
        families: dict[str, CounterMetricFamily] = {}
        for source, statistics in self._statistics.items():
            for counter, value in statistics().items():
                if counter not in families:
                    text = f"What the sources count as {counter.replace('_', ' ')}."
                    families[counter] = CounterMetricFamily(f"livemos_source_{counter}", text, labels=["source"])
                families[counter].add_metric([source], value)
        yield from families.values()
