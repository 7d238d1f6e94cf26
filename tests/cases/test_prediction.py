"""Predictions of preprocessed cases are those of the network, and are written whole or not at all."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from training_support import TINY

from nnunetv2_mlbseg.cases import prediction
from nnunetv2_mlbseg.cases.prediction import CasePredictor

PLANS = {
    "plans_name": "nnUNetPlans",
    "dataset_name": "Dataset900_Tiny",
    "label_manager": "LabelManager",
    "configurations": {"2d": {"patch_size": [16, 16], "architecture": TINY["architecture"]}},
}
DATASET_JSON = {"labels": {"background": 0, "organ": 1, "tumour": 2}, "file_ending": ".nii.gz"}
IMAGE = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
DATASET = SimpleNamespace(load_case=lambda case: (IMAGE, None, None, {"case": case}))


class EachPixel(nn.Module):
    """Logits of three classes from each pixel alone, and from the column it stands in, which mirroring turns."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        column = torch.arange(16.0).expand_as(images)
        return torch.cat([images, -images, column], 1)


def _predictor(mirror_axes: tuple[int, ...] | None = None, never: tuple[int, ...] = ()) -> CasePredictor:
    plans = PlansManager(PLANS)
    parts = (plans, plans.get_configuration("2d"), DATASET_JSON, mirror_axes, torch.device("cpu"))
    return CasePredictor(EachPixel(), *parts, never)


@pytest.mark.parametrize(("axes", "columns"), [(None, np.arange(16.0)), ((1,), np.full(16, 7.5))])
def test_a_case_is_predicted_slice_by_slice_mirrored_where_asked_without_a_word(axes, columns, capsys):
    logits, properties = _predictor(axes).logits(DATASET, "a")
    assert properties == {"case": "a"} and logits.shape == (3, 3, 16, 16)
    middle = (slice(None), slice(4, 12), slice(4, 12))  # at the corners nnU-Net's half precision is rough
    for found, expected in zip(logits, (IMAGE[0], -IMAGE[0], np.broadcast_to(columns, IMAGE[0].shape)), strict=True):
        assert np.allclose(found[middle], expected[middle], atol=0.02)
    assert capsys.readouterr().out == ""


def test_classes_that_are_not_to_be_predicted_are_no_pixels_most_probable_one():
    logits, _ = _predictor().logits(DATASET, "a")
    found, _ = _predictor(never=(2,)).logits(DATASET, "a")
    assert torch.equal(found[:2], logits[:2]) and torch.isfinite(found).all()
    assert (logits.argmax(0) == 2).any() and not (found.argmax(0) == 2).any()


def test_a_label_is_exported_under_its_name_with_the_ending_of_the_dataset(tmp_path, monkeypatch):
    def export(logits, properties, configuration, plans, dataset_json, truncated, num_threads_torch):
        with open(truncated + ".nii.gz", "wb") as file:
            file.write(b"label")

    monkeypatch.setattr(prediction, "export_prediction_from_logits", export)
    monkeypatch.setattr(prediction, "refuse_incomplete", lambda path: None)
    _predictor().export(torch.zeros(3, 1, 2, 2), {}, tmp_path / "case.1")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("case.1.nii.gz", b"label")]


def test_a_label_that_could_not_be_written_is_an_error_of_the_disk_and_leaves_no_file(tmp_path, monkeypatch):
    def export(*arguments, **rest):
        raise RuntimeError("Exception thrown in SimpleITK ImageFileWriter_Execute:\nno space")

    monkeypatch.setattr(prediction, "export_prediction_from_logits", export)
    with pytest.raises(OSError, match="cannot be written") as caught:
        _predictor().export(torch.zeros(3, 1, 2, 2), {}, tmp_path / "case")
    assert caught.value.errno == errno.EIO and not list(tmp_path.iterdir())
