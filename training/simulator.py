"""Damaged clips with the truth about them, each a function of (seed, family, member) alone.

Clips come in families of four: the same speech, the same base condition (undamaged in more than half of the families)
and one kind of damage at four rising severities, the first of them none (of lost packets the codec stays). The order
inside a family is known without any listener, and a label against member 0 isolates what the one damage did. Every
ninth or eighth family is no speech at all (noise, music, near silence), for the presence output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from livemos.agent.features import LogMel
from livemos.agent.records import SEGMENT_SAMPLES, STRIDE_SAMPLES, Samples
from livemos.training.clips import ACTIVE_LEVEL_DBOV, CLIP_SAMPLES, CleanClip, draw_clip
from livemos.training.damages import DAMAGE_SETS, DAMAGES, Damage, DamageSet, Kind, Track
from livemos.training.damages.additive import Noise
from livemos.training.damages.surroundings import MAKERS, MadeUpNoise
from livemos.training.levels import (
    FRAME_SAMPLES,
    a_weighted,
    active_frames,
    band_levels_db,
    frame_power,
    gain,
    level_db,
)
from livemos.training.sources import Library, Recording

FAMILY_CLIPS = 4
WINDOWS = 1 + (CLIP_SAMPLES - SEGMENT_SAMPLES) // STRIDE_SAMPLES
_FRAMES_PER_WINDOW = SEGMENT_SAMPLES // FRAME_SAMPLES
_FRAMES_PER_STRIDE = STRIDE_SAMPLES // FRAME_SAMPLES
_LEAST_SPEECH_SHARE = 0.05  # of the power, under any noise
# babble is made of voices: it is no example of absent speech
_VOICES = frozenset({"babble", "conversation", "bar-crowd"})
# sounds that are easily taken for speech: harmonic, bursty, from a throat
_SPEECH_LIKE = frozenset({"dog", "sneeze", "rooster", "baby", "cat", "birds", "farm", "chimes", "clock"})

Windows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTruth:
    """What is known of each 1 s window (every 0.5 s), shape (WINDOWS,).

    speech_ratio: share of active frames of the clean reference (or of a competing talker). gap_ratio: share of active
    speech that is audibly missing. lost_ratio, clipped_ratio: share of samples. noise_db: A-weighted additive noise of
    the window to the active level of the speech.
    """

    speech_ratio: Windows
    gap_ratio: Windows
    lost_ratio: Windows
    clipped_ratio: Windows
    noise_db: Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedClip:
    """samples: (CLIP_SAMPLES,) float32, 16-bit values. reference is None where there is no speech.

    ladder: the kind that rises in this family, "" for none. damages: (kind, parameters) in the order applied, and the
    severity of each.
    level_dbov: active speech level. response_db: (F,) linear colour.
    """

    family: int
    member: int
    samples: Samples
    reference: Samples | None
    speaker: str
    source_snr_db: float
    source_bandwidth_hz: float
    ladder: str
    severity: float
    damages: tuple[tuple[str, dict[str, Any]], ...]
    severities: tuple[float, ...]
    level_dbov: float
    response_db: Windows
    truth: WindowTruth


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """Draws from one library; the same seed and numbers give the same samples on every machine with equal libraries.

    held_out: kinds that training never hears are drawn too.
    """

    library: Library
    seed: int
    features: LogMel
    damage_set: DamageSet = DAMAGE_SETS["first"]
    held_out: bool = False

    def family(self, number: int) -> list[SimulatedClip]:
        """The four clips of family `number`."""
        rng = np.random.default_rng([self.seed, number])
        if self._speechless(number):
            return [self._without_speech(rng, number, member) for member in range(FAMILY_CLIPS)]
        kinds = self.damage_set.drawn(held_out=self.held_out)
        clip, base, ladder = self._draw_family(rng, kinds)
        ladder_seed = int(rng.integers(2**31))
        scale = 1.0 if not base else 0.8
        clips = []
        for member in range(FAMILY_CLIPS):
            severity, damages = 0.0, list(base)
            if member:
                severity = scale * (member - 1 + float(rng.random())) / (FAMILY_CLIPS - 1)
            # the same seed for each severity: the same noise, the same room, only more of it
            drawn = kinds[ladder].draw(np.random.default_rng(ladder_seed), severity, self.library)
            rising = drawn if member else kinds[ladder].at_rest(drawn)
            if rising is not None:
                damages.append((ladder, rising, severity))
            clips.append(
                self._damaged(
                    rng, clip, family=number, member=member, ladder=ladder, severity=severity, damages=damages
                )
            )
        return clips

    def kinds(self, number: int) -> frozenset[str]:
        """The kinds of damage in family `number`, drawn as `family` draws them; none where it is without speech."""
        if self._speechless(number):
            return frozenset()
        rng = np.random.default_rng([self.seed, number])
        _, base, ladder = self._draw_family(rng, self.damage_set.drawn(held_out=self.held_out))
        return frozenset({ladder} | {kind for kind, _, _ in base})

    def _speechless(self, number: int) -> bool:
        every = self.damage_set.no_speech_every
        return number % every == every - 1

    def _draw_family(
        self, rng: np.random.Generator, kinds: dict[str, Kind]
    ) -> tuple[CleanClip, list[tuple[str, Damage, float]], str]:
        """The clean clip, the base condition and the kind that rises."""
        clip = draw_clip(rng, self.library)
        base = self._draw_base(rng, kinds)
        return clip, base, _draw_kind(rng, kinds, without=self.damage_set.flat | {kind for kind, _, _ in base})

    def _draw_base(self, rng: np.random.Generator, drawable: dict[str, Kind]) -> list[tuple[str, Damage, float]]:
        if rng.random() < self.damage_set.undamaged_ratio:
            return []
        count = 1 if rng.random() < 0.7 else 2
        kinds: list[str] = []
        for _ in range(count):
            kinds.append(_draw_kind(rng, drawable, without=frozenset(kinds)))
        scale = 0.8 if count == 1 else 0.5
        base = []
        for kind in kinds:
            severity = scale * float(rng.random())
            base.append((kind, drawable[kind].draw(rng, severity, self.library), severity))
        return base

    def _damaged(
        self,
        rng: np.random.Generator,
        clip: CleanClip,
        *,
        family: int,
        member: int,
        ladder: str,
        severity: float,
        damages: list[tuple[str, Damage, float]],
    ) -> SimulatedClip:
        track = Track.of(clip.samples, self.features.mel_bands)
        ordered = sorted(damages, key=lambda each: DAMAGES[each[0]].stage)
        for kind, damage, _ in ordered:
            track = self.apply(kind, damage, track)
        level_dbov = draw_level(rng)
        samples, clipped = to_line(track.samples, level_dbov - ACTIVE_LEVEL_DBOV, rng)
        track = replace(track, clipped=track.clipped | clipped)
        return SimulatedClip(
            family=family,
            member=member,
            samples=samples,
            reference=clip.samples,
            speaker=clip.speaker,
            source_snr_db=clip.source_snr_db,
            source_bandwidth_hz=clip.source_bandwidth_hz,
            ladder=ladder,
            severity=severity,
            damages=tuple((kind, asdict(damage)) for kind, damage, _ in ordered),  # type: ignore[call-overload]
            severities=tuple(each for _, _, each in ordered),
            level_dbov=level_dbov + track.level_change_db,
            response_db=track.response_db,
            truth=window_truth(clip, track),
        )

    def apply(self, kind: str, damage: Damage, track: Track) -> Track:
        """`track` after the damage, with what a colouring kind did to the long-term spectrum and the level added."""
        damaged = damage.apply(track, self.library)
        if not DAMAGES[kind].colours:
            return damaged
        change = band_levels_db(damaged.samples, self.features) - band_levels_db(track.samples, self.features)
        return replace(
            damaged,
            response_db=track.response_db + change,
            level_change_db=track.level_change_db + speech_change_db(track, damaged),
        )

    def _without_speech(self, rng: np.random.Generator, family: int, member: int) -> SimulatedClip:
        kind, sound = (self._varied_sound if self.damage_set.varied_no_speech else self._sound)(rng, member)
        level_dbov = float(rng.uniform(-60.0, -16.0) if kind != "near silence" else rng.uniform(-110.0, -65.0))
        silence = Track.of(np.zeros(CLIP_SAMPLES, np.float32), self.features.mel_bands)
        track = replace(sound, snr_db=0.0).apply(silence, self.library)
        damages: list[tuple[str, dict[str, Any]]] = [(kind, asdict(sound))]
        if rng.random() < 0.4:
            line = ("g711", "opus", "loss", "band")[rng.integers(4)]
            damage = DAMAGES[line].draw(rng, float(rng.random()), self.library)
            track = damage.apply(track, self.library)
            damages.append((line, asdict(damage)))  # type: ignore[call-overload]
        samples, _ = to_line(track.samples, level_dbov - ACTIVE_LEVEL_DBOV, rng)
        nothing = np.zeros(WINDOWS, np.float32)
        return SimulatedClip(
            family=family,
            member=member,
            samples=samples,
            reference=None,
            speaker="",
            source_snr_db=np.nan,
            source_bandwidth_hz=np.nan,
            ladder="",
            severity=0.0,
            damages=tuple(damages),
            severities=(0.0,) * len(damages),
            level_dbov=level_dbov,
            response_db=track.response_db,
            truth=WindowTruth(
                speech_ratio=nothing, gap_ratio=nothing, lost_ratio=nothing, clipped_ratio=nothing, noise_db=nothing
            ),
        )

    def _sound(self, rng: np.random.Generator, member: int) -> tuple[str, Noise]:
        """One of four sounds that are no speech, by member."""
        kind = ("recorded", "coloured", "music", "near silence")[member]
        drawn = Noise.draw(rng, 0.5, self.library)
        files = self._silent_files("music" if kind == "music" else "noise")
        recorded = kind in {"recorded", "music"} and bool(files)
        recorded = recorded and (
            kind != "music" or rng.random() < 0.35
        )  # there is little recorded music, and much to make
        path = files[rng.integers(len(files))].path if recorded else ""
        return kind, replace(drawn, path=path, music=kind == "music")

    def _varied_sound(self, rng: np.random.Generator, member: int) -> tuple[str, Noise | MadeUpNoise]:
        """Sounds that are no speech, half of them such as are taken for it."""
        recorded = self._silent_files("noise")
        speech_like = tuple(each for each in recorded if each.category in _SPEECH_LIKE) or recorded
        kinds = (
            ("speech-like", "speech-like", "recorded"),
            ("recorded", "coloured", "made up"),
            ("music", "tones", "music"),
            ("near silence", "recorded", "speech-like"),
        )[member]
        kind = kinds[rng.integers(len(kinds))]
        drawn = Noise.draw(rng, 0.5, self.library)
        if kind in {"made up", "tones"}:
            maker = "tones" if kind == "tones" else str(rng.choice(list(MAKERS)))
            return kind, MadeUpNoise(maker=maker, snr_db=0.0, seed=drawn.seed)
        files = {"speech-like": speech_like, "recorded": recorded, "music": self._silent_files("music")}.get(kind, ())
        if kind == "music" and rng.random() < 0.5:
            files = ()
        path = files[rng.integers(len(files))].path if files else ""
        return kind, replace(drawn, path=path, music=kind == "music")

    def _silent_files(self, kind: str) -> tuple[Recording, ...]:
        return tuple(each for each in self.library.of_kind(kind) if each.category not in _VOICES)


def _draw_kind(rng: np.random.Generator, drawable: dict[str, Kind], *, without: frozenset[str] | set[str]) -> str:
    kinds = [kind for kind in drawable if kind not in without]
    weights = np.array([drawable[kind].weight for kind in kinds])
    return kinds[rng.choice(len(kinds), p=weights / weights.sum())]


def draw_level(rng: np.random.Generator) -> float:
    """Output level in dBov: mostly near the nominal -26, a quarter anywhere between whisper and overload."""
    if rng.random() < 0.75:
        return float(np.clip(rng.normal(-26.0, 4.0), -55.0, -10.0))
    return float(rng.uniform(-55.0, -8.0))


def to_line(samples: Samples, gain_db: float, rng: np.random.Generator) -> tuple[Samples, npt.NDArray[np.bool_]]:
    """16-bit samples after a gain, with dither, and where they overloaded."""
    loud = samples * gain(gain_db)
    dither = rng.random(len(samples), np.float32) - np.float32(0.5)
    sent = np.clip(np.round(loud * 32768.0 + dither), -32768, 32767) / np.float32(32768.0)
    return sent.astype(np.float32), np.abs(loud) >= 1.0


def speech_change_db(before: Track, after: Track) -> float:
    """What a damage did to the level of the speech, in dB, where nothing is missing, without the power of noise."""
    present = (1.0 - before.gap) * (1.0 - after.gap)

    def power(track: Track) -> float:
        # powers and not samples are subtracted: behind a codec the noise is no longer the same to the sample
        heard, noise = (float(np.mean(present * samples**2)) for samples in (track.samples, track.noise))
        return max(heard - noise, _LEAST_SPEECH_SHARE * heard)

    return level_db(power(after)) - level_db(power(before))


def _by_window(per_frame: npt.NDArray[Any]) -> Windows:
    """Means over the frames of each window, (WINDOWS,)."""
    starts: Sequence[int] = range(0, WINDOWS * _FRAMES_PER_STRIDE, _FRAMES_PER_STRIDE)
    return np.array([per_frame[start : start + _FRAMES_PER_WINDOW].mean() for start in starts], np.float32)


def window_truth(clip: CleanClip, track: Track) -> WindowTruth:
    """Truth of each window from the clean reference and what the track recorded."""
    spoken = active = active_frames(clip.samples)
    if track.place is not None:
        heard = track.place[FRAME_SAMPLES // 2 :: FRAME_SAMPLES][: len(active)]
        active = (heard >= 0) & active[np.minimum(np.maximum(heard, 0) // FRAME_SAMPLES, len(active) - 1)]
    # a voice behind the talker counts as speech from 20 dB below on, softer it is background
    audible_power = 0.01 * float(frame_power(clip.samples)[spoken].mean())
    present = active | (frame_power(track.talker) > audible_power)
    frames = (len(active), FRAME_SAMPLES)
    gap = track.gap[: len(active) * FRAME_SAMPLES].reshape(frames).mean(axis=1)
    speech_level_db = level_db(float(frame_power(a_weighted(clip.samples))[spoken].mean()))
    noise_power = _by_window(frame_power(a_weighted(track.noise)))
    # the recording's own noise was there before anything was added
    own_power = 10 ** ((speech_level_db - clip.source_snr_db) / 10)
    return WindowTruth(
        speech_ratio=_by_window(present),
        gap_ratio=(_by_window(gap * active) / np.maximum(_by_window(active), 0.05)).astype(np.float32),
        lost_ratio=_by_window(track.lost[: len(active) * FRAME_SAMPLES].reshape(frames).mean(axis=1)),
        clipped_ratio=_by_window(track.clipped[: len(active) * FRAME_SAMPLES].reshape(frames).mean(axis=1)),
        noise_db=np.array([level_db(power + own_power) - speech_level_db for power in noise_power], np.float32),
    )
