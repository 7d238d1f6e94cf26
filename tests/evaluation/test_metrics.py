"""Oracle: MedPy on random, real and anisotropic masks; hand values for what MedPy does not define."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
from medpy.metric import binary
from scipy.ndimage import gaussian_filter, shift

from nnunetv2_mlbseg.evaluation.metrics import dice, jaccard, score, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (3.6, 0.625, 0.625), (0.5, 2.0, 7.25)]


def blob(seed: int, shape: tuple[int, ...] = (12, 26, 31)) -> np.ndarray:
    """An irregular mask of several pieces, some of them cut by the image border."""
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return smooth > np.quantile(smooth, 0.8)


def assert_agrees_with_medpy(prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...]) -> None:
    scores = score(prediction, truth, spacing_mm)
    assert scores.dice == pytest.approx(binary.dc(prediction, truth), abs=1e-6)
    assert scores.jaccard == pytest.approx(binary.jc(prediction, truth), abs=1e-6)
    for ours, spacing in ((scores.voxels, None), (scores.mm, spacing_mm)):
        for name in ("hd", "hd95", "asd", "assd"):
            theirs = getattr(binary, name)(prediction, truth, voxelspacing=spacing)
            assert getattr(ours, name) == pytest.approx(theirs, abs=1e-6), name


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_random_masks_agree_with_medpy(seed, spacing_mm):
    assert_agrees_with_medpy(blob(2 * seed), blob(2 * seed + 1), spacing_mm)


def test_two_dimensions_agree_with_medpy():
    assert_agrees_with_medpy(blob(1, (40, 50)), blob(2, (40, 50)), (0.7, 1.9))


def test_a_real_atrium_agrees_with_medpy(la_source: Path):
    case = sorted(la_source.iterdir())[0]
    with h5py.File(case / "mri_norm2.h5") as file:
        truth = file["label"][:] > 0
    assert_agrees_with_medpy(shift(truth, (3, -2, 1), order=0), truth, (0.78, 0.61, 1.25))


def test_two_points_by_hand():
    """Points 3 rows and 4 columns apart: 5 voxels; with 2 mm rows and 1 mm columns sqrt(36 + 16) mm."""
    prediction, truth = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    prediction[1, 1] = truth[4, 5] = True
    scores = score(prediction, truth, (2.0, 1.0))
    assert scores.dice == scores.jaccard == 0
    for name in ("hd", "hd95", "asd", "assd"):
        assert getattr(scores.voxels, name) == pytest.approx(5)
        assert getattr(scores.mm, name) == pytest.approx(math.sqrt(52))


def test_the_one_sided_distance_runs_from_the_prediction_to_the_truth():
    """Prediction {0}, truth {0, 4}: 0 one way; the other way (0 + 4) / 2; both taken together (0 + 0 + 4) / 3."""
    prediction, truth = np.zeros((1, 5), bool), np.zeros((1, 5), bool)
    prediction[0, 0] = truth[0, 0] = truth[0, 4] = True
    distances = surface_distances(prediction, truth, (1, 1))
    assert distances.asd == 0
    assert surface_distances(truth, prediction, (1, 1)).asd == 2
    assert distances.assd == pytest.approx(4 / 3)


def test_dice_and_jaccard_are_one_function_of_each_other():
    a, b = blob(3), blob(4)
    assert jaccard(a, b) == pytest.approx(dice(a, b) / (2 - dice(a, b)))


def test_two_empty_masks_agree_perfectly():
    empty = np.zeros((4, 4, 4), bool)
    scores = score(empty, empty, (1, 1, 1))
    assert (scores.dice, scores.jaccard, scores.mm.hd, scores.voxels.assd) == (1, 1, 0, 0)


def test_one_empty_mask_scores_zero_and_has_no_distance():
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    for prediction, truth in ((empty, full), (full, empty)):
        scores = score(prediction, truth, (1, 1, 1))
        assert (scores.dice, scores.jaccard) == (0, 0)
        assert all(math.isnan(value) for value in vars(scores.mm).values())


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"different shape: \(2, 2\) and \(2, 3\)"):
        score(np.zeros((2, 2), bool), np.zeros((2, 3), bool), (1, 1))
