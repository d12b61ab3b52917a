"""What travels between the stages: frozen records, one idea each. Shapes: N samples, B segments, K outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from livemos.agent.causes import Cause
from livemos.agent.reasons import Reason

Samples = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000  # the one rate inside: ring, segments, features
SEGMENT_SAMPLES = 16_000  # 1 s
STRIDE_SAMPLES = 8_000  # 0.5 s
SEGMENT_SECONDS = SEGMENT_SAMPLES / SAMPLE_RATE_HZ
STRIDE_SECONDS = STRIDE_SAMPLES / SAMPLE_RATE_HZ


class StreamState(Enum):
    """Where a stream is in its life."""

    WAITING = "waiting"  # opened, no media yet
    ACTIVE = "active"
    STALLED = "stalled"  # media stopped without an end
    UNDESCRIBED = "undescribed"  # packets arrive, but nothing says how to decode them
    ENDED = "ended"


class EventKind(Enum):
    """What happened to a stream, apart from scores."""

    SOURCE_STARTED = "source_started"
    SOURCE_ENDED = "source_ended"
    MEDIA_STALLED = "media_stalled"
    MEDIA_RESUMED = "media_resumed"
    CODEC_CHANGED = "codec_changed"
    UNKNOWN_PAYLOAD_TYPE = "unknown_payload_type"
    TIMESTAMP_JUMP = "timestamp_jump"
    SEQUENCE_RESTART = "sequence_restart"
    DEVICE_LOST = "device_lost"
    DEVICE_BACK = "device_back"
    SEGMENTS_REFUSED = "segments_refused"
    MODEL_FAILED = "model_failed"
    TIMESTAMP_BACKWARD = "timestamp_backward"
    CLOCK_RATE_MISMATCH = "clock_rate_mismatch"
    SSRC_CHANGED = "ssrc_changed"
    SSRC_COLLISION = "ssrc_collision"
    SOURCE_MOVED = "source_moved"
    PTIME_CHANGED = "ptime_changed"
    TELEPHONE_EVENT = "telephone_event"
    MEDIA_RATE_LOW = "media_rate_low"
    MEDIA_RATE_HIGH = "media_rate_high"
    MEDIA_RATE_RESTORED = "media_rate_restored"
    CAPTURE_LOSS = "capture_loss"
    DECRYPTION_FAILED = "decryption_failed"
    DISAGREEMENT = "disagreement"
    DISAGREEMENT_ENDED = "disagreement_ended"
    BYTE_ORDER_SUSPECTED = "byte_order_suspected"


class Mark(Enum):
    """What a span of audio should be known by, though it is scored."""

    TELEPHONE_EVENT = "telephone_event"  # a key or tone was signalled in its place
    CAPTURE_LOSS = "capture_loss"  # this machine lost packets of it


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioBlock:
    """Contiguous mono audio of one stream, all of it received or all of it concealed.

    samples: (N,) float32, full scale 1.0; not checked here (the gate refuses NaN).
    sample_rate_hz: rate of `samples`.
    concealed: True when the receiver made these samples up (lost, late or missing media).
    part_ready_seconds: where the block is several packets of equal length, when the last sample of each was played out.
    ready_monotonic_seconds: when the last sample was played out to the listener; latency is counted from here.
    """

    samples: Samples
    sample_rate_hz: int
    concealed: bool = False
    ready_monotonic_seconds: float
    part_ready_seconds: Sequence[float] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDescription:
    """Who a stream is; fixed for its life."""

    source_id: str
    kind: str  # the source's registry name: rtp, microphone, file, stdin, push
    labels: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""  # for people: device name, path, address


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStatistics:
    """Counters since the stream began; unset where the source has no packets. RFC 3550 A.3 and A.8."""

    codec: str | None = None  # "PCMU/8000", "opus/48000/2", "pcm"
    received_packets: int | None = None
    expected_packets: int | None = None
    lost_packets: int | None = None
    late_packets: int | None = None
    duplicate_packets: int | None = None
    reordered_packets: int | None = None
    jitter_seconds: float | None = None
    playout_delay_seconds: float | None = None  # the listener profile's, reported apart from latency
    network_mos: float | None = None  # what the network alone allows, 1 to 5 (agent/rtp/network_mos.py)
    discarded_packets: int | None = None  # arrived, but not played: late, or refused by their codec
    recovered_packets: int | None = None  # lost or late, but heard through in-band FEC or RED
    stray_packets: int | None = None  # of this SSRC, but of no sequence of it
    rfc_jitter_seconds: float | None = None  # without exclusions, to compare with RTCP
    recent_network_mos: float | None = None  # of the last 5 s
    remote_lost_ratio: float | None = None  # what the far receiver last said of the stream (RTCP RR), never believed
    remote_jitter_seconds: float | None = None
    remote_mos: float | None = None  # listening quality by RTCP XR
    clock_drift_ppm: float | None = None  # the sender's clock against this one; positive: the sender is fast


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentScore:
    """The score of samples [start_sample, start_sample + 16,000) of one stream at 16 kHz.

    mos, noisiness, coloration, discontinuity, loudness: 1 to 5, higher is better; all unset when `reason` is set.
    mos_std: the model's standard deviation of mos, > 0. speech_ratio: 0 to 1. level_dbov: RMS in dB to the overload
    point (0 dBov = full-scale square wave), unset for digital silence. concealed_ratio, clipped_ratio: 0 to 1.
    cause: what lowers the score most, and the model's probability of that; unset where the bundle gives no causes.
    snr_db: of noisiness, 0 to 40, unset beyond (agent/causes.py). Evidence is measured whatever the cause.
    """

    source_id: str
    segment_index: int
    start_sample: int
    start_unix_seconds: float
    ready_unix_seconds: float  # when the last sample was played out
    mos: float | None = None
    mos_std: float | None = None
    noisiness: float | None = None
    coloration: float | None = None
    discontinuity: float | None = None
    loudness: float | None = None
    speech_ratio: float | None = None
    level_dbov: float | None = None
    clipped_ratio: float = 0.0
    concealed_ratio: float = 0.0
    bandwidth_hz: float | None = None
    snr_db: float | None = None
    cause: Cause | None = None
    cause_probability: float | None = None
    reason: Reason | None = None
    model_id: str = ""
    marks: tuple[Mark, ...] = ()  # of any part of it


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingWindow:
    """Speech-weighted statistics of the scored segments inside one window.

    window_seconds: 5, 30 or 60; None is the whole call. mos: mean weighted by speech_ratio; mos_minimum and mos_p05
    (5th percentile) are of single segments. mos_std: of that mean (agent/doubt.py).
    coverage_ratio: scored segments over all segments due in the window.
    cause: the one with the largest mean probability, weighted like mos; snr_db: that of noisiness here.
    """

    window_seconds: float | None
    mos: float | None = None
    mos_std: float | None = None
    mos_minimum: float | None = None
    mos_p05: float | None = None
    noisiness: float | None = None
    coloration: float | None = None
    discontinuity: float | None = None
    loudness: float | None = None
    scored_segments: int = 0
    unscored_segments: int = 0
    coverage_ratio: float = 0.0
    speech_seconds: float = 0.0
    snr_db: float | None = None
    cause: Cause | None = None
    cause_probability: float | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingScore:
    """All windows of one stream as of the segment that ends at `end_sample`."""

    source_id: str
    segment_index: int
    end_sample: int
    ready_unix_seconds: float
    windows: tuple[RollingWindow, ...]
    level_dbov: float | None = None  # of the newest segment
    state: StreamState = StreamState.ACTIVE
    media: MediaStatistics = field(default_factory=MediaStatistics)
    model_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEvent:
    """Something that happened to a stream."""

    source_id: str
    kind: EventKind
    unix_seconds: float
    detail: str = ""


FeedPayload = SegmentScore | RollingScore | SourceEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedItem:
    """A payload as published: `sequence` is dense and strictly rising per source, from 1."""

    sequence: int
    payload: FeedPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSnapshot:
    """What is known of a stream now."""

    description: StreamDescription
    state: StreamState
    reason: Reason | None = None  # why scores are missing in this state
    started_unix_seconds: float
    media: MediaStatistics
    heard_samples: int = 0  # at 16 kHz, since the first
    segment: SegmentScore | None = None
    rolling: RollingScore | None = None
    last_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """Which model scores, as its bundle says."""

    name: str
    version: str
    model_id: str  # name-version-<first 12 hex digits of sha256>
    sha256: str  # of the graph file
    licence: str
    sample_rate_hz: int
    segment_samples: int
    stride_samples: int
    engine: str  # "onnxruntime 1.31.1 (CPU, fp32)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """A whole clip: the speech-weighted mean of its segments; unset with a reason when none could be scored.

    cause, cause_probability, snr_db: as in RollingWindow.
    """

    seconds: float
    speech_seconds: float
    sample_rate_hz: int
    mos: float | None = None
    mos_std: float | None = None
    noisiness: float | None = None
    coloration: float | None = None
    discontinuity: float | None = None
    loudness: float | None = None
    snr_db: float | None = None
    cause: Cause | None = None
    cause_probability: float | None = None
    reason: Reason | None = None
    model_id: str = ""
    segments: tuple[SegmentScore, ...] = ()
