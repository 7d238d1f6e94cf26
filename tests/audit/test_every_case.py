"""What the audits of a fold's cases have in common: how deep voxels lie, as the training counts it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from audit_support import reading

from nnunetv2_mlbseg.audit.every_case import Audits
from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.one_case import Thresholds
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels
from nnunetv2_mlbseg.training.method import LabelWeighing

SHAPE = (9, 18, 27)


def _ball(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """In voxels three times as thick as wide."""
    places = (np.indices(shape).T - [(side - 1) / 2 for side in shape]) * [3, 1, 1]
    return (np.linalg.norm(places, axis=-1).T < 8).astype(np.int64)


def _audits(patch: tuple[int, ...], spacing_mm: tuple[float, ...], forward=(0, 1, 2), by_depth: bool = True) -> Audits:
    """Of a training with patches and voxels of a size, in the order in which nnU-Net has the axes."""
    plans = SimpleNamespace(transpose_forward=list(forward), transpose_backward=np.argsort(forward).tolist())
    configuration = SimpleNamespace(patch_size=list(patch), spacing=list(spacing_mm))
    fold: Any = SimpleNamespace(
        plans=plans,
        configuration=configuration,
        weighing=LabelWeighing(by_depth=by_depth),
        slice_axis=forward[0],
        dataset_json={"labels": {"background": 0, "ball": 1}},
    )
    nothing: Any = None
    return Audits(fold, nothing, (), nothing, Thresholds(), lambda cases: cases)


def _label(classes: np.ndarray, spacing_mm: tuple[float, float, float]) -> Label:
    """``spacing_mm``: z, y, x."""
    return Label(Path("a.nii.gz"), reading(classes, spacing_mm[::-1]), torch.from_numpy(classes))


@pytest.mark.parametrize("patch", [(16, 16, 16), (4, 32, 32), (32, 32)], ids=["volume", "flat", "2d"])
def test_a_label_on_the_voxels_of_the_training_has_the_levels_of_the_training(patch):
    given = torch.from_numpy(_ball())
    spacing_mm = (3.0, 1.0, 1.0)[-len(patch) :]
    (found,) = _audits(patch, spacing_mm).levels(_label(_ball(), (3.0, 1.0, 1.0)))
    expected = depth_levels(given[None])[0] if patch == (16, 16, 16) else depth_levels(given)
    assert torch.equal(found, expected) and len(found.unique()) >= 4


def test_coarser_slices_are_as_deep_as_the_training_sees_them():
    """The training resampled the slices, 3 mm apart, to 1 mm: the middle one of three has the slice's centre."""
    fine = torch.from_numpy(_ball()).repeat_interleave(3, dim=0)
    (found,) = _audits((16, 16, 16), (1.0, 1.0, 1.0)).levels(_label(_ball(), (3.0, 1.0, 1.0)))
    assert torch.equal(found, depth_levels(fine[None])[0][1::3])
    assert not torch.equal(found, depth_levels(torch.from_numpy(_ball())[None])[0])


def test_the_axes_are_those_of_the_file_although_the_training_turned_them():
    """nnU-Net puts the coarsest axis first: here x, which stands last in the file."""
    turned = np.ascontiguousarray(np.moveaxis(_ball(), 0, 2))
    audits = _audits((4, 32, 32), (3.0, 1.0, 1.0), forward=(2, 0, 1))
    (found,) = audits.levels(_label(turned, (1.0, 1.0, 3.0)))
    assert torch.equal(found, depth_levels(torch.from_numpy(_ball())).movedim(0, 2))


def test_without_depth_there_is_one_level():
    assert not _audits((32, 32), (1.0, 1.0), by_depth=False).levels(_label(_ball(), (1.0, 1.0, 1.0))).any()
