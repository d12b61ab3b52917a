"""Why a score is unset. A score that cannot be given is unset with one of these, never a made-up number."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """The first reason that applies, in the order the gate asks (agent/gate.py); values are the names in tables."""

    WARMING_UP = "warming_up"  # fewer than one whole segment heard so far
    TOO_SHORT = "too_short"  # the clip ended before one whole segment
    NO_SPEECH = "no_speech"  # sound, but too little speech in it to judge
    SILENCE = "silence"  # nothing above the silence level
    NO_MEDIA = "no_media"  # packets or samples stopped arriving
    TOO_MUCH_CONCEALED = "too_much_concealed"  # most of the segment was made up by the receiver
    UNSUPPORTED_CODEC = "unsupported_codec"  # media arrives that nothing here decodes, or no payload map names it
    ENCRYPTED = "encrypted"  # media arrives that cannot be decrypted
    CUT = "cut"  # the capture did not keep whole packets (snaplen)
    BAD_AUDIO = "bad_audio"  # NaN, infinite, constant or absurdly large samples
    OVERLOADED = "overloaded"  # the segment was refused for want of time or room
    MODEL_ERROR = "model_error"  # the engine failed or answered with a non-finite value
