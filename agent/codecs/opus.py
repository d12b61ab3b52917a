"""Opus (RFC 6716, RFC 7587) by calling libopus itself: FFmpeg's wrapper offers neither in-band FEC nor concealment.

The decoder runs at 16 kHz mono, the rate of everything behind it: libopus leaves out the spectrum above 8 kHz while
decoding, which costs less than decoding at 48 kHz and resampling, adds no delay, and a stereo packet becomes the mean
of its channels inside the codec. RTP timestamps stay at 48 kHz (RFC 7587 section 4.1).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path

import numpy as np

from livemos.agent.errors import CodecError
from livemos.agent.records import Samples

_APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
_SET_BITRATE, _SET_INBAND_FEC, _SET_PACKET_LOSS = 4002, 4012, 4014  # requests of opus_encoder_ctl, opus_defines.h
_FRAME_SAMPLES_48K = (  # by the TOC's configuration number, RFC 6716 section 3.1, table 2
    *(480, 960, 1920, 2880) * 3,  # SILK: narrow, medium, wide band
    *(480, 960) * 2,  # hybrid: super-wide, full band
    *(120, 240, 480, 960) * 4,  # CELT: narrow, wide, super-wide, full band
)
_FIRST_CELT_CONFIGURATION = 16  # without SILK there is no in-band FEC
_LONGEST_PACKET_SAMPLES_48K = 5760  # 120 ms


def packet_samples_48k(payload: bytes) -> int:
    """Duration in ticks of the 48 kHz clock, from the TOC octet and the frame count. Raises CodecError."""
    if not payload:
        raise CodecError("an Opus payload begins with its TOC octet, got no bytes")
    code = payload[0] & 3
    if code == 3 and len(payload) < 2:
        raise CodecError("an Opus payload of code 3 has a frame count octet, got 1 byte")
    frames = (1, 2, 2, payload[1] & 63 if code == 3 else 0)[code]
    samples = frames * _FRAME_SAMPLES_48K[payload[0] >> 3]
    if not 0 < samples <= _LONGEST_PACKET_SAMPLES_48K:
        raise CodecError(f"an Opus packet lasts 2.5 to 120 ms, its TOC says {samples / 48:g} ms")
    return samples


def has_redundancy(payload: bytes) -> bool:
    """True when the packet's SILK frames carry the frames before them again: in-band FEC (RFC 6716 section 4.2.4)."""
    if not payload or payload[0] >> 3 >= _FIRST_CELT_CONFIGURATION:
        return False
    begin = _first_frame(payload)
    if begin is None or begin >= len(payload):
        return False
    # SILK's header: an activity bit for each of its 20 ms frames, then the redundancy flag; a side channel alike
    frames = max(1, _FRAME_SAMPLES_48K[payload[0] >> 3] // 960)
    header = payload[begin]
    side = bool(payload[0] & 4) and bool(header >> (6 - 2 * frames) & 1) if frames <= 3 else False
    return bool(header >> (7 - frames) & 1) or side


def is_dtx(payload: bytes) -> bool:
    """True for a packet without a frame: its length alone proves it (RFC 6716 section 3.2.1); longer is no proof."""
    code = payload[0] & 3 if payload else 3
    return len(payload) == 1 if code in (0, 1) else code == 2 and len(payload) == 2


def _first_frame(payload: bytes) -> int | None:
    """Index of the first octet of the first frame, None when the framing ends early (RFC 6716 section 3.2)."""
    code = payload[0] & 3
    if code < 2:
        return 1
    if code == 2:
        return None if len(payload) < 2 else 1 + _length_octets(payload[1])
    if len(payload) < 2:
        return None
    position, count = 2, payload[1]
    if count & 0x40:  # padding: octets of 255 go on
        while position < len(payload) and payload[position] == 255:
            position += 1
        position += 1
    if count & 0x80:  # lengths of all frames but the last
        for _ in range((count & 63) - 1):
            if position >= len(payload):
                return None
            position += _length_octets(payload[position])
    return position


def _length_octets(first: int) -> int:
    return 2 if first >= 252 else 1


@functools.cache
def library() -> ctypes.CDLL:
    """libopus: the system's, else the copy that PyAV's wheel brings. Raises CodecError when there is none."""
    for candidate in ("libopus.so.0", "libopus.0.dylib", "libopus-0.dll", *_copies_of_the_av_wheel()):
        try:
            return _declare(ctypes.CDLL(candidate))
        except OSError:
            continue
    raise CodecError("libopus is not installed; install libopus0 (Debian), or PyAV from its wheel: pip install av")


def _copies_of_the_av_wheel() -> list[str]:
    spec = importlib.util.find_spec("av")
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent
    folders = (package.parent / "av.libs", package / ".dylibs")
    return sorted(str(file) for folder in folders for file in folder.glob("libopus*"))


def _declare(opus: ctypes.CDLL) -> ctypes.CDLL:
    integer, pointer, floats = ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)
    opus.opus_decoder_get_size.argtypes = opus.opus_encoder_get_size.argtypes = [integer]
    opus.opus_decoder_init.argtypes = [pointer, ctypes.c_int32, integer]
    opus.opus_encoder_init.argtypes = [pointer, ctypes.c_int32, integer, integer]
    opus.opus_decode_float.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int32, floats, integer, integer]
    opus.opus_encode_float.argtypes = [pointer, floats, integer, ctypes.c_char_p, ctypes.c_int32]
    opus.opus_encode_float.restype = ctypes.c_int32
    opus.opus_strerror.restype = opus.opus_get_version_string.restype = ctypes.c_char_p
    return opus


def library_version() -> str:
    """For example "libopus 1.5.2"."""
    version: bytes = library().opus_get_version_string()
    return version.decode()


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise CodecError(f"libopus {what}: {library().opus_strerror(result).decode()}")
    return result


class OpusDecoder:
    clock_rate_hz = 48_000
    sample_rate_hz = 16_000

    def __init__(self) -> None:
        opus = library()
        # the state lives in memory of ours, so there is nothing to free
        self._state = ctypes.create_string_buffer(opus.opus_decoder_get_size(1))
        _checked(opus.opus_decoder_init(self._state, self.sample_rate_hz, 1), "did not start a decoder")
        self._decode = opus.opus_decode_float

    def packet_samples(self, payload: bytes) -> int:
        return packet_samples_48k(payload) // 3

    def decode(self, payload: bytes) -> Samples:
        return self._run(payload, self.packet_samples(payload), fec=False)

    def conceal(self, samples: int, next_payload: bytes | None = None) -> Samples:
        """FEC of `next_payload` for the last missing packet where it carries any, libopus's own concealment before."""
        # libopus makes up whole 2.5 ms frames; a remainder is cut off
        whole = -(-samples // 40) * 40
        if next_payload:
            return self._run(next_payload, whole, fec=True)[:samples]
        return self._run(None, whole, fec=False)[:samples]

    def recoverable_samples(self, next_payload: bytes) -> int:
        """One frame: of a packet of several, libopus reads the first one's redundancy alone."""
        return _FRAME_SAMPLES_48K[next_payload[0] >> 3] // 3 if has_redundancy(next_payload) else 0

    def is_pause(self, payload: bytes) -> bool:
        return is_dtx(payload)

    def _run(self, payload: bytes | None, samples: int, *, fec: bool) -> Samples:
        out = np.zeros(samples, np.float32)
        if samples:
            size = len(payload) if payload is not None else 0
            pointer = out.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            _checked(self._decode(self._state, payload, size, pointer, samples, int(fec)), f"refused {size} bytes")
        return np.clip(out, -1.0, 1.0, out=out)


class OpusEncoder:
    """Mono, 16 kHz in by default (so wide band at most); 48,000 gives full band.

    bitrate_bps: 6,000 to 510,000, None leaves it to libopus. expected_loss_ratio: how much redundancy FEC adds.
    """

    clock_rate_hz = 48_000

    def __init__(
        self,
        *,
        sample_rate_hz: int = 16_000,
        bitrate_bps: int | None = None,
        application: str = "voip",
        fec: bool = False,
        expected_loss_ratio: float = 0.0,
    ) -> None:
        if application not in _APPLICATIONS:
            raise CodecError(f'Opus knows no application "{application}"; choose one of {", ".join(_APPLICATIONS)}')
        self.sample_rate_hz = sample_rate_hz
        opus = library()
        self._state = ctypes.create_string_buffer(opus.opus_encoder_get_size(1))
        result = opus.opus_encoder_init(self._state, sample_rate_hz, 1, _APPLICATIONS[application])
        _checked(result, f"did not start an encoder at {sample_rate_hz} Hz")
        if bitrate_bps is not None:
            self._set(_SET_BITRATE, bitrate_bps)
        self._set(_SET_INBAND_FEC, int(fec))
        self._set(_SET_PACKET_LOSS, round(100 * expected_loss_ratio))

    def _set(self, request: int, value: int) -> None:
        # the control call is variadic in C: every argument has to be given its type here
        result = library().opus_encoder_ctl(self._state, ctypes.c_int(request), ctypes.c_int32(value))
        _checked(result, f"refused the setting {request} = {value}")

    def encode(self, samples: Samples) -> bytes:
        if samples.ndim != 1 or not samples.size:
            raise CodecError(f"an Opus packet is made of mono samples (N,), got the shape {samples.shape}")
        linear = np.ascontiguousarray(samples, np.float32)
        payload = ctypes.create_string_buffer(4000)
        pointer = linear.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        size = library().opus_encode_float(self._state, pointer, linear.size, payload, len(payload))
        return payload.raw[: _checked(size, f"does not encode {linear.size} samples at {self.sample_rate_hz} Hz")]
