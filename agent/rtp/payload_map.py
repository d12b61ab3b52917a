"""What a payload type carries: static numbers from RFC 3551 section 6, the others from SDP or configuration only.

A number that nobody described stays unknown: 111 is often Opus, but guessing would score noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from livemos.agent.codecs import Encoding, codec_of, make_decoder
from livemos.agent.errors import CodecError

STATIC: dict[int, str] = {
    0: "PCMU/8000",
    3: "GSM/8000",
    8: "PCMA/8000",
    9: "G722/8000",
    10: "L16/44100/2",
    11: "L16/44100",
    13: "CN/8000",
    18: "G729/8000",
}


class Role(Enum):
    """What a packet is for the listener."""

    AUDIO = "audio"
    COMFORT_NOISE = "comfort_noise"  # RFC 3389: silence until the next packet
    TELEPHONE_EVENT = "telephone_event"  # RFC 4733: keys, no audio
    REDUNDANT = "redundant"  # RFC 2198: audio, and earlier audio again
    UNKNOWN = "unknown"  # nothing says what it is, or nothing here decodes it


_SPECIAL = {"cn": Role.COMFORT_NOISE, "telephone-event": Role.TELEPHONE_EVENT, "red": Role.REDUNDANT}


class PayloadMap:
    """Payload type to encoding; configured entries go before static ones.

    static: False leaves the numbers of RFC 3551 out: everything that is not configured is unknown.
    configured: for example {111: "opus/48000/2", 101: "telephone-event/8000"}. Raises CodecError for an encoding that
    is not well formed, has no codec here, or has a number that RTP cannot carry.
    """

    def __init__(self, configured: Mapping[int, str] | None = None, *, static: bool = True) -> None:
        self._encodings = {number: Encoding.parse(text) for number, text in STATIC.items()} if static else {}
        for number, text in (configured or {}).items():
            if not 0 <= number <= 127 or 64 <= number <= 95:
                raise CodecError(
                    f'payload type {number} = "{text}" cannot be: use 0 to 63 or 96 to 127 (RFC 5761 section 4)'
                )
            encoding = Encoding.parse(text)
            if encoding.key not in _SPECIAL:
                make_decoder(encoding)  # not only known: this machine's libraries have it, and its parameters are fine
            self._encodings[number] = encoding
        # asked three times a packet, and fixed from here on
        self._roles = {number: _role(encoding) for number, encoding in self._encodings.items()}

    def encoding_of(self, payload_type: int) -> Encoding | None:
        """None where nothing describes the payload type."""
        return self._encodings.get(payload_type)

    def role_of(self, payload_type: int) -> Role:
        """UNKNOWN where nothing describes the payload type, or nothing here decodes it."""
        return self._roles.get(payload_type, Role.UNKNOWN)


def _role(encoding: Encoding) -> Role:
    if encoding.key in _SPECIAL:
        return _SPECIAL[encoding.key]
    try:
        codec_of(encoding)
    except CodecError:
        return Role.UNKNOWN
    return Role.AUDIO
