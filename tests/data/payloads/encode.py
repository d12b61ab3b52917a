"""Payloads of codecs that livemos hears and does not speak, made once by other people's encoders.

    PYTHONPATH=tests/support python tests/data/payloads/encode.py

Needs PyAV, the program ffmpeg with libgsm and libspeex, libbcg729 and libvo-amrwbenc (Debian: ffmpeg libbcg729-0
libvo-amrwbenc0). A file holds payloads one behind the other, each behind its length in two octets, high octet first.
"""

from __future__ import annotations

import ctypes
import io
import subprocess
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import soxr
from material import CLIPS, load

HERE = Path(__file__).parent
SECONDS = 2.0


def speech(rate_hz: int) -> np.ndarray:
    """The same 2 s for every codec, int16, with 0.5 s of silence behind: codecs with pauses then make one."""
    clip = load(CLIPS[1])[16_000 : 16_000 + round(SECONDS * 16_000)]
    both = np.concatenate([clip, np.zeros(8_000, np.float32)])
    return (np.clip(soxr.resample(both, 16_000, rate_hz) if rate_hz != 16_000 else both, -1, 1) * 32_767).astype(
        np.int16
    )


def by_pyav(encoder: str, rate_hz: int, bit_rate: int, **options: str) -> list[bytes]:
    context = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.layout, context.format, context.bit_rate = rate_hz, "mono", "s16", bit_rate
    context.options = options
    context.open()
    samples, size = speech(rate_hz), context.frame_size
    packets = []
    for begin in range(0, len(samples) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + size], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        packets += context.encode(frame)
    return [bytes(packet) for packet in [*packets, *context.encode(None)]]


def by_ffmpeg(encoder: str, rate_hz: int, form: str, *options: str) -> list[bytes]:
    command = ["ffmpeg", "-v", "error", "-f", "s16le", "-ar", str(rate_hz), "-ac", "1", "-i", "-", "-c:a", encoder]
    made = subprocess.run(
        [*command, *options, "-f", form, "-"], input=speech(rate_hz).tobytes(), capture_output=True, check=True
    )
    with av.open(io.BytesIO(made.stdout)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def by_bcg729() -> list[bytes]:
    library = ctypes.CDLL("libbcg729.so.0")
    library.initBcg729EncoderChannel.restype = ctypes.c_void_p
    library.initBcg729EncoderChannel.argtypes = [ctypes.c_uint8]
    library.bcg729Encoder.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint8)]
    channel = library.initBcg729EncoderChannel(1)
    frames, out, length = [], ctypes.create_string_buffer(16), ctypes.c_uint8()
    samples = speech(8_000)
    for begin in range(0, len(samples) - 79, 80):
        library.bcg729Encoder(channel, samples[begin : begin + 80].tobytes(), out, ctypes.byref(length))
        frames.append(out.raw[: length.value])
    return frames


def by_vo_amrwbenc(mode: int) -> list[bytes]:
    library = ctypes.CDLL("libvo-amrwbenc.so.0")
    library.E_IF_init.restype = ctypes.c_void_p
    library.E_IF_encode.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    state, out, samples = library.E_IF_init(), ctypes.create_string_buffer(128), speech(16_000)
    frames = []
    for begin in range(0, len(samples) - 319, 320):
        size = library.E_IF_encode(state, mode, samples[begin : begin + 320].tobytes(), out, 0)
        frames.append(out.raw[:size])
    return frames


def grouped(frames: list[bytes], count: int) -> Iterable[list[bytes]]:
    return (frames[begin : begin + count] for begin in range(0, len(frames), count))


AMR_BITS = (95, 103, 118, 134, 148, 159, 204, 244, 39)
AMR_WB_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)


def amr(frames: list[bytes], bits: tuple[int, ...], *, octet_aligned: bool) -> bytes:
    """One payload of frames in storage format, written as a string of bits (RFC 4867 sections 4.3 and 4.4)."""
    text = "1111" + ("0000" if octet_aligned else "")
    kinds = [frame[0] >> 3 & 15 for frame in frames]
    for index, kind in enumerate(kinds):
        text += f"{int(index < len(kinds) - 1)}{kind:04b}1" + ("00" if octet_aligned else "")
    for frame, kind in zip(frames, kinds, strict=True):
        count = bits[kind] if kind < len(bits) else 0
        body = "".join(f"{octet:08b}" for octet in frame[1:])[:count]
        text += body + ("0" * (-count % 8) if octet_aligned else "")
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def g729_payloads(frames: list[bytes]) -> list[bytes]:
    """20 ms a packet; a pause sends nothing, a comfort noise frame ends its packet."""
    return [joined for pair in grouped(frames, 2) if (joined := b"".join(pair)) and b"" not in pair[:1]]


def write(name: str, payloads: list[bytes]) -> None:
    (HERE / f"{name}.payloads").write_bytes(b"".join(len(each).to_bytes(2) + each for each in payloads))
    print(name, len(payloads), "payloads", sum(map(len, payloads)), "bytes")


def main() -> None:
    for bits in (2, 3, 4, 5):
        for name, encoder in (("aal2-g726", "g726"), ("g726", "g726le")):
            stream, size = b"".join(by_pyav(encoder, 8_000, 8_000 * bits, code_size=str(bits))), 20 * bits
            write(f"{name}-{8 * bits}", [stream[at : at + size] for at in range(0, len(stream) - size + 1, size)])
    narrow, wide = by_pyav("libopencore_amrnb", 8_000, 12_200, dtx="1"), by_vo_amrwbenc(8)
    low = by_pyav("libopencore_amrnb", 8_000, 4_750)
    write("amr-octet-aligned", [amr([frame], AMR_BITS, octet_aligned=True) for frame in narrow])
    write("amr-efficient", [amr(pair, AMR_BITS, octet_aligned=False) for pair in grouped(low, 2)])
    write(
        "amr-wb-octet-aligned", [amr(three, AMR_WB_BITS, octet_aligned=True) for three in grouped(by_vo_amrwbenc(2), 3)]
    )
    write("amr-wb-efficient", [amr([frame], AMR_WB_BITS, octet_aligned=False) for frame in wide])
    write("gsm", by_ffmpeg("libgsm", 8_000, "gsm"))
    write("speex-8000", by_ffmpeg("libspeex", 8_000, "ogg", "-b:a", "15000"))
    low = ("-b:a", "8000", "-frames_per_packet", "3")
    write("speex-8000-low", by_ffmpeg("libspeex", 8_000, "ogg", *low))
    write("speex-8000-middle", by_ffmpeg("libspeex", 8_000, "ogg", "-b:a", "11000", "-frames_per_packet", "2"))
    write("speex-16000", by_ffmpeg("libspeex", 16_000, "ogg", "-b:a", "27800", "-frames_per_packet", "2"))
    write("speex-32000", by_ffmpeg("libspeex", 32_000, "ogg", "-b:a", "36000"))
    write("g729", g729_payloads(by_bcg729()))


if __name__ == "__main__":
    main()
