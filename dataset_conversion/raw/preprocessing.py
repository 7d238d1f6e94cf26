"""A raw case preprocessed anew by nnU-Net, to compare with what lies in its folder of preprocessed data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.raw.dataset import RawCase
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json

TOLERANCE = 1e-3
"""Of the standard deviation: what other versions of libraries may differ by in resampling."""


def plans_of(folder: Path) -> tuple[Path, str] | None:
    """Plans file and configuration that the preprocessed data in a folder belongs to, or None."""
    for path in sorted(folder.parent.glob("*.json")):
        try:
            content = read_json(path)
        except InputError:  # not nnU-Net's, or damaged; a training will say so
            continue
        configurations = content.get("configurations") if isinstance(content, dict) else None
        for name, entry in configurations.items() if isinstance(configurations, dict) else ():
            if isinstance(entry, dict) and entry.get("data_identifier") == folder.name:
                return path, name
    return None


def is_made_from(case: RawCase, folder: Path, plans_file: Path, configuration: str) -> bool | None:
    """Preprocess the images of a case as nnU-Net does and compare: are they those in ``folder``? None: cannot be said.

    The label takes part as a mask of some normalisations: it is the one that nnU-Net keeps a copy of.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    try:
        plans = PlansManager(str(plans_file))
        manager, description = plans.get_configuration(configuration), read_json(folder.parent / "dataset.json")
        kept = folder.parent / "gt_segmentations" / case.label.name
        files: tuple[Any, ...] = ([str(image) for image in case.images], str(kept if kept.is_file() else case.label))
        made = manager.preprocessor_class(verbose=False).run_case(*files, plans, manager, description)[0]
        stored = np.asarray(infer_dataset_class(str(folder))(str(folder), [case.name]).load_case(case.name)[0][:])
    except Exception:  # readers and the formats raise their own types
        return None
    scale = max(float(stored.std()), 1e-6)
    return made.shape == stored.shape and bool(np.allclose(made, stored, rtol=TOLERANCE, atol=TOLERANCE * scale))
