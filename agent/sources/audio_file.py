"""Samples of an audio file of any format: libsndfile where it can, FFmpeg for the rest (m4a, webm, amr, ...)."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from livemos.agent.errors import SourceError
from livemos.agent.file_names import shown
from livemos.agent.resample import StreamResampler

Frames = npt.NDArray[np.float32]  # (N, C), full scale 1.0

_READ_FRAMES = 65_536
# what libsndfile says of a file that was written into a pipe, whose head nobody could go back to: WAV, FLAC
_UNKNOWN_FRAMES = (0, 2**63 - 1)
SUFFIXES = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".mp4", ".oga", ".ogg"}
    | {".opus", ".snd", ".w64", ".wav", ".weba", ".webm"}
)


def audio_files(path: str | Path) -> list[Path]:
    """The file itself, or all audio files below a folder, sorted. Raises SourceError when there is none."""
    path = Path(path)
    try:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not found:
                raise SourceError(f"folder {shown(path)}: no audio file in it ({', '.join(sorted(SUFFIXES))})")
            return found
        if not path.exists():
            raise SourceError(f"audio file {shown(path)}: not found")
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise SourceError(f"audio file {shown(path)}: cannot be opened ({error.strerror})") from error
    return [path]


def read_audio(path: str | Path) -> tuple[Frames, int]:
    """All of the file as (N, C) float32, and its sample rate in Hz. Raises SourceError naming the file."""
    reader = AudioReader(path)
    return np.concatenate(list(reader.blocks(_READ_FRAMES))), reader.sample_rate_hz


class AudioReader:
    """An opened file. Raises SourceError when it is not there, empty, not audio, or of a rate that is not taken."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._shown = f"audio file {shown(path)}"
        problem = _problem(self.path)
        if problem:
            raise SourceError(f"{self._shown}: {problem}")
        self._frames: Frames | None = None
        try:
            with soundfile.SoundFile(_native(self.path)) as opened:
                self.sample_rate_hz: int = opened.samplerate
                frames, refusal = opened.frames, "no samples found in it"
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a headerless format such as .raw
            frames, refusal = 0, str(error)
        if frames in _UNKNOWN_FRAMES:
            self._frames, self.sample_rate_hz = _decode_with_ffmpeg(self.path, refusal)
            frames = len(self._frames)
        if frames == 0:
            raise SourceError(f"{self._shown}: holds no samples")
        try:
            StreamResampler(self.sample_rate_hz)
        except ValueError as error:
            raise SourceError(f"{self._shown}: {error}") from error

    def blocks(self, frames: int) -> Iterator[Frames]:
        """(`frames`, C) each, the last one shorter. Raises SourceError where the file is damaged."""
        if self._frames is not None:
            for start in range(0, len(self._frames), frames):
                yield self._frames[start : start + frames]
            return
        try:
            with soundfile.SoundFile(_native(self.path)) as opened:
                while len(block := opened.read(frames, dtype="float32", always_2d=True)):
                    yield block
        except soundfile.SoundFileError as error:
            raise SourceError(f"{self._shown}: damaged ({error})") from error


def _native(path: Path) -> str | bytes:
    """What soundfile opens whatever the name's encoding: bytes, but on Windows, where names are text."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _problem(path: Path) -> str | None:
    """What the file system says against reading it."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return "is a folder; name a file in it"
        if not stat.S_ISREG(status.st_mode):
            return "is a pipe or a device; name a file, or pipe raw PCM into `livemos run --stdin`"
        if status.st_size == 0:
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
        with path.open("rb") as file, av.open(file, "r") as container:
            if not container.streams.audio:
                raise SourceError(f"audio file {shown(path)}: no audio in it; is it an audio file?")
            rate = container.streams.audio[0].rate
            resampler = av.AudioResampler(format="fltp", rate=rate)
            planes = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            planes += [part.to_ndarray() for part in resampler.resample(None)]
    except av.FFmpegError as error:
        reason = refusal.rpartition(": ")[2].rstrip(".") or str(error)
        raise SourceError(
            f"audio file {shown(path)}: not audio that libsndfile or FFmpeg can read ({reason}); is it an audio file?"
        ) from error
    if not planes:
        return np.zeros((0, 1), np.float32), rate
    return np.ascontiguousarray(np.concatenate(planes, axis=1).T, np.float32), rate
