"""Labels are given once: a labeler is added to a finished table, a new machine takes the labels from the repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livemos.agent.errors import ConfigError
from livemos.training import kept_labels, labelers
from livemos.training.labelers import LABELERS, Scores
from livemos.training.simulator import SimulatedClip
from livemos.training.tables import TableJob, build, claim, read_columns, read_table, save_columns


def counted(clips: list[SimulatedClip]) -> Scores:
    """Every column of the labeler: family and member, so that rows cannot be mixed up."""
    values = np.array([clip.family + clip.member / 4 for clip in clips], np.float32)
    return dict.fromkeys(LABELERS["pesq"].columns, values) | {"distill_mos": values}


def refused(clips: list[SimulatedClip], models: Path | None) -> Scores:
    raise AssertionError("labelled twice")


@pytest.fixture
def job(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableJob:
    for name in ("pesq", "distill"):
        wanted = LABELERS[name]
        score = lambda clips, models, columns=wanted.columns: {c: counted(clips)[c] for c in columns}  # noqa: E731
        monkeypatch.setitem(
            LABELERS, name, replace(wanted, score=score, package="numpy", every=max(1, wanted.every // 8))
        )
    return TableJob(data=data_folder, folder=tmp_path / "one", split="train", seed=4, families=3, damage_set="second")


def test_a_labeler_can_be_added_to_a_finished_table(job: TableJob) -> None:
    """The slow teacher comes later, for the families it is meant for, and nothing else is made again."""
    list(build(job, 1))
    made = (job.folder / "00000.table.npz").stat().st_mtime_ns
    assert np.isnan(read_table(job.folder).columns["distill_mos"]).all()
    list(build(replace(job, labelers=("pesq", "distill")), 1))
    columns = read_table(job.folder).columns
    assert (job.folder / "00000.table.npz").stat().st_mtime_ns == made
    heard = columns["family"] % LABELERS["distill"].every == 0
    np.testing.assert_allclose(columns["distill_mos"][heard], (columns["family"] + columns["member"] / 4)[heard])
    assert np.isnan(columns["distill_mos"][~heard]).all()


def test_kept_labels_are_not_given_again(job: TableJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PESQ takes two thirds of the time; a new machine only makes audio and features."""
    list(build(job, 1))
    kept_labels.keep(job, tmp_path / "kept")
    monkeypatch.setitem(LABELERS, "pesq", replace(LABELERS["pesq"], score=refused))
    other = replace(job, folder=tmp_path / "two")
    assert kept_labels.restore(tmp_path / "kept", other) > 0
    list(build(other, 1))
    before, after = read_table(job.folder), read_table(other.folder)
    assert np.array_equal(before.features, after.features)
    np.testing.assert_allclose(before.columns["pesq_wb"], after.columns["pesq_wb"], atol=0.01)


def test_kept_labels_of_another_seed_or_other_audio_are_refused(job: TableJob, tmp_path: Path) -> None:
    """A label beside the wrong audio is worse than none."""
    list(build(job, 1))
    file = kept_labels.keep(job, tmp_path / "kept")
    with pytest.raises(ConfigError, match="made with seed 4, not 5"):
        kept_labels.restore(tmp_path / "kept", replace(job, seed=5, folder=tmp_path / "two"))
    columns = read_columns(file)
    save_columns(file, columns | {"second_dbov": columns["second_dbov"][::-1]})
    other = replace(job, folder=tmp_path / "three")
    kept_labels.restore(tmp_path / "kept", other)
    with pytest.raises(ConfigError, match="belongs to other audio"):
        list(build(other, 1))


def test_a_folder_of_another_job_gets_no_kept_labels(job: TableJob, tmp_path: Path) -> None:
    """The command was refused, but its labels stayed behind, for the folder's own recipe to blend in."""
    list(build(job, 1))
    kept_labels.keep(job, tmp_path / "kept")
    other = replace(job, folder=tmp_path / "two")
    claim(replace(other, seed=5))
    before = sorted(other.folder.iterdir())
    with pytest.raises(ConfigError, match="another --work"):
        kept_labels.restore(tmp_path / "kept", other)
    assert sorted(other.folder.iterdir()) == before


def test_an_unknown_or_missing_labeler_is_named() -> None:
    """Before hours of simulation, not after."""
    with pytest.raises(ConfigError, match='no labeler is called "votes"; choose from pesq, distill'):
        labelers.check(["votes"], None)
    with pytest.raises(ConfigError, match=r"plcmos needs plcmos_v2\.onnx; give its folder with --models"):
        labelers.check(["plcmos"], None)
