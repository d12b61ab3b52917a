"""A whole `livemos run` in a process of its own, and a gRPC subscriber that remembers what it was told."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
import soundfile
from programs import Program, free_port

from livemos.proto.quality.v1 import quality_pb2, quality_pb2_grpc


class LiveAgent:
    """`with LiveAgent("--payload-type", "111=opus/48000/2") as agent:` hears RTP on 127.0.0.1:`agent.port`.

    listen: False when the flags name their own source.
    """

    def __init__(self, *flags: str, port: int | None = None, listen: bool = True) -> None:
        self.port = free_port() if port is None else port
        own = ("--rtp", f"127.0.0.1:{self.port}") if listen else ()
        command = [sys.executable, "-m", "livemos.agent", "run", "--grpc", "127.0.0.1:0", *own, *flags]
        self._program = Program(command)
        self._changed = threading.Condition()
        self._messages: list[Any] = []

    def __enter__(self) -> Self:
        self._program.__enter__()
        try:
            ready = self._program.wait_for_line(r"gRPC on [\w.]+:(\d+)", timeout_seconds=60)
            self._channel = grpc.insecure_channel(f"127.0.0.1:{ready[1]}", options=[("grpc.enable_http_proxy", 0)])
            self._stub: Any = quality_pb2_grpc.QualityServiceStub(self._channel)
            self._call = self._stub.Subscribe(quality_pb2.SubscribeRequest(), wait_for_ready=True, timeout=120)
            self._reader = threading.Thread(target=self._read, name="subscriber", daemon=True)
            self._reader.start()
            self.wait_for(lambda: bool(self._messages))  # hello: from here on nothing is missed
        except BaseException:
            self._program.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.cancel()
        self._reader.join(5)
        self._channel.close()
        self._program.stop()

    def wait_for(self, condition: Callable[[], object], timeout_seconds: float = 10.0) -> None:
        """Return once `condition` holds over what the subscriber has; fail at the timeout."""
        with self._changed:
            happened = self._changed.wait_for(condition, timeout_seconds)
        assert happened, "what the test waits for did not happen\n" + "\n".join(
            [*(str(event).replace("\n", " ") for event in self.events()), *self._program.lines[-20:]]
        )

    def segments(self) -> list[Any]:
        return [message.segment for message in self._messages if message.WhichOneof("message") == "segment"]

    def events(self) -> list[Any]:
        return [message.event for message in self._messages if message.WhichOneof("message") == "event"]

    def stalled(self) -> set[str]:
        """Streams that have stalled at least once."""
        return {event.source_id for event in self.events() if event.kind == quality_pb2.EVENT_KIND_MEDIA_STALLED}

    def sources(self) -> list[Any]:
        """What the agent says of its streams now."""
        return list(self._stub.ListSources(quality_pb2.ListSourcesRequest(), timeout=5).sources)

    def only_source(self) -> Any:
        """The one stream there is, once its sender has stopped and all it sent is scored."""
        source = self._at_rest()
        due = max(0, int(2 * source.heard_duration.ToTimedelta().total_seconds() + 1e-6) - 1)
        self.wait_for(lambda: len(self.segments()) >= due)
        (source,) = self.sources()
        return source

    def _at_rest(self, attempts: int = 40) -> Any:
        """Stalled, and the same a little later: a sender of bursts stalls in the middle of a call."""
        pause, before = threading.Event(), None
        for _ in range(attempts):
            self.wait_for(self.stalled, timeout_seconds=15)
            (source,) = self.sources()
            if source.state == quality_pb2.SOURCE_STATE_STALLED and before == source.media:
                return source
            before = source.media
            pause.wait(0.7)
        raise AssertionError("the stream never came to rest")

    def level_difference_db(self, clip: Path, *, aligned: bool) -> float:
        """Energy of the scored seconds against the clip's. aligned: the stream begins with the clip and may end early.

        Not aligned: the stream holds all of the clip and silence around it.
        """
        samples, rate = soundfile.read(clip, dtype="float64")
        every_second = [segment for segment in self.segments() if segment.segment_index % 2 == 0]
        heard = sum(10 ** (s.level_dbov / 10) for s in every_second if s.HasField("level_dbov"))
        covered = samples[: len(every_second) * rate] if aligned else samples
        return float(10 * np.log10(heard / (np.square(covered).sum() / rate)))

    def _read(self) -> None:
        try:
            for message in self._call:
                with self._changed:
                    self._messages.append(message)
                    self._changed.notify_all()
        except grpc.RpcError:  # cancelled at the end of the test
            return
