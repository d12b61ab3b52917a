"""How payload formats pack frames: the bytes of one RTP packet to frames as FFmpeg's decoders take them.

AMR: RFC 4867, octet-aligned and bandwidth-efficient. G.726 and G.729: RFC 3551 sections 4.5.4 and 4.5.6. GSM: section
4.5.8. Speex: RFC 5574. iLBC: RFC 3952. Every function raises CodecError for octets that its format cannot be.
"""

from __future__ import annotations

import numpy as np

from livemos.agent.codecs.libav import Frame
from livemos.agent.errors import CodecError

# bits of each frame type: RFC 4867 section 3.6, 3GPP TS 26.101 and 26.201
AMR_FRAME_BITS = {**dict(enumerate((95, 103, 118, 134, 148, 159, 204, 244, 39))), 15: 0}
AMR_WB_FRAME_BITS = {**dict(enumerate((132, 177, 253, 285, 317, 365, 397, 461, 477, 40))), 14: 0, 15: 0}
_AMR_SPEECH, _AMR_WB_SPEECH = 8, 9  # frame types below are speech
_G729_FRAME_BYTES, _G729_SID_BYTES = 10, 2
_GSM_FRAME_BYTES = 33
_SPEEX_NARROW_BITS = (5, 43, 119, 160, 220, 300, 364, 492, 79)  # by submode, its five bits included
_SPEEX_LAYER_BITS = (4, 36, 112, 192, 352)  # of each wider layer, its four bits included
_SPEEX_TERMINATOR, _SPEEX_IN_BAND = 15, 14
ILBC_FRAME_BYTES = {20: 38, 30: 50}


def split_amr(payload: bytes, *, wide: bool, octet_aligned: bool) -> list[Frame]:
    """Frames in storage format: a header octet, then the speech bits (RFC 4867 sections 4.3, 4.4 and 5.3)."""
    bits_of, speech = (AMR_WB_FRAME_BITS, _AMR_WB_SPEECH) if wide else (AMR_FRAME_BITS, _AMR_SPEECH)
    total, position = 8 * len(payload), 8 if octet_aligned else 4  # behind the codec mode request
    value = int.from_bytes(payload)
    entry = 8 if octet_aligned else 6

    def take(at: int, count: int) -> int:
        if at + count > total:
            raise CodecError(f"an AMR payload of {len(payload)} bytes ends inside a frame; check octet-align")
        return value >> (total - at - count) & ((1 << count) - 1)

    table: list[tuple[int, int]] = []
    more = 1
    while more:
        head = take(position, 6)
        position += entry
        more = head >> 5
        kind = head >> 1 & 15
        if kind not in bits_of:
            raise CodecError(f"AMR frame type {kind} does not exist; check octet-align in its fmtp")
        table.append((kind, head & 1))
    frames = []
    for kind, quality in table:
        count = bits_of[kind]
        octets = -(-count // 8)
        body = take(position, count) << (8 * octets - count)
        position += 8 * octets if octet_aligned else count
        head = kind << 3 | quality << 2
        frames.append(Frame(bytes([head]) + body.to_bytes(octets), speech=kind < speech))
    if total - position >= 8:  # more than padding: the table was read in the wrong place
        raise CodecError(f"an AMR payload of {len(payload)} bytes holds more than its frames; check octet-align")
    return frames


def split_g729(payload: bytes) -> list[Frame]:
    """Frames of 10 ms; two octets at the end are comfort noise of Annex B, which FFmpeg does not decode."""
    rest = len(payload) % _G729_FRAME_BYTES
    if rest not in (0, _G729_SID_BYTES):
        raise CodecError(f"a G.729 payload is frames of 10 bytes and perhaps one of 2, got {len(payload)} bytes")
    frames = _pieces(payload[: len(payload) - rest], _G729_FRAME_BYTES, "G.729")
    return [*frames, Frame(payload[len(payload) - rest :], speech=False)] if rest else frames


def split_gsm(payload: bytes) -> list[Frame]:
    """Frames of 20 ms; each begins with the signature 1101."""
    frames = _pieces(payload, _GSM_FRAME_BYTES, "GSM")
    if any(frame.octets[0] >> 4 != 0xD for frame in frames):
        raise CodecError("a GSM frame begins with the bits 1101; is this payload type another codec?")
    return frames


def split_ilbc(payload: bytes, mode_ms: int | None) -> list[Frame]:
    """Frames of 30 or 20 ms; without a mode the length tells."""
    modes = [mode_ms] if mode_ms is not None else [30, 20]
    for mode in modes:
        if mode in ILBC_FRAME_BYTES and payload and len(payload) % ILBC_FRAME_BYTES[mode] == 0:
            return _pieces(payload, ILBC_FRAME_BYTES[mode], "iLBC")
    raise CodecError(f"an iLBC payload is frames of 50 bytes (30 ms) or 38 (20 ms), got {len(payload)} bytes")


def split_g726(payload: bytes, bits: int, *, first_code_in_low_bits: bool) -> list[Frame]:
    """The whole payload as one frame, codes from the high bits down, as ATM AAL2 packs them and FFmpeg takes them."""
    if not payload or (len(payload) % bits and 8 % bits):
        raise CodecError(f"a G726-{8 * bits} payload is a multiple of {bits} bytes, got {len(payload)}")
    if not first_code_in_low_bits:
        return [Frame(payload)]
    codes = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little").reshape(-1, bits)
    return [Frame(np.packbits(codes[:, ::-1]).tobytes())]


def split_speex(payload: bytes, layers: int) -> list[Frame]:
    """Frames of 20 ms, which end anywhere in an octet; layers: 0 at 8 kHz, 1 at 16, 2 at 32."""
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    frames: list[Frame] = []
    begin = 0
    while bits.size - begin >= 5:
        mode = _number(bits, begin + 1, 4)
        if mode == _SPEEX_TERMINATOR:
            break
        if mode == _SPEEX_IN_BAND:
            begin += 9 + _speex_message_bits(_number(bits, begin + 5, 4))
            continue
        if bits[begin] or mode >= len(_SPEEX_NARROW_BITS):
            raise CodecError(f"a Speex frame of mode {mode} cannot be decoded; is this payload type another codec?")
        end = begin + _SPEEX_NARROW_BITS[mode]
        for _ in range(layers):
            if end < bits.size and bits[end]:
                layer = _number(bits, end + 1, 3)
                if layer >= len(_SPEEX_LAYER_BITS):
                    raise CodecError(f"a Speex layer of mode {layer} does not exist")
                end += _SPEEX_LAYER_BITS[layer]
        if end > bits.size:
            raise CodecError(f"a Speex payload of {len(payload)} bytes ends inside a frame")
        # padded as RFC 5574 section 3.3 pads a packet: a zero, then ones
        padding = np.ones(-(end - begin) % 8, np.uint8)
        padding[:1] = 0
        frames.append(Frame(np.packbits(np.concatenate([bits[begin:end], padding])).tobytes()))
        begin = end
    return frames


def _speex_message_bits(kind: int) -> int:
    return (1, 1, 4, 4, 4, 4, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64)[kind]


def _number(bits: np.ndarray, begin: int, count: int) -> int:
    if begin + count > bits.size:
        raise CodecError("a Speex payload ends inside a frame's header")
    return int(bits[begin : begin + count] @ (1 << np.arange(count - 1, -1, -1)))


def _pieces(payload: bytes, size: int, name: str) -> list[Frame]:
    if len(payload) % size:
        raise CodecError(f"a payload of {name} is frames of {size} bytes, got {len(payload)} bytes")
    return [Frame(payload[begin : begin + size]) for begin in range(0, len(payload), size)]
