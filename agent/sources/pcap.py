"""A capture replayed: the receiver of the live path on the capture's own clock, faster than real time.

Nothing depends on the machine's clock or on threads: the same file gives the same blocks, events and numbers.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from livemos.agent.clock import Clock, ManualClock
from livemos.agent.errors import CodecError, SdpError, SourceError
from livemos.agent.file_names import shown
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.capture_file import CaptureError, CaptureReader
from livemos.agent.rtp.decapsulate import Decapsulator
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.playout import IDEAL
from livemos.agent.rtp.sdp import parse_sdp
from livemos.agent.rtp.seal import SrtpKey, Unsealer
from livemos.agent.sources.base import StreamSink
from livemos.agent.sources.rtp_receiver import RtpReceiver
from livemos.agent.sources.worker import Worker

_SWEEP_SECONDS = 0.05
_CLOCK_STEP_SECONDS = 1.0  # a frame so far behind the newest was not overtaken: the capturing clock was set back
# a file is no flood: only what bounds memory stays capped, the senders kept at once and the longest datagram
_CAPS = Caps(
    new_ssrcs_per_second=sys.maxsize,
    packets_per_second=sys.maxsize,
    bytes_per_second=sys.maxsize,
    source_packets_per_second=sys.maxsize,
    source_bytes_per_second=sys.maxsize,
)


def _reason(error: OSError | CaptureError) -> str:
    """Without the path, which an OSError says again."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


class CaptureReplay:
    """`run` plays a file into a sink; `clock` stands at the time of the frame being heard.

    payload_types: as of RtpSource; those of `sdp` go before. Stream ids are `name/<ssrc in hex>`.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        sink: StreamSink,
        clock: ManualClock,
        payload_types: Mapping[int, str] | None = None,
        sdp: Path | None = None,
        key: SrtpKey | None = None,
        labels: Mapping[str, str] | None = None,
        reorder_wait_seconds: float = 0.06,
        concealment: str = "pitch",
        idle_seconds: float = 30.0,
        wait_when_full: bool = False,
        profiles: Sequence[str] = (IDEAL,),
    ) -> None:
        """Raises SourceError for a payload map or an SDP that cannot be."""
        self.counts: Counter[str] = Counter()
        self._path, self._clock = path, clock
        try:
            description = parse_sdp(sdp.read_text(encoding="utf-8"), where=f"SDP file {sdp}") if sdp else None
            described = description.payload_types if description else {}
            payload_map = PayloadMap({**dict(payload_types or {}), **described})
        except (CodecError, SdpError, OSError, UnicodeDecodeError) as error:
            raise SourceError(f"source {name}: {error}") from error
        key = key or (description.keys[0] if description and description.keys else None)
        self._receiver = RtpReceiver(
            name=name,
            labels=labels or {},
            payload_map=payload_map,
            reorder_wait_seconds=reorder_wait_seconds,
            concealment=concealment,
            idle_seconds=idle_seconds,
            sink=sink,
            counts=self.counts,
            unix=clock.unix,
            caps=_CAPS,
            unsealer=Unsealer(key) if key else None,
            wait_when_full=wait_when_full,
            profiles=profiles,
        )
        self._decapsulator = Decapsulator(self.counts)

    def run(self, worker: Worker | None = None) -> None:
        """Until the end of the file, or until `worker` is stopped. Raises SourceError for a file that is no capture."""
        try:
            with self._path.open("rb") as file:
                reader = CaptureReader(file)
                self._play(reader, worker)
        except (OSError, CaptureError) as error:
            self._receiver.close("the capture cannot be read further")
            raise SourceError(f"capture {shown(self._path)}: {_reason(error)}") from error
        finally:
            stopped = worker is not None and worker.stopping.is_set()
            self._receiver.close("stopped" if stopped else "end of the capture")
        if reader.truncated:
            self.counts["truncated_files"] += 1

    def _play(self, reader: CaptureReader, worker: Worker | None) -> None:
        start_nanoseconds: int | None = None
        next_sweep = self._clock.monotonic()
        base = self._clock.monotonic()
        for frame in reader:
            if worker is not None and worker.stopping.is_set():
                return
            if start_nanoseconds is None:
                start_nanoseconds = frame.nanoseconds
            # times count from the first frame: a float of seconds since 1970 would cost the jitter its digits
            reached = self._clock.monotonic()
            now = base + (frame.nanoseconds - start_nanoseconds) / 1e9
            if now < reached - _CLOCK_STEP_SECONDS:
                start_nanoseconds -= round((reached - now) * 1e9)
                self.counts["clock_steps"] += 1
            now = max(reached, base + (frame.nanoseconds - start_nanoseconds) / 1e9)
            while next_sweep <= now:
                self._advance(next_sweep)
                self._receiver.sweep(next_sweep)
                next_sweep = self._next_sweep(next_sweep, now)
            self._advance(now)
            self.counts["received_packets"] += 1
            if frame.cut:
                self.counts["cut_packets"] += 1
            datagram = self._decapsulator.open(frame.link_type, frame.data, now)
            if datagram is not None:
                self._receiver.hear(datagram.payload, datagram.source, datagram.destination, now, cut=frame.cut)

    def _next_sweep(self, swept: float, now: float) -> float:
        """Hours without a packet are not swept step by step once nobody is left to notice them."""
        return swept + _SWEEP_SECONDS if self._receiver.senders else max(swept + _SWEEP_SECONDS, now)

    def _advance(self, now: float) -> None:
        """Up to `now`, in the order in which gaps fall due."""
        while (due := self._receiver.next_due_seconds) is not None and due <= now:
            self._clock.sleep_until(due)
            self._receiver.tick(due)
        self._clock.sleep_until(now)


class PcapSource:
    """`livemos run --pcap FILE`: a replay as a source, waiting where the scoring thread is behind."""

    def __init__(
        self,
        *,
        name: str,
        path: Path,
        payload_types: Mapping[int, str] | None = None,
        sdp: Path | None = None,
        labels: Mapping[str, str] | None = None,
        profiles: Sequence[str] = (IDEAL,),
        sink: StreamSink,
        clock: Clock,
    ) -> None:
        self._name = name
        self._path = path
        # the feed's times are those of this agent: the replay begins now
        replay_clock = ManualClock(monotonic=clock.monotonic(), unix=clock.unix())
        self._replay = CaptureReplay(
            path,
            name=name,
            sink=sink,
            clock=replay_clock,
            payload_types=payload_types,
            sdp=sdp,
            labels=labels,
            profiles=profiles,
            wait_when_full=True,
        )
        self._worker = Worker(name, self._run)

    @property
    def name(self) -> str:
        return self._name

    def start(self) -> None:
        """Raises SourceError: the file is not there, or is no capture."""
        try:
            with self._path.open("rb") as file:
                next(iter(CaptureReader(file)), None)
        except (OSError, CaptureError) as error:
            raise SourceError(f"source {self._name}: capture {shown(self._path)}: {_reason(error)}") from error
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        return self._worker.wait(timeout_seconds)

    @property
    def failed(self) -> bool:
        """The capture is damaged; what came before was scored."""
        return self._worker.failed

    def statistics(self) -> dict[str, int]:
        """As of RtpSource, with what the capture itself lost or cut."""
        return dict(self._replay.counts)

    def _run(self) -> None:
        self._replay.run(self._worker)
