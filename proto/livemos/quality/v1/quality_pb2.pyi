import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_WARMING_UP: _ClassVar[Reason]
    REASON_TOO_SHORT: _ClassVar[Reason]
    REASON_NO_SPEECH: _ClassVar[Reason]
    REASON_SILENCE: _ClassVar[Reason]
    REASON_NO_MEDIA: _ClassVar[Reason]
    REASON_TOO_MUCH_CONCEALED: _ClassVar[Reason]
    REASON_UNSUPPORTED_CODEC: _ClassVar[Reason]
    REASON_ENCRYPTED: _ClassVar[Reason]
    REASON_BAD_AUDIO: _ClassVar[Reason]
    REASON_OVERLOADED: _ClassVar[Reason]
    REASON_MODEL_ERROR: _ClassVar[Reason]
    REASON_CUT: _ClassVar[Reason]

class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAUSE_UNSPECIFIED: _ClassVar[Cause]
    CAUSE_NOISE: _ClassVar[Cause]
    CAUSE_LOSS: _ClassVar[Cause]
    CAUSE_CLIPPING: _ClassVar[Cause]
    CAUSE_BAND: _ClassVar[Cause]
    CAUSE_LEVEL: _ClassVar[Cause]
    CAUSE_ECHO_OR_TALKER: _ClassVar[Cause]
    CAUSE_REVERBERATION: _ClassVar[Cause]
    CAUSE_CODEC: _ClassVar[Cause]
    CAUSE_NONE: _ClassVar[Cause]

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_SOURCE_STARTED: _ClassVar[EventKind]
    EVENT_KIND_SOURCE_ENDED: _ClassVar[EventKind]
    EVENT_KIND_MEDIA_STALLED: _ClassVar[EventKind]
    EVENT_KIND_MEDIA_RESUMED: _ClassVar[EventKind]
    EVENT_KIND_CODEC_CHANGED: _ClassVar[EventKind]
    EVENT_KIND_UNKNOWN_PAYLOAD_TYPE: _ClassVar[EventKind]
    EVENT_KIND_TIMESTAMP_JUMP: _ClassVar[EventKind]
    EVENT_KIND_SEQUENCE_RESTART: _ClassVar[EventKind]
    EVENT_KIND_DEVICE_LOST: _ClassVar[EventKind]
    EVENT_KIND_DEVICE_BACK: _ClassVar[EventKind]
    EVENT_KIND_SEGMENTS_REFUSED: _ClassVar[EventKind]
    EVENT_KIND_MODEL_FAILED: _ClassVar[EventKind]
    EVENT_KIND_TIMESTAMP_BACKWARD: _ClassVar[EventKind]
    EVENT_KIND_CLOCK_RATE_MISMATCH: _ClassVar[EventKind]
    EVENT_KIND_SSRC_CHANGED: _ClassVar[EventKind]
    EVENT_KIND_SSRC_COLLISION: _ClassVar[EventKind]
    EVENT_KIND_SOURCE_MOVED: _ClassVar[EventKind]
    EVENT_KIND_PTIME_CHANGED: _ClassVar[EventKind]
    EVENT_KIND_TELEPHONE_EVENT: _ClassVar[EventKind]
    EVENT_KIND_MEDIA_RATE_LOW: _ClassVar[EventKind]
    EVENT_KIND_MEDIA_RATE_HIGH: _ClassVar[EventKind]
    EVENT_KIND_MEDIA_RATE_RESTORED: _ClassVar[EventKind]
    EVENT_KIND_CAPTURE_LOSS: _ClassVar[EventKind]
    EVENT_KIND_DECRYPTION_FAILED: _ClassVar[EventKind]
    EVENT_KIND_DISAGREEMENT: _ClassVar[EventKind]
    EVENT_KIND_DISAGREEMENT_ENDED: _ClassVar[EventKind]
    EVENT_KIND_BYTE_ORDER_SUSPECTED: _ClassVar[EventKind]

class Mark(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MARK_UNSPECIFIED: _ClassVar[Mark]
    MARK_TELEPHONE_EVENT: _ClassVar[Mark]
    MARK_CAPTURE_LOSS: _ClassVar[Mark]

class SourceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_STATE_UNSPECIFIED: _ClassVar[SourceState]
    SOURCE_STATE_WAITING: _ClassVar[SourceState]
    SOURCE_STATE_ACTIVE: _ClassVar[SourceState]
    SOURCE_STATE_STALLED: _ClassVar[SourceState]
    SOURCE_STATE_UNDESCRIBED: _ClassVar[SourceState]
    SOURCE_STATE_ENDED: _ClassVar[SourceState]

class View(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_UNSPECIFIED: _ClassVar[View]
    VIEW_SEGMENT: _ClassVar[View]
    VIEW_ROLLING: _ClassVar[View]
    VIEW_EVENT: _ClassVar[View]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_LINEAR16: _ClassVar[Encoding]
    ENCODING_FLOAT32: _ClassVar[Encoding]
REASON_UNSPECIFIED: Reason
REASON_WARMING_UP: Reason
REASON_TOO_SHORT: Reason
REASON_NO_SPEECH: Reason
REASON_SILENCE: Reason
REASON_NO_MEDIA: Reason
REASON_TOO_MUCH_CONCEALED: Reason
REASON_UNSUPPORTED_CODEC: Reason
REASON_ENCRYPTED: Reason
REASON_BAD_AUDIO: Reason
REASON_OVERLOADED: Reason
REASON_MODEL_ERROR: Reason
REASON_CUT: Reason
CAUSE_UNSPECIFIED: Cause
CAUSE_NOISE: Cause
CAUSE_LOSS: Cause
CAUSE_CLIPPING: Cause
CAUSE_BAND: Cause
CAUSE_LEVEL: Cause
CAUSE_ECHO_OR_TALKER: Cause
CAUSE_REVERBERATION: Cause
CAUSE_CODEC: Cause
CAUSE_NONE: Cause
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_SOURCE_STARTED: EventKind
EVENT_KIND_SOURCE_ENDED: EventKind
EVENT_KIND_MEDIA_STALLED: EventKind
EVENT_KIND_MEDIA_RESUMED: EventKind
EVENT_KIND_CODEC_CHANGED: EventKind
EVENT_KIND_UNKNOWN_PAYLOAD_TYPE: EventKind
EVENT_KIND_TIMESTAMP_JUMP: EventKind
EVENT_KIND_SEQUENCE_RESTART: EventKind
EVENT_KIND_DEVICE_LOST: EventKind
EVENT_KIND_DEVICE_BACK: EventKind
EVENT_KIND_SEGMENTS_REFUSED: EventKind
EVENT_KIND_MODEL_FAILED: EventKind
EVENT_KIND_TIMESTAMP_BACKWARD: EventKind
EVENT_KIND_CLOCK_RATE_MISMATCH: EventKind
EVENT_KIND_SSRC_CHANGED: EventKind
EVENT_KIND_SSRC_COLLISION: EventKind
EVENT_KIND_SOURCE_MOVED: EventKind
EVENT_KIND_PTIME_CHANGED: EventKind
EVENT_KIND_TELEPHONE_EVENT: EventKind
EVENT_KIND_MEDIA_RATE_LOW: EventKind
EVENT_KIND_MEDIA_RATE_HIGH: EventKind
EVENT_KIND_MEDIA_RATE_RESTORED: EventKind
EVENT_KIND_CAPTURE_LOSS: EventKind
EVENT_KIND_DECRYPTION_FAILED: EventKind
EVENT_KIND_DISAGREEMENT: EventKind
EVENT_KIND_DISAGREEMENT_ENDED: EventKind
EVENT_KIND_BYTE_ORDER_SUSPECTED: EventKind
MARK_UNSPECIFIED: Mark
MARK_TELEPHONE_EVENT: Mark
MARK_CAPTURE_LOSS: Mark
SOURCE_STATE_UNSPECIFIED: SourceState
SOURCE_STATE_WAITING: SourceState
SOURCE_STATE_ACTIVE: SourceState
SOURCE_STATE_STALLED: SourceState
SOURCE_STATE_UNDESCRIBED: SourceState
SOURCE_STATE_ENDED: SourceState
VIEW_UNSPECIFIED: View
VIEW_SEGMENT: View
VIEW_ROLLING: View
VIEW_EVENT: View
ENCODING_UNSPECIFIED: Encoding
ENCODING_LINEAR16: Encoding
ENCODING_FLOAT32: Encoding

class SubscribeRequest(_message.Message):
    __slots__ = ("source_ids", "labels", "views", "minimum_interval", "heartbeat_interval", "largest_batch")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SOURCE_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LARGEST_BATCH_FIELD_NUMBER: _ClassVar[int]
    source_ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    views: _containers.RepeatedScalarFieldContainer[View]
    minimum_interval: _duration_pb2.Duration
    heartbeat_interval: _duration_pb2.Duration
    largest_batch: int
    def __init__(self, source_ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., views: _Optional[_Iterable[_Union[View, str]]] = ..., minimum_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., largest_batch: _Optional[int] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("hello", "segment", "rolling", "event", "heartbeat", "gap", "batch")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ROLLING_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    segment: Segment
    rolling: Rolling
    event: Event
    heartbeat: Heartbeat
    gap: Gap
    batch: Batch
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., segment: _Optional[_Union[Segment, _Mapping]] = ..., rolling: _Optional[_Union[Rolling, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("updates",)
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[SubscribeResponse]
    def __init__(self, updates: _Optional[_Iterable[_Union[SubscribeResponse, _Mapping]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("schema_version", "feed_id", "model_id", "model_sha256", "segment_duration", "stride_duration", "sample_rate_hz", "heartbeat_interval")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEED_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_DURATION_FIELD_NUMBER: _ClassVar[int]
    STRIDE_DURATION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    feed_id: str
    model_id: str
    model_sha256: str
    segment_duration: _duration_pb2.Duration
    stride_duration: _duration_pb2.Duration
    sample_rate_hz: int
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, schema_version: _Optional[int] = ..., feed_id: _Optional[str] = ..., model_id: _Optional[str] = ..., model_sha256: _Optional[str] = ..., segment_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., stride_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sample_rate_hz: _Optional[int] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("source_id", "sequence", "segment_index", "start_sample", "start_time", "ready_time", "mos", "mos_std", "noisiness", "coloration", "discontinuity", "loudness", "speech_ratio", "level_dbov", "clipped_ratio", "concealed_ratio", "bandwidth_hz", "reason", "model_id", "cause", "cause_probability", "snr_db", "marks")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    READY_TIME_FIELD_NUMBER: _ClassVar[int]
    MOS_FIELD_NUMBER: _ClassVar[int]
    MOS_STD_FIELD_NUMBER: _ClassVar[int]
    NOISINESS_FIELD_NUMBER: _ClassVar[int]
    COLORATION_FIELD_NUMBER: _ClassVar[int]
    DISCONTINUITY_FIELD_NUMBER: _ClassVar[int]
    LOUDNESS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_RATIO_FIELD_NUMBER: _ClassVar[int]
    LEVEL_DBOV_FIELD_NUMBER: _ClassVar[int]
    CLIPPED_RATIO_FIELD_NUMBER: _ClassVar[int]
    CONCEALED_RATIO_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_HZ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    sequence: int
    segment_index: int
    start_sample: int
    start_time: _timestamp_pb2.Timestamp
    ready_time: _timestamp_pb2.Timestamp
    mos: float
    mos_std: float
    noisiness: float
    coloration: float
    discontinuity: float
    loudness: float
    speech_ratio: float
    level_dbov: float
    clipped_ratio: float
    concealed_ratio: float
    bandwidth_hz: float
    reason: Reason
    model_id: str
    cause: Cause
    cause_probability: float
    snr_db: float
    marks: _containers.RepeatedScalarFieldContainer[Mark]
    def __init__(self, source_id: _Optional[str] = ..., sequence: _Optional[int] = ..., segment_index: _Optional[int] = ..., start_sample: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ready_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., mos: _Optional[float] = ..., mos_std: _Optional[float] = ..., noisiness: _Optional[float] = ..., coloration: _Optional[float] = ..., discontinuity: _Optional[float] = ..., loudness: _Optional[float] = ..., speech_ratio: _Optional[float] = ..., level_dbov: _Optional[float] = ..., clipped_ratio: _Optional[float] = ..., concealed_ratio: _Optional[float] = ..., bandwidth_hz: _Optional[float] = ..., reason: _Optional[_Union[Reason, str]] = ..., model_id: _Optional[str] = ..., cause: _Optional[_Union[Cause, str]] = ..., cause_probability: _Optional[float] = ..., snr_db: _Optional[float] = ..., marks: _Optional[_Iterable[_Union[Mark, str]]] = ...) -> None: ...

class RollingWindow(_message.Message):
    __slots__ = ("window", "mos", "mos_std", "mos_minimum", "mos_p05", "noisiness", "coloration", "discontinuity", "loudness", "scored_segments", "unscored_segments", "coverage_ratio", "speech_duration", "reason", "cause", "cause_probability", "snr_db")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MOS_FIELD_NUMBER: _ClassVar[int]
    MOS_STD_FIELD_NUMBER: _ClassVar[int]
    MOS_MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MOS_P05_FIELD_NUMBER: _ClassVar[int]
    NOISINESS_FIELD_NUMBER: _ClassVar[int]
    COLORATION_FIELD_NUMBER: _ClassVar[int]
    DISCONTINUITY_FIELD_NUMBER: _ClassVar[int]
    LOUDNESS_FIELD_NUMBER: _ClassVar[int]
    SCORED_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    UNSCORED_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    SPEECH_DURATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    window: _duration_pb2.Duration
    mos: float
    mos_std: float
    mos_minimum: float
    mos_p05: float
    noisiness: float
    coloration: float
    discontinuity: float
    loudness: float
    scored_segments: int
    unscored_segments: int
    coverage_ratio: float
    speech_duration: _duration_pb2.Duration
    reason: Reason
    cause: Cause
    cause_probability: float
    snr_db: float
    def __init__(self, window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., mos: _Optional[float] = ..., mos_std: _Optional[float] = ..., mos_minimum: _Optional[float] = ..., mos_p05: _Optional[float] = ..., noisiness: _Optional[float] = ..., coloration: _Optional[float] = ..., discontinuity: _Optional[float] = ..., loudness: _Optional[float] = ..., scored_segments: _Optional[int] = ..., unscored_segments: _Optional[int] = ..., coverage_ratio: _Optional[float] = ..., speech_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[Reason, str]] = ..., cause: _Optional[_Union[Cause, str]] = ..., cause_probability: _Optional[float] = ..., snr_db: _Optional[float] = ...) -> None: ...

class MediaStatistics(_message.Message):
    __slots__ = ("codec", "received_packets", "expected_packets", "lost_packets", "late_packets", "duplicate_packets", "reordered_packets", "jitter", "playout_delay", "network_mos", "discarded_packets", "recovered_packets", "stray_packets", "rfc_jitter", "clock_drift_ppm", "recent_network_mos", "remote_lost_ratio", "remote_jitter", "remote_mos")
    CODEC_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_PACKETS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PACKETS_FIELD_NUMBER: _ClassVar[int]
    LOST_PACKETS_FIELD_NUMBER: _ClassVar[int]
    LATE_PACKETS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_PACKETS_FIELD_NUMBER: _ClassVar[int]
    REORDERED_PACKETS_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    PLAYOUT_DELAY_FIELD_NUMBER: _ClassVar[int]
    NETWORK_MOS_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_PACKETS_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_PACKETS_FIELD_NUMBER: _ClassVar[int]
    STRAY_PACKETS_FIELD_NUMBER: _ClassVar[int]
    RFC_JITTER_FIELD_NUMBER: _ClassVar[int]
    CLOCK_DRIFT_PPM_FIELD_NUMBER: _ClassVar[int]
    RECENT_NETWORK_MOS_FIELD_NUMBER: _ClassVar[int]
    REMOTE_LOST_RATIO_FIELD_NUMBER: _ClassVar[int]
    REMOTE_JITTER_FIELD_NUMBER: _ClassVar[int]
    REMOTE_MOS_FIELD_NUMBER: _ClassVar[int]
    codec: str
    received_packets: int
    expected_packets: int
    lost_packets: int
    late_packets: int
    duplicate_packets: int
    reordered_packets: int
    jitter: _duration_pb2.Duration
    playout_delay: _duration_pb2.Duration
    network_mos: float
    discarded_packets: int
    recovered_packets: int
    stray_packets: int
    rfc_jitter: _duration_pb2.Duration
    clock_drift_ppm: float
    recent_network_mos: float
    remote_lost_ratio: float
    remote_jitter: _duration_pb2.Duration
    remote_mos: float
    def __init__(self, codec: _Optional[str] = ..., received_packets: _Optional[int] = ..., expected_packets: _Optional[int] = ..., lost_packets: _Optional[int] = ..., late_packets: _Optional[int] = ..., duplicate_packets: _Optional[int] = ..., reordered_packets: _Optional[int] = ..., jitter: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., playout_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., network_mos: _Optional[float] = ..., discarded_packets: _Optional[int] = ..., recovered_packets: _Optional[int] = ..., stray_packets: _Optional[int] = ..., rfc_jitter: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., clock_drift_ppm: _Optional[float] = ..., recent_network_mos: _Optional[float] = ..., remote_lost_ratio: _Optional[float] = ..., remote_jitter: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., remote_mos: _Optional[float] = ...) -> None: ...

class Rolling(_message.Message):
    __slots__ = ("source_id", "sequence", "segment_index", "end_sample", "ready_time", "windows", "level_dbov", "state", "media", "model_id")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    READY_TIME_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_DBOV_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    sequence: int
    segment_index: int
    end_sample: int
    ready_time: _timestamp_pb2.Timestamp
    windows: _containers.RepeatedCompositeFieldContainer[RollingWindow]
    level_dbov: float
    state: SourceState
    media: MediaStatistics
    model_id: str
    def __init__(self, source_id: _Optional[str] = ..., sequence: _Optional[int] = ..., segment_index: _Optional[int] = ..., end_sample: _Optional[int] = ..., ready_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., windows: _Optional[_Iterable[_Union[RollingWindow, _Mapping]]] = ..., level_dbov: _Optional[float] = ..., state: _Optional[_Union[SourceState, str]] = ..., media: _Optional[_Union[MediaStatistics, _Mapping]] = ..., model_id: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("source_id", "sequence", "kind", "time", "detail")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    sequence: int
    kind: EventKind
    time: _timestamp_pb2.Timestamp
    detail: str
    def __init__(self, source_id: _Optional[str] = ..., sequence: _Optional[int] = ..., kind: _Optional[_Union[EventKind, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., detail: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("time",)
    TIME_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("missed",)
    MISSED_FIELD_NUMBER: _ClassVar[int]
    missed: _containers.RepeatedCompositeFieldContainer[MissedRange]
    def __init__(self, missed: _Optional[_Iterable[_Union[MissedRange, _Mapping]]] = ...) -> None: ...

class MissedRange(_message.Message):
    __slots__ = ("source_id", "first_sequence", "last_sequence", "missed_count")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MISSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    first_sequence: int
    last_sequence: int
    missed_count: int
    def __init__(self, source_id: _Optional[str] = ..., first_sequence: _Optional[int] = ..., last_sequence: _Optional[int] = ..., missed_count: _Optional[int] = ...) -> None: ...

class ListSourcesRequest(_message.Message):
    __slots__ = ("source_ids", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SOURCE_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    source_ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, source_ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListSourcesResponse(_message.Message):
    __slots__ = ("sources",)
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    def __init__(self, sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ...) -> None: ...

class GetSourceRequest(_message.Message):
    __slots__ = ("source_id",)
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    def __init__(self, source_id: _Optional[str] = ...) -> None: ...

class GetSourceResponse(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: Source
    def __init__(self, source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("source_id", "kind", "labels", "detail", "state", "reason", "start_time", "heard_duration", "media", "last_sequence", "segment", "rolling")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    HEARD_DURATION_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ROLLING_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    kind: str
    labels: _containers.ScalarMap[str, str]
    detail: str
    state: SourceState
    reason: Reason
    start_time: _timestamp_pb2.Timestamp
    heard_duration: _duration_pb2.Duration
    media: MediaStatistics
    last_sequence: int
    segment: Segment
    rolling: Rolling
    def __init__(self, source_id: _Optional[str] = ..., kind: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., detail: _Optional[str] = ..., state: _Optional[_Union[SourceState, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heard_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., media: _Optional[_Union[MediaStatistics, _Mapping]] = ..., last_sequence: _Optional[int] = ..., segment: _Optional[_Union[Segment, _Mapping]] = ..., rolling: _Optional[_Union[Rolling, _Mapping]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "model_id", "sha256", "licence", "sample_rate_hz", "segment_samples", "stride_samples", "engine")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    STRIDE_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    model_id: str
    sha256: str
    licence: str
    sample_rate_hz: int
    segment_samples: int
    stride_samples: int
    engine: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., model_id: _Optional[str] = ..., sha256: _Optional[str] = ..., licence: _Optional[str] = ..., sample_rate_hz: _Optional[int] = ..., segment_samples: _Optional[int] = ..., stride_samples: _Optional[int] = ..., engine: _Optional[str] = ...) -> None: ...

class AudioConfig(_message.Message):
    __slots__ = ("sample_rate_hz", "encoding", "channel_count", "source_id")
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    sample_rate_hz: int
    encoding: Encoding
    channel_count: int
    source_id: str
    def __init__(self, sample_rate_hz: _Optional[int] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., channel_count: _Optional[int] = ..., source_id: _Optional[str] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("config", "audio", "include_segments")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    config: AudioConfig
    audio: bytes
    include_segments: bool
    def __init__(self, config: _Optional[_Union[AudioConfig, _Mapping]] = ..., audio: _Optional[bytes] = ..., include_segments: bool = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("score",)
    SCORE_FIELD_NUMBER: _ClassVar[int]
    score: ClipScore
    def __init__(self, score: _Optional[_Union[ClipScore, _Mapping]] = ...) -> None: ...

class ClipScore(_message.Message):
    __slots__ = ("duration", "speech_duration", "sample_rate_hz", "mos", "mos_std", "noisiness", "coloration", "discontinuity", "loudness", "reason", "model_id", "segments", "cause", "cause_probability", "snr_db")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SPEECH_DURATION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    MOS_FIELD_NUMBER: _ClassVar[int]
    MOS_STD_FIELD_NUMBER: _ClassVar[int]
    NOISINESS_FIELD_NUMBER: _ClassVar[int]
    COLORATION_FIELD_NUMBER: _ClassVar[int]
    DISCONTINUITY_FIELD_NUMBER: _ClassVar[int]
    LOUDNESS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    speech_duration: _duration_pb2.Duration
    sample_rate_hz: int
    mos: float
    mos_std: float
    noisiness: float
    coloration: float
    discontinuity: float
    loudness: float
    reason: Reason
    model_id: str
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    cause: Cause
    cause_probability: float
    snr_db: float
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., speech_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sample_rate_hz: _Optional[int] = ..., mos: _Optional[float] = ..., mos_std: _Optional[float] = ..., noisiness: _Optional[float] = ..., coloration: _Optional[float] = ..., discontinuity: _Optional[float] = ..., loudness: _Optional[float] = ..., reason: _Optional[_Union[Reason, str]] = ..., model_id: _Optional[str] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., cause: _Optional[_Union[Cause, str]] = ..., cause_probability: _Optional[float] = ..., snr_db: _Optional[float] = ...) -> None: ...

class StreamingScoreRequest(_message.Message):
    __slots__ = ("config", "audio", "end")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    config: AudioConfig
    audio: bytes
    end: EndOfAudio
    def __init__(self, config: _Optional[_Union[AudioConfig, _Mapping]] = ..., audio: _Optional[bytes] = ..., end: _Optional[_Union[EndOfAudio, _Mapping]] = ...) -> None: ...

class EndOfAudio(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamingScoreResponse(_message.Message):
    __slots__ = ("segment", "rolling", "summary")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ROLLING_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    segment: Segment
    rolling: Rolling
    summary: ClipScore
    def __init__(self, segment: _Optional[_Union[Segment, _Mapping]] = ..., rolling: _Optional[_Union[Rolling, _Mapping]] = ..., summary: _Optional[_Union[ClipScore, _Mapping]] = ...) -> None: ...
