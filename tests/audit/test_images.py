"""The images that the report of an audit shows."""

from __future__ import annotations

import json

import pytest
from volume_support import CHANNELS, DATASET, write_volumes

from dataset_conversion.raw.dataset import read_raw_dataset
from dataset_conversion.raw.formats import DatasetFormat
from nnunetv2_mlbseg.audit.images import Images
from noise_synthesis.safe_io.errors import InputError


def test_any_channel_of_a_dataset_can_be_shown_and_no_other(tmp_path):
    dataset = read_raw_dataset(write_volumes(tmp_path))
    assert len(json.loads((dataset.folder / "dataset.json").read_text())["channel_names"]) == CHANNELS
    how = DatasetFormat("SimpleITKIO", ".nii.gz")
    assert Images.of(dataset, how).files["n0"].name == "n0_0000.nii.gz"
    assert Images.of(dataset, how, 3).files["n0"].name == "n0_0003.nii.gz"
    for channel in (-1, 4):
        with pytest.raises(InputError, match=f"^{DATASET}: channel {channel} of 4, expected 0 to 3$"):
            Images.of(dataset, how, channel)
