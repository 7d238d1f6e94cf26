"""A study file for tests, and what is changed in it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

from nnunetv2_mlbseg.cli.study import settings_of
from nnunetv2_mlbseg.study.reading import study_file
from nnunetv2_mlbseg.study.reading.description import Study

MINIMAL: dict[str, Any] = {
    "name": "tiny",
    "device": "cpu",
    "seeds": [0, 1],
    "config": {"epochs": 2},
    "datasets": {
        "la": {
            "converter": "la",
            "source": "scans",
            "evaluation": "held_out.txt",
            "options": {"clean": 2},
            "settings": {"semi": {"noisy_ratio": 0}, "noisy": {"noisy_ratio": 1, "noise_level": "L1"}},
        }
    },
    "variants": {
        "clean_only": {"title": "Clean only", "shared": True},
        "uniform": {"config": {"weighting": "uniform"}, "seeds": [0]},
        "mlbseg": {"title": "MLB-Seg"},
    },
    "compare_to": ["clean_only"],
}


def write_study(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """Write the minimal study with some keys changed: ``{"datasets.la.converter": "ct"}``; None removes a key."""
    content = copy.deepcopy(MINIMAL)
    for path, value in (changes or {}).items():
        *parents, key = path.split(".")
        holder = content
        for parent in parents:
            holder = holder[parent]
        holder[key] = value
        if value is None:
            del holder[key]
    (folder / "held_out.txt").write_text("a\nb\n")
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def write_scores(out: Path, run: Any, dice: dict[str, float | None], hd: float | None = 2.0) -> None:
    """Write what ``mlbseg evaluate`` leaves in the folder of a run: a Dice per case, and one HD in voxels."""
    rows = [
        {"case": case, "class": "a", "dice": value, "jaccard": 0.5, "hd_voxels": hd} for case, value in dice.items()
    ]
    folder = out / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps({"mean": [], "cases": rows}))


def read_study(file: Path) -> Study:
    """As ``mlbseg study`` reads it."""
    return study_file.read_study(file, settings_of)
