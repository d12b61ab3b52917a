"""The data folder given with --data: which recordings there are, which of them may shape a model that ships.

`manifest.csv` has one row a file (columns path, kind, speaker, seconds, licence, snr_db, bandwidth_hz, split, category,
...). A shipped model is trained on permissive material alone; tests and probes may hear everything.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import soundfile

from livemos.agent.errors import ConfigError
from livemos.agent.records import SAMPLE_RATE_HZ, Samples

_PERMISSIVE = re.compile(r"^(CC0|CC[ -]BY|Apache|MIT|BSD|Public Domain)\b", re.IGNORECASE)
# "CC BY-SA" begins like a permissive licence, so what binds is looked for anywhere in the text
_BINDING = re.compile(r"\b(L|A)?GPL|[- ](SA|NC|ND)\b|custom|free for|unknown", re.IGNORECASE)


def may_ship(licence: str) -> bool:
    """True for CC0, CC BY, Apache, MIT, BSD, public domain; False for share-alike, GPL, custom terms, no terms."""
    return bool(_PERMISSIVE.match(licence.strip())) and not _BINDING.search(licence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One row of the manifest. snr_db and bandwidth_hz are unset where nobody measured them."""

    path: str
    kind: str  # clean, noise, music, rir
    speaker: str
    category: str
    seconds: float
    licence: str
    split: str  # train, val, test
    repository: str
    snr_db: float | None = None
    bandwidth_hz: float | None = None


def read_manifest(data: Path) -> list[Recording]:
    """Every recording at 16 kHz in `data`/manifest.csv, in its order. Raises ConfigError."""
    file = data / "manifest.csv"
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            return [_recording(row) for row in csv.DictReader(lines) if row["kind"] != "clean48"]
    except FileNotFoundError as missing:
        raise ConfigError(f"{file} is missing; give the data folder with --data") from missing
    except (KeyError, ValueError) as wrong:
        raise ConfigError(f"{file} is no manifest of recordings: {wrong!r}") from wrong


def _recording(row: Mapping[str, str]) -> Recording:
    def number(text: str) -> float | None:
        return float(text) if text else None

    return Recording(
        path=row["path"],
        kind=row["kind"],
        speaker=row["speaker"],
        category=row["category"],
        seconds=float(row["seconds"]),
        licence=row["licence"],
        split=row["split"],
        repository=row["source_repository"],
        snr_db=number(row["snr_db"]),
        bandwidth_hz=number(row["bandwidth_hz"]),
    )


def _held(each: Recording, held_out: frozenset[str]) -> bool:
    return each.kind in {"noise", "rir"} and each.repository in held_out


@dataclass(frozen=True)
class Library:
    """Recordings of one split, read from disk once each and kept as 16-bit integers."""

    data: Path
    recordings: tuple[Recording, ...]
    _cache: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, data: Path, split: str, *, permissive: bool, held_out: frozenset[str] = frozenset()) -> Library:
        """The recordings of `split`; with `permissive`, those alone whose licence lets a trained model ship.

        held_out: repositories whose noises and rooms the split "train" leaves to the split "val".
        """
        chosen = [
            replace(each, split="val") if each.split == "train" and _held(each, held_out) else each
            for each in read_manifest(data)
        ]
        chosen = [each for each in chosen if each.split == split]
        if permissive:
            chosen = [each for each in chosen if may_ship(each.licence)]
        if not any(each.kind == "clean" for each in chosen):
            raise ConfigError(f"{data} has no clean speech in the split {split!r} that may be used")
        return cls(data=data, recordings=tuple(chosen))

    def of_kind(self, kind: str) -> tuple[Recording, ...]:
        """All recordings of `kind`, in the manifest's order."""
        return tuple(each for each in self.recordings if each.kind == kind)

    def speakers(self, minimum_snr_db: float) -> dict[str, list[Recording]]:
        """Clean speech by speaker, without recordings whose own noise is known to be above the limit."""
        by_speaker: dict[str, list[Recording]] = defaultdict(list)
        for each in self.of_kind("clean"):
            if each.snr_db is None or each.snr_db >= minimum_snr_db:
                by_speaker[each.speaker].append(each)
        return dict(by_speaker)

    def load(self, path: str) -> Samples:
        """(N,) float32 at 16 kHz in [-1, 1]. Raises ConfigError when the file has another rate."""
        if path not in self._cache:
            samples, rate_hz = soundfile.read(self.data / path, dtype="int16")
            if rate_hz != SAMPLE_RATE_HZ:
                raise ConfigError(f"{self.data / path} has {rate_hz} Hz; the simulator works at {SAMPLE_RATE_HZ} Hz")
            self._cache[path] = samples
        return self._cache[path].astype(np.float32) / np.float32(32768.0)


# what the sources ask to be named as, where the name of the repository does not say it
_CREDITS: dict[str, str] = {
    "resemble-ai/Resemblyzer": "LibriSpeech (c) 2014 Vassil Panayotov",
    "Walleclipse/Deep_Speaker-speaker_recognition_system": "LibriSpeech (c) 2014 Vassil Panayotov",
    "auspicious3000/autovc": "VCTK, University of Edinburgh, CSTR",
    "abdulkaderghandoura/arabic-speech-commands-dataset": "Arabic Speech Commands, Ghandoura, Hjabo, Al Dakkak 2021",
    "karolpiczak/ESC-10": "K. J. Piczak 2015; sounds by their authors on Freesound",
    "LCAV/pyroomacoustics": "CMU ARCTIC; Speech Commands (Pete Warden, Google)",
    "notthetup/auralizr": "OpenAIR, Audiolab, University of York: A. Sykes Rymer Auditorium, Genesis 6 Studio Live "
    "Room, Jack Lyons Hall (A. Duffell, A. Sridhar, Z. Li), St. Margaret's Church",
    "rerdavies/ToobAmp": "Kristoffer Ekstrand, Adventure Kid Research & Technology",
    "IoSR-Surrey/RealRoomBRIRs": "University of Surrey",
}


def attributions(recordings: Iterable[Recording]) -> list[str]:
    """One line for each source and licence, sorted, with the number of files: for the model card."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for each in recordings:
        counts[each.repository, each.kind, each.licence] += 1
    return [
        f"{source} ({kind}, {files} files): {licence}" + (f"; {_CREDITS[source]}" if source in _CREDITS else "")
        for (source, kind, licence), files in sorted(counts.items())
    ]
