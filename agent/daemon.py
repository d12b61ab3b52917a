"""The agent: settings in, a running feed out. Starts everything in order and ends it in the opposite one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Self

from prometheus_client import start_http_server

from livemos.agent.batching import BatchPlan, measure_costs, plan_batches
from livemos.agent.bundle import Bundle, load_bundle
from livemos.agent.clock import Clock, SystemClock
from livemos.agent.engine import make_engine
from livemos.agent.engine.base import Engine
from livemos.agent.errors import SourceError
from livemos.agent.hub import Hub
from livemos.agent.metrics import Metrics
from livemos.agent.pipeline import AROUND_CALL_SECONDS, Pipeline
from livemos.agent.records import ModelDescription
from livemos.agent.scorer import Scorer
from livemos.agent.segment_scorer import SegmentScorer
from livemos.agent.servers.grpc_server import GrpcServer
from livemos.agent.servers.scoring import ScoringLimits
from livemos.agent.settings import Settings
from livemos.agent.sources import SOURCES
from livemos.agent.sources.base import FallibleSource, Source

_GRACE_SECONDS = 2.0


def _measured(engine: Engine, bundle: Bundle, streams: int) -> BatchPlan:
    """Batches as this engine on this machine wants them, of at most a segment a stream. Raises EngineError."""
    engine.warm_up()
    features = bundle.manifest.features.build()
    shape = (features.frames(bundle.manifest.segment_samples), features.mel_bands)
    costs = measure_costs(engine.score, shape, time.monotonic, largest=streams)
    return plan_batches(costs, around_seconds=AROUND_CALL_SECONDS)


class Agent:
    """Sources, scoring thread and servers of one set of settings.

    `start` returns when scores can flow (health is SERVING); `stop` scores what was heard, tells subscribers and ends.
    Order of the stop: health, sources, scoring, feed, servers.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        """Load the model and prepare. Raises BundleError, EngineError, ConfigError."""
        self.settings = settings
        self._clock = clock or SystemClock()
        engine, limits = settings.engine, settings.limits
        bundle = load_bundle(engine.bundle)
        live_engine = make_engine(engine.name, bundle, threads=engine.threads)
        segment_scorer = SegmentScorer(bundle, live_engine)
        self.model: ModelDescription = segment_scorer.model
        self.metrics = Metrics()
        self.hub = Hub(self._clock, queue_items=limits.subscriber_queue_items, subscribers=limits.subscribers)
        self.metrics.watch_hub(self.hub.statistics)
        self.pipeline = Pipeline(
            scorer=segment_scorer,
            hub=self.hub,
            clock=self._clock,
            metrics=self.metrics,
            streams=limits.streams,
            batches=_measured(live_engine, bundle, limits.streams),
        )
        self._segment_scorer = segment_scorer
        self._server = GrpcServer(
            hub=self.hub,
            model=self.model,
            # calls of ScoringService have an engine of their own: a long clip must not hold up the live streams
            scorer=Scorer(engine.bundle, engine=engine.name, threads=engine.threads),
            clock=self._clock,
            host=settings.grpc.host,
            port=settings.grpc.port,
            reflection=settings.grpc.reflection,
            limits=ScoringLimits(calls=limits.scoring_calls),
        )
        self._sources: list[Source] = [self._make_source(source.model_dump()) for source in settings.sources]
        self.metrics.watch_sources({source.name: source.statistics for source in self._sources})
        self._cleanup = contextlib.ExitStack()

    def _make_source(self, settings: dict[str, object]) -> Source:
        kind = str(settings.pop("type"))
        source: Source = SOURCES[kind](sink=self.pipeline, clock=self._clock, **settings)
        return source

    @property
    def grpc_port(self) -> int:
        """The port that was bound, also when settings asked for a free one."""
        return self._server.port

    @property
    def sources(self) -> tuple[Source, ...]:
        """The running sources, in the order of the settings."""
        return tuple(self._sources)

    def start(self) -> None:
        """Bind, warm up, listen. Raises ConfigError, SourceError, EngineError; what had been started is ended again."""
        with contextlib.ExitStack() as started:
            self._server.start()
            started.callback(self._server.stop, _GRACE_SECONDS)
            started.callback(self.hub.close)
            if self.settings.metrics.port is not None:
                started.callback(self._serve_metrics(self.settings.metrics.host, self.settings.metrics.port))
            self._segment_scorer.warm_up()
            self.pipeline.start()
            started.callback(self.pipeline.stop)
            for source in self._sources:
                source.start()
                started.callback(source.stop)
            self._server.set_serving(True)
            started.callback(self._server.set_serving, False)
            self._cleanup = started.pop_all()

    def _serve_metrics(self, host: str, port: int) -> Callable[[], None]:
        try:
            server, _ = start_http_server(port, addr=host, registry=self.metrics.registry)
        except OSError as failure:
            raise SourceError(
                f"metrics on {host}:{port}: {failure.strerror or failure}; choose another metrics.port"
            ) from failure
        return server.shutdown

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """True once every source has ended by itself (files at their end); False at the timeout, or without sources."""
        for source in self._sources:
            if not source.wait(timeout_seconds):
                return False
        return bool(self._sources)

    @property
    def failed(self) -> bool:
        """True once a source has ended before its time: a damaged file, a broken pipe."""
        return any(isinstance(source, FallibleSource) and source.failed for source in self._sources)

    def stop(self) -> None:
        """End in order. Idempotent."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
