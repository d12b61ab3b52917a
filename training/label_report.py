"""What a label table looks like: how labels spread, what each kind costs, where teachers disagree, which causes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from livemos.training import labels
from livemos.training.causes import find_causes
from livemos.training.damages import CAUSES
from livemos.training.effects import Columns
from livemos.training.tables import read_all_columns

_EDGES = np.arange(1.0, 5.01, 0.5)
_PAUSES_DB, _NOISES_DB = (20.0, 35.0, 50.0), np.arange(-45.0, 5.1, 5.0).tolist()
_ONE_NOISE = (("noise",), ("made_up_noise",), ("babble",))


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """One rising kind: families, mean label of the members from none to worst, and Distill-MOS beside PESQ.

    teacher_clips: clips of members 1 to 3 that Distill-MOS heard. teacher_cost_ratio: what they lose to member 0 by
    Distill-MOS over what they lose by PESQ, so that neither voices nor the base condition count; NaN where none lost.
    """

    kind: str
    families: int
    mos: tuple[float, ...]
    teacher_clips: int
    teacher_cost_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRow:
    """What DNSMOS P.835 heard in clips of one condition, on average."""

    condition: str
    clips: int
    sig: float
    bak: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """Figures of one split."""

    clips: int
    labelled: int
    halves: int
    teacher: int
    teacher_pearson: float
    pesq_shares: tuple[float, ...]  # of labels in steps of 0.5 from 1
    mos_shares: tuple[float, ...]
    cause_shares: dict[str, float]
    kinds: tuple[KindRow, ...]
    noise: tuple[NoiseRow, ...]


def report_labels(folder: Path) -> LabelReport:
    """Read the finished shards of a split. Raises ConfigError when there are none."""
    columns = read_all_columns(folder)
    pesq = np.asarray(columns["pesq_wb"], np.float64)
    from_pesq = labels.mos_from_pesq(pesq)
    targets = labels.make_targets(columns)
    mos = targets.mos - labels.level_penalty(targets.level_dbov.astype(np.float64))
    labelled = np.isfinite(mos)
    teacher = np.asarray(columns["distill_mos"], np.float64)
    both = labelled & np.isfinite(teacher)
    causes = find_causes(columns)
    shares = np.bincount(causes.cause[causes.known], minlength=len(CAUSES) + 1) / max(int(causes.known.sum()), 1)
    return LabelReport(
        clips=len(mos),
        labelled=int(labelled.sum()),
        halves=int(np.isfinite(np.asarray(columns["pesq_first_half"], np.float64)).sum()),
        teacher=int(both.sum()),
        teacher_pearson=float(np.corrcoef(from_pesq[both], teacher[both])[0, 1]) if both.sum() > 2 else float("nan"),
        pesq_shares=_shares(pesq[labelled]),
        mos_shares=_shares(np.maximum(mos[labelled], 1.0)),
        cause_shares=dict(zip((*CAUSES, "none"), shares.tolist(), strict=True)),
        kinds=_by_kind(columns, from_pesq, teacher),
        noise=tuple(noise_rows(columns)),
    )


def _shares(values: np.ndarray) -> tuple[float, ...]:
    return tuple((np.histogram(values, _EDGES)[0] / max(len(values), 1)).tolist())


def _by_kind(columns: Columns, mos: np.ndarray, teacher: np.ndarray) -> tuple[KindRow, ...]:
    ladder, member = columns["ladder"], np.asarray(columns["member"], np.int64)
    rows = []
    for kind in sorted({str(name) for name in ladder.tolist()} - {""}):
        own = (ladder == kind) & np.isfinite(mos)
        heard = own & (member > 0) & np.isfinite(teacher)
        rows.append(
            KindRow(
                kind=kind,
                families=int((own & (member == 0)).sum()),
                mos=tuple(float(mos[own & (member == each)].mean()) for each in range(int(member.max()) + 1)),
                teacher_clips=int(heard.sum()),
                teacher_cost_ratio=_cost_ratio(np.flatnonzero(heard), member, mos, teacher),
            )
        )
    return tuple(rows)


def noise_rows(columns: Columns) -> Iterator[NoiseRow]:
    """Undamaged recordings by what lies in their pauses, and such with one noise added by its level."""
    kinds = [tuple(kind for kind, _ in json.loads(str(damages))) for damages in columns["damages"].tolist()]
    names = ("dnsmos_sig", "dnsmos_bak", "source_snr_db")
    sig, bak, pauses_db = (np.asarray(columns[name], np.float64) for name in names)
    heard = np.isfinite(sig) & np.isfinite(pauses_db)
    weight = np.asarray(columns["speech_ratio"], np.float64) + 1e-3
    added_db = np.average(labels.added_noise_db(columns), axis=1, weights=weight)
    undamaged = heard & np.array([not each for each in kinds])
    noisy = heard & np.array([each in _ONE_NOISE for each in kinds])
    rows = [(f"pauses {low:g} to {low + 15:g} dB below", undamaged, pauses_db, low, 15.0) for low in _PAUSES_DB]
    rows += [(f"noise {low:g} to {low + 5:g} dB", noisy, added_db, low, 5.0) for low in _NOISES_DB]
    for condition, clips, values, low, span in rows:
        some = clips & (values >= low) & (values < low + span)
        if some.any():
            yield NoiseRow(
                condition=condition, clips=int(some.sum()), sig=float(sig[some].mean()), bak=float(bak[some].mean())
            )


def _cost_ratio(clips: np.ndarray, member: np.ndarray, mos: np.ndarray, teacher: np.ndarray) -> float:
    base = clips - member[clips]
    lost = np.stack([mos[base] - mos[clips], teacher[base] - teacher[clips]])
    by_pesq, by_teacher = lost[:, np.isfinite(lost).all(axis=0)].sum(axis=1)
    return float(by_teacher / by_pesq) if by_pesq > 0 else float("nan")


def show(split: str, report: LabelReport, console: Console) -> None:
    """Print a report."""
    console.print(
        f"{split}: {report.clips} clips, {report.labelled} with PESQ, {report.halves} with halves, "
        f"{report.teacher} with Distill-MOS (r {report.teacher_pearson:.2f} with PESQ)"
    )
    for name, shares in (("PESQ-WB", report.pesq_shares), ("label", report.mos_shares)):
        steps = "  ".join(f"{low:.1f} {share:.1%}" for low, share in zip(_EDGES[:-1], shares, strict=True))
        console.print(f"{name} by half points: {steps}")
    console.print("cause: " + "  ".join(f"{name} {share:.1%}" for name, share in report.cause_shares.items()))
    table = RichTable("kind", "families", "MOS from PESQ, none to worst", "Distill-MOS clips", "its cost over PESQ's")
    for row in report.kinds:
        table.add_row(
            row.kind,
            str(row.families),
            ", ".join(f"{value:.2f}" for value in row.mos),
            str(row.teacher_clips),
            f"{row.teacher_cost_ratio:.2f}" if row.teacher_clips else "",
        )
    console.print(table)
    if report.noise:
        heard = RichTable("DNSMOS P.835 heard", "clips", "SIG", "BAK")
        for each in report.noise:
            heard.add_row(each.condition, str(each.clips), f"{each.sig:.2f}", f"{each.bak:.2f}")
        console.print(heard)
