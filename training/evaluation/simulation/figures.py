"""How scores follow the labels of held-out clips: over all, per damage, for what training never met, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.stats

from livemos.training.damages import CAUSES, DAMAGES
from livemos.training.evaluation import doubt
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.scored import DIMENSIONS
from livemos.training.evaluation.simulation.grouped import Sums, figures_of, ratio, spearman
from livemos.training.evaluation.simulation.heldout import Heldout
from livemos.training.evaluation.statistics import Float
from livemos.training.simulator import FAMILY_CLIPS

CLEAR_STEP = 0.2  # MOS between neighbours of a ladder; below it their order is a matter of chance
SPEECH_RATIO, SILENT_RATIO = 0.4, 0.02  # windows that are surely speech, surely none
CLIP_COLUMNS = ("mos", "mos_plain", "constant", "level", "bands_ridge")
_UNSEEN_SOURCES = {"marc-moreaux/kitchen20": "noise of kitchen20", "notthetup/auralizr": "rooms of auralizr"}

_ENDS = ("", "_low", "_high")
FIGURE_COLUMNS = (
    *("group", "name", "column", "clips", "families", "unset"),
    *(f"{name}{end}" for name in ("pearson", "rmse", "bias") for end in _ENDS),
    *("spearman", "label_mean", "label_std", "inside_50", "inside_90"),
)
ORDER_COLUMNS = (
    *("group", "name", "ladders", *(f"falling_ratio{end}" for end in _ENDS)),
    *("steps", *(f"right_ratio{end}" for end in _ENDS), "unset_steps"),
)
WINDOW_COLUMNS = ("output", "windows", *(f"{name}{end}" for name in ("pearson", "rmse", "bias") for end in _ENDS))
COVERAGE_COLUMNS = ("unit", "nominal", *(f"coverage{end}" for end in _ENDS), "values", "mean_std", "rms_error")
PRESENCE_COLUMNS = ("sound", "wanted", "right_windows", "windows", *(f"right_ratio{end}" for end in _ENDS))


def groups(heldout: Heldout, repositories: Mapping[str, str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """(group, name, clips (C,)) of everything that is judged on its own.

    repositories: path of a recording -> where it is from; without it unseen recordings are no group.
    """
    kinds = heldout.kinds
    ladder = heldout.ladder
    spoken = ladder != ""
    yield "all", "all", spoken
    comfortable = heldout.truth.windows["mos"].max(axis=1) > 4.2
    yield "clean", "undamaged", spoken & np.array([not each for each in kinds]) & comfortable
    unseen = np.zeros(len(ladder), bool)
    for name in (name for name, kind in DAMAGES.items() if kind.held_out):
        inside = np.array([name in each for each in kinds]) | (ladder == name)
        unseen |= inside
        yield "unseen", name, inside
    for repository, name in _UNSEEN_SOURCES.items():
        of_source = np.array(
            [any(repositories.get(path) == repository for path in _paths(str(d))) for d in heldout.columns["damages"]]
        )
        unseen |= of_source & spoken
        if repositories:
            yield "unseen", name, of_source & spoken
    yield "unseen", "any of these", unseen
    yield "unseen", "none of these", spoken & ~unseen
    cause = np.array([DAMAGES[kind].cause if kind else "" for kind in ladder])
    for name in CAUSES:
        yield "cause", name, cause == name
    for name in sorted(set(ladder[spoken].tolist())):
        yield "ladder", name, ladder == name


def _paths(damages: str) -> list[str]:
    return [str(parameters["path"]) for _, parameters in json.loads(damages) if parameters.get("path")]


def clip_rows(heldout: Heldout, repositories: Mapping[str, str], resamples: int) -> Iterator[Row]:
    """Every score against the label of the clip, group by group; baselines over all clips and per unseen generator."""
    for group, name, inside in groups(heldout, repositories):
        for column in CLIP_COLUMNS if group in ("all", "unseen") else ("mos", "mos_plain"):
            yield _clip_row(heldout, group, name, column, inside, resamples)


def _clip_row(heldout: Heldout, group: str, name: str, column: str, inside: np.ndarray, resamples: int) -> Row:
    labelled = inside & np.isfinite(heldout.truth.mos)
    used = labelled & np.isfinite(heldout.scores[column])
    scores, mos = heldout.scores[column][used], heldout.truth.mos[used]
    row: Row = {
        "group": group,
        "name": name,
        "column": column,
        "clips": int(used.sum()),
        "families": len(np.unique(heldout.families[used])),
        "unset": int((labelled & ~used).sum()),
    }
    if len(mos) < 5:
        return row
    row |= Sums.of(scores, mos, heldout.families[used]).row(resamples)
    row |= {"spearman": spearman(scores, mos), "label_mean": float(mos.mean()), "label_std": float(mos.std())}
    if column == "mos":
        for share in (50, 90):
            row[f"inside_{share}"] = doubt.coverage(scores - mos, heldout.mos_std[used], share / 100)
    if column == "level":  # decibels, not opinions
        row |= {f"{figure}{end}": None for figure in ("rmse", "bias") for end in _ENDS}
    return row


def order_rows(heldout: Heldout, repositories: Mapping[str, str], resamples: int) -> Iterator[Row]:
    """Whether scores fall where labels fall along a ladder: whole ladders, and neighbours one by one.

    A ladder counts when it has a clear step; it falls when all clear steps have the label's sign. Output levels of the
    members differ, so a label may rise with the severity: then the score has to rise.
    """
    shape = (-1, FAMILY_CLIPS)
    said = np.diff(heldout.scores["mos"].reshape(shape), axis=1)
    wanted = np.diff(heldout.truth.mos.reshape(shape), axis=1)
    clear = np.abs(np.nan_to_num(wanted)) > CLEAR_STEP
    judged = clear & np.isfinite(said)
    right = judged & (np.sign(said) == np.sign(wanted))
    for group, name, inside in groups(heldout, repositories):
        if group in ("clean", "unseen"):
            continue
        chosen = inside.reshape(shape).all(axis=1) & judged.any(axis=1)
        steps = np.stack([judged.sum(axis=1), right.sum(axis=1)], axis=1)[chosen].astype(float)
        falls = np.stack([np.ones(len(steps)), steps[:, 0] == steps[:, 1]], axis=1)
        yield {
            "group": group,
            "name": name,
            "ladders": len(steps),
            "steps": int(steps[:, 0].sum()),
            "unset_steps": int((clear & ~judged)[inside.reshape(shape).all(axis=1)].sum()),
            **figures_of(falls, {"falling_ratio": ratio}, resamples),
            **figures_of(steps, {"right_ratio": ratio}, resamples),
        }


def window_rows(heldout: Heldout, resamples: int) -> Iterator[Row]:
    """Each output of each second against its own label, weighted with what the second says about quality."""
    used = heldout.truth.weight > 0
    families = np.repeat(heldout.families[:, None], used.shape[1], axis=1)[used]
    for name in DIMENSIONS:
        label = heldout.truth.windows[name][used]
        sums = Sums.of(heldout.outputs[name][used], label, families, heldout.truth.weight[used])
        yield {"output": name, "windows": int(used.sum()), **sums.row(resamples)}
    everywhere = np.repeat(heldout.families[:, None], used.shape[1], axis=1).ravel()
    sums = Sums.of(heldout.outputs["speech_ratio"].ravel(), heldout.truth.windows["speech_ratio"].ravel(), everywhere)
    yield {"output": "speech_ratio", "windows": used.size, **sums.row(resamples)}


def doubt_of(heldout: Heldout) -> dict[str, tuple[Float, Float, np.ndarray]]:
    """Errors, standard deviations and families of clips and of windows, of odd families.

    The scale of mos_std is set on the even ones when a model is trained (training/evaluate.py).
    """
    apart = heldout.families % 2 == 1
    clips = apart & np.isfinite(heldout.truth.mos) & np.isfinite(heldout.scores["mos"])
    windows = apart[:, None] & (heldout.truth.weight > 0) & heldout.passed
    families = np.repeat(heldout.families[:, None], windows.shape[1], axis=1)
    return {
        "clip": ((heldout.scores["mos"] - heldout.truth.mos)[clips], heldout.mos_std[clips], heldout.families[clips]),
        "window": (
            (heldout.outputs["mos"] - heldout.truth.windows["mos"])[windows],
            heldout.outputs["mos_std"][windows],
            families[windows],
        ),
    }


def coverage_rows(heldout: Heldout, resamples: int) -> Iterator[Row]:
    """Share of labels inside the interval that mos_std promises, of clips and of windows."""
    for unit, (error, std, families) in doubt_of(heldout).items():
        names, member = np.unique(families, return_inverse=True)
        for nominal in doubt.NOMINAL:
            inside = np.abs(error) <= scipy.stats.norm.ppf((1 + nominal) / 2) * std
            sums = np.stack([np.bincount(member), np.bincount(member, inside, len(names))], axis=1)
            yield {
                "unit": unit,
                "nominal": nominal,
                "values": len(error),
                "mean_std": float(std.mean()),
                "rms_error": float(np.sqrt(np.mean(error**2))),
                **figures_of(sums.astype(float), {"coverage": ratio}, resamples),
            }


def presence_rows(heldout: Heldout, resamples: int) -> Iterator[Row]:
    """Windows of sounds without speech that are left unset, and of speech that are scored, by kind and by noise."""
    ratio_of_speech = heldout.truth.windows["speech_ratio"]
    without = heldout.ladder == ""
    first = np.array([each[0] if each else "" for each in heldout.kinds])
    for name in sorted(set(first[without].tolist())):
        yield _presence(heldout, name, without & (first == name), ratio_of_speech <= SILENT_RATIO, False, resamples)
    yield _presence(heldout, "all without speech", without, ratio_of_speech <= SILENT_RATIO, False, resamples)
    surely = ratio_of_speech >= SPEECH_RATIO
    snr_db = -np.asarray(heldout.columns["noise_db"], np.float64)
    for low, high in ((25.0, np.inf), (15.0, 25.0), (7.5, 15.0), (2.5, 7.5), (-np.inf, 2.5)):
        name = f"speech, SNR {low:g} to {high:g} dB"
        windows = surely & (snr_db >= low) & (snr_db < high)
        yield _presence(heldout, name, ~without, windows, True, resamples)
    yield _presence(heldout, "all speech", ~without, surely, True, resamples)


def _presence(heldout: Heldout, name: str, clips: np.ndarray, windows: np.ndarray, wanted: bool, resamples: int) -> Row:
    asked = windows[clips]
    right = (heldout.passed[clips] == wanted) & asked
    sums = np.stack([asked.sum(axis=1), right.sum(axis=1)], axis=1).astype(float)
    _, member = np.unique(heldout.families[clips], return_inverse=True)
    by_family = np.zeros((len(np.unique(member)), 2))
    np.add.at(by_family, member, sums)
    return {
        "sound": name,
        "wanted": "scored" if wanted else "unset",
        "right_windows": int(right.sum()),
        "windows": int(asked.sum()),
        **(figures_of(by_family, {"right_ratio": ratio}, resamples) if asked.any() else {}),
    }
