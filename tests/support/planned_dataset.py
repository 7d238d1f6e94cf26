"""A plans file with the layout of nnU-Net's, of a dataset that is planned and not preprocessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def architecture(sides: int, stages: int) -> dict[str, Any]:
    """As nnU-Net plans a U-Net that halves every side in every stage but the first."""
    arguments = {
        "n_stages": stages,
        "features_per_stage": [min(32 * 2**stage, 512) for stage in range(stages)],
        "kernel_sizes": [[3] * sides] * stages,
        "strides": [[1] * sides] + [[2] * sides] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    return {"network_class_name": "X", "arch_kwargs": arguments, "_kw_requires_import": []}


def example_plans() -> dict[str, Any]:
    """2d, 3d_fullres, and a cascade that inherits from the latter."""
    flat = {"data_identifier": "nnUNetPlans_2d", "batch_size": 12, "patch_size": [320, 96], "spacing": [0.5, 0.5]}
    deep = {"data_identifier": "nnUNetPlans_3d_fullres", "batch_size": 2, "patch_size": [96, 160, 32]}
    return {
        "dataset_name": "Dataset540_Own",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "configurations": {
            "2d": {**flat, "architecture": architecture(2, 6)},
            "3d_fullres": {**deep, "architecture": architecture(3, 4), "next_stage": "3d_cascade_fullres"},
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }


def write_planned(preprocessed: Path, plans: dict[str, Any] | None = None) -> Path:
    """Write the plans where nnU-Net looks for them; return the dataset's folder."""
    folder = preprocessed / "Dataset540_Own"
    folder.mkdir()
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans or example_plans()))
    (folder / "dataset.json").write_text("{}")
    return folder
