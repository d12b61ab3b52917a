"""Codecs the agent does not play but calls have passed: encoded and decoded by FFmpeg's libraries, lost delay undone.

What the FFmpeg inside PyAV can encode is used from there; `program` marks encoders that only the ffmpeg of a
distribution carries; `modes` those it decodes too. GSM-EFR, AMR-WB, EVS, iLBC and G.729 have no encoder in either.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import dataclass, replace

import av
import numpy as np
import scipy.fft
import soxr
from av.audio.frame import AudioFrame

from livemos.agent.errors import CodecError
from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.damages.track import Damage, Track
from livemos.training.damages.transmission import Transmission
from livemos.training.levels import levelled
from livemos.training.sources import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """encoder: FFmpeg's name. bitrates_bps: best first, what severity 0 to 1 walks through.

    modes: what a codec without a waveform calls them, and how many samples late it is at `rate_hz` in each.
    """

    encoder: str
    rate_hz: int
    container: str
    bitrates_bps: tuple[int, ...]
    program: bool = False
    modes: tuple[tuple[str, int], ...] = ()


ENCODERS: dict[str, EncoderSpec] = {
    "g726": EncoderSpec(encoder="g726", rate_hz=8_000, container="wav", bitrates_bps=(40_000, 32_000, 24_000, 16_000)),
    "amr-nb": EncoderSpec(
        encoder="libopencore_amrnb",
        rate_hz=8_000,
        container="nut",
        bitrates_bps=(12_200, 10_200, 7_950, 7_400, 6_700, 5_900, 5_150, 4_750),
    ),
    "g723.1": EncoderSpec(encoder="g723_1", rate_hz=8_000, container="nut", bitrates_bps=(6_300,)),
    "adpcm": EncoderSpec(encoder="adpcm_ima_wav", rate_hz=8_000, container="wav", bitrates_bps=(32_000,)),
    "celp-8": EncoderSpec(encoder="real_144", rate_hz=8_000, container="rm", bitrates_bps=(8_000,)),
    "aac": EncoderSpec(
        encoder="aac", rate_hz=16_000, container="nut", bitrates_bps=(48_000, 32_000, 24_000, 16_000, 12_000, 8_000)
    ),
    "mp3": EncoderSpec(
        encoder="libmp3lame", rate_hz=16_000, container="nut", bitrates_bps=(48_000, 32_000, 24_000, 16_000, 8_000)
    ),
    "gsm": EncoderSpec(encoder="libgsm", rate_hz=8_000, container="gsm", bitrates_bps=(13_000,), program=True),
    "speex": EncoderSpec(
        encoder="libspeex",
        rate_hz=16_000,
        container="nut",
        bitrates_bps=(28_000, 20_000, 13_000, 10_000, 6_000),
        program=True,
    ),
    "codec2": EncoderSpec(
        encoder="libcodec2",
        rate_hz=8_000,
        container="codec2",
        bitrates_bps=(3_200, 2_400, 1_600, 1_400, 1_300, 1_200, 700),
        program=True,
        modes=(
            *(("3200", 150), ("2400", 150), ("1600", 150), ("1400", 150)),
            *(("1300", 155), ("1200", 150), ("700C", 235)),
        ),
    ),
}


def encoded(samples: Samples, codec: str, bitrate_bps: int) -> Samples:
    """Samples at 16 kHz after one pass through `codec`, as long as before and in time.

    Raises CodecError for a codec that no encoder here knows.
    """
    if codec not in ENCODERS:
        raise CodecError(f'no encoder is known for "{codec}"; choose one of {", ".join(ENCODERS)}')
    spec = ENCODERS[codec]
    sent = soxr.resample(samples, SAMPLE_RATE_HZ, spec.rate_hz) if spec.rate_hz != SAMPLE_RATE_HZ else samples
    pcm = (np.clip(sent, -1.0, 1.0) * 32767.0).astype(np.int16)
    if spec.modes:
        return _without_waveform(spec, pcm, bitrate_bps, samples)
    stream = _by_program(spec, pcm, bitrate_bps) if spec.program else _by_library(spec, pcm, bitrate_bps)
    with av.open(io.BytesIO(stream), "r") as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=spec.rate_hz)
        heard = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    received = np.concatenate(heard).astype(np.float32)
    if spec.rate_hz != SAMPLE_RATE_HZ:
        received = soxr.resample(received, spec.rate_hz, SAMPLE_RATE_HZ)
    return _in_time(received, samples)


def _by_library(spec: EncoderSpec, pcm: np.ndarray, bitrate_bps: int) -> bytes:
    if spec.encoder not in av.codecs_available:
        raise CodecError(f"this PyAV has no encoder {spec.encoder}; install one built with it")
    written = io.BytesIO()
    with av.open(written, "w", format=spec.container) as container:
        stream = container.add_stream(spec.encoder, rate=spec.rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = bitrate_bps
        context = stream.codec_context
        context.open()
        frame = AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = spec.rate_hz
        frame_samples = context.frame_size or spec.rate_hz // 50
        resampler = av.AudioResampler(format=context.format, layout="mono", rate=spec.rate_hz, frame_size=frame_samples)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return written.getvalue()


def _by_program(spec: EncoderSpec, pcm: np.ndarray, bitrate_bps: int) -> bytes:
    source = ["-f", "s16le", "-ar", str(spec.rate_hz), "-ac", "1", "-i", "-"]
    rate = ["-mode", _mode(spec, bitrate_bps)[0]] if spec.modes else ["-b:a", str(bitrate_bps)]
    return _ffmpeg(spec, [*source, "-c:a", spec.encoder, *rate, "-f", spec.container, "-"], pcm.tobytes())


def _mode(spec: EncoderSpec, bitrate_bps: int) -> tuple[str, int]:
    return spec.modes[spec.bitrates_bps.index(bitrate_bps)]


def _ffmpeg(spec: EncoderSpec, arguments: list[str], given: bytes) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        raise CodecError(f"encoding {spec.encoder} needs the program ffmpeg; install it (Debian package ffmpeg)")
    command = [program, "-loglevel", "error", "-threads", "1", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode:
        raise CodecError(f"ffmpeg could not encode {spec.encoder}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _without_waveform(spec: EncoderSpec, pcm: np.ndarray, bitrate_bps: int, sent: Samples) -> Samples:
    """`sent` after a codec that keeps neither waveform nor level: its lag is known, its level is made good."""
    stream = _by_program(spec, pcm, bitrate_bps)
    heard = np.frombuffer(_ffmpeg(spec, ["-f", spec.container, "-i", "-", "-f", "s16le", "-"], stream), np.int16)
    late = _mode(spec, bitrate_bps)[1]
    received = np.pad(heard[late:].astype(np.float32) / np.float32(32768.0), (0, len(pcm)))[: len(pcm)]
    received = soxr.resample(received, spec.rate_hz, SAMPLE_RATE_HZ)
    return levelled(np.pad(received, (0, max(0, len(sent) - len(received))))[: len(sent)], sent)


def _in_time(received: Samples, sent: Samples) -> Samples:
    """`received` moved by the lag (0 to 250 ms) at which it resembles `sent` most, and cut to its length."""
    length = len(sent)
    received = np.pad(received, (0, max(0, length + 4000 - len(received))))[: length + 4000]
    size = scipy.fft.next_fast_len(2 * length + 4000, real=True)
    product = scipy.fft.rfft(received, size) * np.conj(scipy.fft.rfft(sent, size))
    lag = int(np.argmax(scipy.fft.irfft(product, size)[:4000]))
    return received[lag : lag + length]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """One pass through a codec of ENCODERS."""

    codec: str
    bitrate_bps: int

    def apply(self, track: Track, library: Library) -> Track:
        return replace(track, samples=encoded(track.samples, self.codec, self.bitrate_bps))


def draw_coded(codec: str, severity: float) -> Coded:
    """`codec` at the bit rate for `severity`, 0 to 1."""
    rates = ENCODERS[codec].bitrates_bps
    return Coded(codec=codec, bitrate_bps=rates[min(len(rates) - 1, int(severity * len(rates)))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tandem:
    """Two or three codecs in a row, as between networks."""

    legs: tuple[Coded | Transmission, ...]

    def apply(self, track: Track, library: Library) -> Track:
        for leg in self.legs:
            track = leg.apply(track, library)
        return track


def _draw_leg(rng: np.random.Generator, severity: float) -> Coded | Transmission:
    name = str(rng.choice(["g711", "opus", "g726", "amr-nb", "g723.1", "aac", "mp3"]))
    if name in ENCODERS:
        return draw_coded(name, severity)
    return Transmission(
        encoding="PCMU/8000" if name == "g711" else "opus/48000/2",
        packet_ms=20,
        lost_ratio=0.0,
        mean_burst_packets=1.0,
        concealment="zero",
        seed=0,
        bitrate_bps=None if name == "g711" else int(48_000 * (6.0 / 48.0) ** severity),
    )


def draw_tandem(rng: np.random.Generator, severity: float, library: Library) -> Damage:
    """Two codecs, three from severity 0.7 on."""
    return Tandem(legs=tuple(_draw_leg(rng, severity) for _ in range(3 if severity > 0.7 else 2)))
