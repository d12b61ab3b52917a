"""Every error livemos raises on purpose.

LivemosError
├── ConfigError          a setting, flag or file of settings is wrong
├── SourceError          a socket, device, file or pipe cannot be opened or read
│   └── DeviceError      a sound device is unknown, busy or gone
├── MediaError           audio or packets that cannot be understood
│   ├── CodecError       a payload its codec refuses, or a codec that is not there
│   ├── PacketError      a datagram that is not a valid RTP packet
│   └── SdpError         a session description that cannot be used
├── BundleError          a model bundle that is damaged, unknown or does not fit
├── EngineError          the runtime refused to load or to score
├── CapacityError        a configured cap is reached: the newest work is refused
└── MissingExtraError    a command needs an optional part that is not installed

The message says what, where and what to do. Callers' mistakes in Python raise ValueError.
"""

from __future__ import annotations


class LivemosError(Exception):
    """Base of all domain errors; `str(error)` is one line for people."""


class ConfigError(LivemosError):
    """A setting is unknown, has the wrong type or lies outside its range."""


class SourceError(LivemosError):
    """A source of audio cannot be opened or read."""


class DeviceError(SourceError):
    """A sound device is unknown, busy or gone."""


class MediaError(LivemosError):
    """Audio or packets that cannot be understood."""


class CodecError(MediaError):
    """A payload that its codec refuses, or a codec that is not available here."""


class PacketError(MediaError):
    """A datagram that is not a valid RTP packet."""


class SdpError(MediaError):
    """A session description that cannot be used."""


class BundleError(LivemosError):
    """A model bundle that is damaged, of an unknown version, or does not fit this agent."""


class EngineError(LivemosError):
    """The inference runtime refused to load the model or to score a batch."""


class CapacityError(LivemosError):
    """A configured cap is reached; the newest work is refused, what runs goes on."""


class MissingExtraError(LivemosError):
    """A command needs an optional part of livemos that is not installed."""

    def __init__(self, command: str, extra: str, missing: str) -> None:
        self.command = command
        self.extra = extra
        self.missing = missing
        super().__init__(
            f"`livemos {command}` needs the extra [{extra}] ({missing} is not installed); "
            f"install it with: pip install 'livemos[{extra}]'"
        )
