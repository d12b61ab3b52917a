"""The summary of a label table says what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livemos.training.damages import CAUSES
from livemos.training.label_report import report_labels
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
