"""Media time to wall clock by RTCP sender reports, taken only while they are sane (RFC 3550 section 6.4.1)."""

from __future__ import annotations

from livemos.agent.rtp.rtcp import SenderReport
from livemos.agent.rtp.wraparound import difference32

NTP_TO_UNIX_SECONDS, NTP_ERA_SECONDS = 2_208_988_800, 2**32
FARTHEST_SECONDS = 24 * 3_600.0  # from the local clock
SLOPE_TOLERANCE_RATIO = 0.01


class WallClock:
    """One sender's. `insane_reports` counts those whose clock stands still, runs wrong or lies a day off."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None  # Unix seconds, RTP timestamp
        self.insane_reports = 0

    def heard(self, report: SenderReport, clock_rate_hz: int, local_unix_seconds: float) -> bool:
        """True when the report was taken."""
        wall = report.ntp_seconds - NTP_TO_UNIX_SECONDS + report.ntp_fraction
        # 32 bits of seconds end in February 2036: the era is the one nearest to our own clock
        wall += NTP_ERA_SECONDS * round((local_unix_seconds - wall) / NTP_ERA_SECONDS)
        sane = abs(wall - local_unix_seconds) <= FARTHEST_SECONDS
        if sane and self._last is not None:
            last_wall, last_timestamp = self._last
            passed = wall - last_wall
            media = difference32(report.rtp_timestamp, last_timestamp) / clock_rate_hz
            sane = passed > 0 and abs(media - passed) <= SLOPE_TOLERANCE_RATIO * passed
        if not sane:
            self.insane_reports += 1
            return False
        self._last = wall, report.rtp_timestamp
        return True

    def unix_seconds(self, timestamp: int, clock_rate_hz: int) -> float | None:
        """When the media at `timestamp` was captured by the sender's clock; None before a sane report."""
        if self._last is None:
            return None
        wall, base = self._last
        return wall + difference32(timestamp, base) / clock_rate_hz
