"""Samples of an audio file of any format: libsndfile where it can, FFmpeg for the rest (m4a, webm, amr, ...)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from livemos.agent.errors import SourceError

Frames = npt.NDArray[np.float32]  # (N, C), full scale 1.0

_READ_FRAMES = 65_536
SUFFIXES = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".mp4", ".oga", ".ogg"}
    | {".opus", ".snd", ".w64", ".wav", ".weba", ".webm"}
)


def audio_files(path: str | Path) -> list[Path]:
    """The file itself, or all audio files below a folder, sorted. Raises SourceError when there is none."""
    path = Path(path)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not found:
            raise SourceError(f"folder {path}: no audio file in it ({', '.join(sorted(SUFFIXES))})")
        return found
    if not path.exists():
        raise SourceError(f"audio file {path}: not found")
    return [path]


def read_audio(path: str | Path) -> tuple[Frames, int]:
    """All of the file as (N, C) float32, and its sample rate in Hz. Raises SourceError naming the file."""
    reader = AudioReader(path)
    return np.concatenate(list(reader.blocks(_READ_FRAMES))), reader.sample_rate_hz


class AudioReader:
    """An opened file. Raises SourceError when it is not there, empty, or not audio."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        problem = _problem(self.path)
        if problem:
            raise SourceError(f"audio file {self.path}: {problem}")
        self._frames: Frames | None = None
        try:
            with soundfile.SoundFile(self.path) as opened:
                self.sample_rate_hz: int = opened.samplerate
                frames = opened.frames
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a headerless format such as .raw
            self._frames, self.sample_rate_hz = _decode_with_ffmpeg(self.path, str(error))
            frames = len(self._frames)
        if frames == 0:
            raise SourceError(f"audio file {self.path}: holds no samples")

    def blocks(self, frames: int) -> Iterator[Frames]:
        """(`frames`, C) each, the last one shorter. Raises SourceError where the file is damaged."""
        if self._frames is not None:
            for start in range(0, len(self._frames), frames):
                yield self._frames[start : start + frames]
            return
        try:
            with soundfile.SoundFile(self.path) as opened:
                while len(block := opened.read(frames, dtype="float32", always_2d=True)):
                    yield block
        except soundfile.SoundFileError as error:
            raise SourceError(f"audio file {self.path}: damaged ({error})") from error


def _problem(path: Path) -> str | None:
    """What the file system says against reading it."""
    try:
        if path.is_dir():
            return "is a folder; name a file in it"
        if path.stat().st_size == 0:
            return "is empty (0 bytes)"
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return "not found"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"


def _decode_with_ffmpeg(path: Path, refusal: str) -> tuple[Frames, int]:
    """The whole first audio stream. `refusal` is what libsndfile said."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise SourceError(f"audio file {path}: no audio in it; is it an audio file?")
            rate = container.streams.audio[0].rate
            resampler = av.AudioResampler(format="fltp", rate=rate)
            planes = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            planes += [part.to_ndarray() for part in resampler.resample(None)]
    except av.FFmpegError as error:
        reason = refusal.rpartition(": ")[2].rstrip(".") or str(error)
        raise SourceError(
            f"audio file {path}: not audio that libsndfile or FFmpeg can read ({reason}); is it an audio file?"
        ) from error
    if not planes:
        return np.zeros((0, 1), np.float32), rate
    return np.ascontiguousarray(np.concatenate(planes, axis=1).T, np.float32), rate
