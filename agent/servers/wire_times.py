"""Seconds as floats to the wire's two messages for time, and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(unix_seconds: float) -> Timestamp:
    """To the microsecond: a float of today's seconds holds no more."""
    wire = Timestamp()
    set_timestamp(wire, unix_seconds)
    return wire


def set_timestamp(wire: Timestamp, unix_seconds: float) -> None:
    """As `timestamp`, written into its place."""
    wire.seconds, microseconds = divmod(round(unix_seconds * 1e6), 1_000_000)
    wire.nanos = 1_000 * microseconds


def unix_seconds(wire: Timestamp) -> float:
    """The inverse of `timestamp`."""
    return wire.ToMicroseconds() / 1e6


def duration(seconds: float) -> Duration:
    """To the nanosecond."""
    wire = Duration()
    set_duration(wire, seconds)
    return wire


def set_duration(wire: Duration, seconds: float) -> None:
    """As `duration`, written into its place."""
    whole, nanoseconds = divmod(round(abs(seconds) * 1e9), 1_000_000_000)
    # both parts carry the sign; zeros are written, so that the field is set
    wire.seconds, wire.nanos = (whole, nanoseconds) if seconds >= 0 else (-whole, -nanoseconds)


def seconds(wire: Duration) -> float:
    """The inverse of `duration`."""
    return wire.ToNanoseconds() / 1e9
