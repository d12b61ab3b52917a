"""Every kind of source by the `type` its settings name; to add one: a file here, a line in SOURCES, its settings."""

from __future__ import annotations

from collections.abc import Callable

from livemos.agent.sources.base import Source
from livemos.agent.sources.file import FileSource
from livemos.agent.sources.microphone import MicrophoneSource
from livemos.agent.sources.pcap import PcapSource
from livemos.agent.sources.rtp import RtpSource
from livemos.agent.sources.stdin import StdinSource

SOURCES: dict[str, Callable[..., Source]] = {
    "rtp": RtpSource,
    "pcap": PcapSource,
    "microphone": MicrophoneSource,
    "file": FileSource,
    "stdin": StdinSource,
}
