"""The summary of a label table says what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livemos.training.damages import CAUSES
from livemos.training.label_report import NoiseRow, noise_rows, report_labels
from livemos.training.labels import mos_from_pesq
from livemos.training.tables import TableJob, build, read_columns, save_columns


def test_a_report_counts_labels_and_sets_teachers_side_by_side(data_folder: Path, tmp_path: Path) -> None:
    """Whoever chooses weights for teachers reads this table and nothing else."""
    job = TableJob(data=data_folder, folder=tmp_path, split="train", seed=4, families=4, damage_set="second")
    list(build(job, 1))
    pesq = read_columns(tmp_path / "00000.pesq.npz")["pesq_wb"].astype(np.float64)
    save_columns(tmp_path / "00000.distill.npz", {"distill_mos": 0.5 + 0.5 * mos_from_pesq(pesq)})
    report = report_labels(tmp_path)
    assert report.clips == 16
    assert report.labelled == report.teacher > 12
    assert sum(report.pesq_shares) == pytest.approx(1.0)
    assert list(report.cause_shares) == [*CAUSES, "none"]
    assert sum(report.cause_shares.values()) == pytest.approx(1.0)
    assert sum(row.families for row in report.kinds) == 4
    for row in report.kinds:
        assert row.mos[0] > row.mos[-1]
        assert row.teacher_cost_ratio == pytest.approx(0.5)


def test_what_dnsmos_heard_is_sorted_by_the_noise_that_was_added() -> None:
    """The curve of noisiness is read off these rows: a clip in the wrong one bends it."""
    columns = {
        "damages": np.array(["[]", "[]", '[["noise", {}]]', '[["noise", {}], ["loss", {}]]', '[["noise", {}]]']),
        "source_snr_db": np.array([30.0, 55.0, 30.0, 60.0, 60.0]),
        "noise_db": np.array([[-30.0] * 2, [-55.0] * 2, [-9.0] * 2, [-9.0] * 2, [-22.0] * 2]),
        "speech_ratio": np.full((5, 2), 0.8),
        "dnsmos_sig": np.array([3.5, 3.4, 3.0, 1.0, np.nan]),
        "dnsmos_bak": np.array([4.0, 4.1, 2.0, 1.0, np.nan]),
    }
    assert list(noise_rows(columns)) == [
        NoiseRow(condition="pauses 20 to 35 dB below", clips=1, sig=3.5, bak=4.0),
        NoiseRow(condition="pauses 50 to 65 dB below", clips=1, sig=3.4, bak=4.1),
        NoiseRow(condition="noise -10 to -5 dB", clips=1, sig=3.0, bak=2.0),
    ]
