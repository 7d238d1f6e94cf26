"""A raw dataset preprocessed by nnU-Net's own preprocessor, with plans as short as it takes."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path
from typing import Any

from checked_dataset import write
from conversion_sources import read
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

CONFIGURATION = "nnUNetPlans_2d"
RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
PLANS: dict[str, Any] = {
    "dataset_name": "Dataset040_Own",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {"0": {}},
    "configurations": {
        "2d": {
            "data_identifier": CONFIGURATION,
            "preprocessor_name": "DefaultPreprocessor",
            "spacing": [0.7, 0.7],  # the scans have 0.6 and 0.5: every slice is resampled
            "patch_size": [16, 16],
            "architecture": {},
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": RESAMPLING,
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        }
    },
}


def preprocess(raw: Path, folder: Path) -> Path:
    """Write ``folder`` (``nnUNet_preprocessed/DATASET``) anew; return that of the configuration."""
    target = folder / CONFIGURATION
    shutil.rmtree(folder, ignore_errors=True)
    target.mkdir(parents=True)
    write(folder / "nnUNetPlans.json", PLANS)
    shutil.copy(raw / "dataset.json", folder)
    shutil.copytree(raw / "labelsTr", folder / "gt_segmentations")
    plans, description = PlansManager(str(folder / "nnUNetPlans.json")), read(raw / "dataset.json")
    for label in sorted((raw / "labelsTr").iterdir()):
        case = label.name.removesuffix(".nii.gz")
        files = [str(raw / "imagesTr" / f"{case}_0000.nii.gz")], str(label)
        with contextlib.redirect_stdout(io.StringIO()):
            preprocessor = DefaultPreprocessor(verbose=False)
            preprocessor.run_case_save(str(target / case), *files, plans, plans.get_configuration("2d"), description)
    return target
