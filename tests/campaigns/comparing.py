"""Did two trainings end in the same state?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from training_support import SUPERVISION, Workspace

from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.runtime import sole_use

WEIGHTS = ("student_weights", "teacher_weights", "network_weights")
TIMES = ("epoch_start_timestamps", "epoch_end_timestamps")


def left_behind(folder: Path) -> list[Path]:
    """Hidden files below a folder, but for the lock of the fold, which stays."""
    return [path for path in folder.rglob(".*") if path.name != sole_use.NAME]


def final(workspace: Workspace) -> dict[str, Any]:
    """The finished checkpoint."""
    return checkpoint.read(workspace.fold_folder() / "checkpoint_final.pth", torch.device("cpu"))


def differences(expected: Workspace, found: Workspace, validated: bool) -> list[str]:
    """Every way in which two finished trainings differ: weights, counters, logs, generated labels, left-over files."""
    lines = [*_states(final(expected), final(found)), *_labels(expected, found)]
    lines += [f"temporary file left behind: {path.name}" for path in left_behind(found.fold_folder())]
    if (found.fold_folder() / "checkpoint_latest.pth").exists():
        lines.append("checkpoint_latest.pth was not removed at the end")
    if validated:
        scores = [
            json.loads((w.fold_folder() / "validation" / "summary.json").read_text())["foreground_mean"]["Dice"]
            for w in (expected, found)
        ]
        if scores[0] != scores[1]:
            lines.append(f"validation Dice {scores[1]}, expected {scores[0]}")
    return lines


def _states(expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for field in WEIGHTS:
        wrong = [name for name, value in expected[field].items() if not torch.equal(value, found[field][name])]
        if wrong:
            yield f"{field}: {len(wrong)} of {len(expected[field])} tensors differ"
    for key in ("ema_step", "stage", "generated_by", "config", "roles", "epoch_log"):
        if not _equal(expected["mlbseg"][key], found["mlbseg"][key]):
            yield f"{key}: {found['mlbseg'][key]}, expected {expected['mlbseg'][key]}"
    if expected["current_epoch"] != found["current_epoch"]:
        yield f"epochs: {found['current_epoch']}, expected {expected['current_epoch']}"
    for key, series in expected["logging"].items():
        if len(series) != len(found["logging"][key]):
            yield f"log of {key}: {len(found['logging'][key])} entries, expected {len(series)}"
        elif key not in TIMES and not _equal(series, found["logging"][key]):
            yield f"log of {key}: {found['logging'][key]}, expected {series}"


def _equal(a: Any, b: Any) -> bool:
    """Equal, NaN and NaN included."""
    return repr(a) == repr(b)


def _labels(expected: Workspace, found: Workspace) -> Iterator[str]:
    folders = [Path(w.fold_folder()) / "generated_labels" for w in (expected, found)]
    for case in SUPERVISION.unlabeled:
        (label, places), (other, other_places) = (LabelStore(folder).load(case) for folder in folders)
        if not np.array_equal(label[:], other[:]):
            yield f"generated label of {case} differs"
        if any(not np.array_equal(places[key], other_places[key]) for key in places):
            yield f"class locations of {case} differ"
        shown = [np.asarray(nibabel.load(folder / f"{case}.nii.gz").dataobj) for folder in folders]
        if not np.array_equal(*shown):
            yield f"exported generated label of {case} differs"
