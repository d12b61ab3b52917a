from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from livemos.agent.errors import ConfigError
from livemos.training.evaluation import languages
from livemos.training.evaluation.command import app
from livemos.training.evaluation.languages import CleanClip, language_rows
from livemos.training.levels import active_level_dbov

RECORDINGS = {"en": ("en-ls6081", "en-ls2007"), "ja": ("ja-samplejajpnarrow4",)}


@pytest.fixture
def spoken(clean_folder: Path, tmp_path: Path) -> Path:
    """A data folder of three recordings in two languages, and a noise that is none."""
    lines = ["path,kind,language,speaker,split", "noise/a.flac,noise,,,test"]
    for language, names in RECORDINGS.items():
        for name in names:
            samples, rate_hz = soundfile.read(clean_folder / f"{name}.flac", dtype="float32")
            soundfile.write(tmp_path / f"{name}.flac", 0.05 * samples[: 4 * rate_hz], rate_hz)
            lines.append(f"{name}.flac,clean,{language},{name},{'test' if language == 'ja' else 'train'}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def _reference(folder: Path, mos: dict[str, float]) -> Path:
    file = folder / "distill.csv"
    file.write_text(languages.reference_text(mos), encoding="utf-8")
    return file


def test_languages_are_scored_beside_the_kept_reference_without_torch(
    spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distill-MOS takes five minutes over the clean set and a package nobody needs otherwise: it is asked once."""
    monkeypatch.setitem(sys.modules, "distillmos", None)
    clips = languages.read_clean_set(spoken)
    reference = _reference(spoken, {clip.path: 4.0 for clip in clips})
    arguments = ["languages", "--data", str(spoken), "--reference", str(reference), "--out", str(spoken / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    rows = {row["language"]: row for row in csv.DictReader(io.StringIO(result.stdout))}
    assert list(rows) == ["all", "en", "ja"] and rows["en"]["clips"] == "2" and rows["ja"]["held_out_clips"] == "1"
    assert float(rows["en"]["difference"]) == pytest.approx(float(rows["en"]["livemos"]) - 4.0, abs=1e-3)
    assert (spoken / "out" / "languages.csv").read_text(encoding="utf-8") == result.stdout
    assert "Clean speech by language" in (spoken / "out" / "report.html").read_text(encoding="utf-8")


def test_every_clip_stands_at_the_same_level(spoken: Path) -> None:
    """livemos marks a wrong level down, the reference does not: a soft recording would look like a bad language."""
    for clip in languages.read_clean_set(spoken):
        assert active_level_dbov(languages.load(spoken, clip)) == pytest.approx(-26, abs=0.1)


def test_a_language_is_held_against_all_the_others_not_against_the_reference_itself() -> None:
    """The reference has its own mean; only a language that departs more than the rest says anything."""
    names = ["aa"] * 8 + ["bb"] * 8 + ["cc"] * 2
    clips = [
        CleanClip(path=str(k), language=name, speaker=f"{name}{k}", held_out=False) for k, name in enumerate(names)
    ]
    reference = np.full(18, 4.0)
    mos = reference - 0.5 - 0.9 * (np.array(names) == "cc")
    rows = {row["language"]: row for row in language_rows(clips, mos, reference, 100)}
    assert rows["all"]["difference"] == pytest.approx(-0.6) and rows["all"]["beside_all"] == pytest.approx(0.0)
    assert rows["aa"]["beside_all"] == pytest.approx(0.1) and rows["cc"]["beside_all"] == pytest.approx(-0.8)
    assert rows["aa"]["beside_all_low"] == pytest.approx(0.1) and "beside_all_low" not in rows["cc"]
    mos[0] = np.nan
    rows = {row["language"]: row for row in language_rows(clips, mos, reference, 100)}
    assert rows["aa"]["unset"] == 1 and rows["aa"]["livemos"] == pytest.approx(3.5)


def test_a_reference_that_lacks_a_clip_is_refused(spoken: Path) -> None:
    """Means over different clips would be compared."""
    clips = languages.read_clean_set(spoken)
    with pytest.raises(ConfigError, match=r"does not score ja-samplejajpnarrow4\.flac"):
        languages.read_reference(_reference(spoken, {clip.path: 4.0 for clip in clips[:2]}), clips)


def test_without_scores_and_without_the_package_it_says_what_to_install(
    spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out is a sentence."""
    monkeypatch.setattr(languages, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"livemos\[peers\]"):
        languages.ask_reference(spoken, [], lambda: None)
