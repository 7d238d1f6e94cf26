"""Detectors and rankings: against scikit-learn and hand values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from nnunetv2_mlbseg.audit.detection import Detection, rank_correlation, worst_found


def test_areas_and_precisions_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    wrong = rng.random(5000) < 0.1
    score = np.round(1 / (1 + np.exp(-rng.normal(0, 2, 5000) - 3 * wrong)), 2)  # with ties, and with 0 and 1
    detection = Detection()
    for part in np.array_split(np.arange(5000), 3):
        detection.add_(score[part], wrong[part])
    assert detection.auroc() == pytest.approx(roc_auc_score(wrong, score), abs=1e-4)
    assert detection.average_precision() == pytest.approx(average_precision_score(wrong, score), abs=1e-3)


def test_without_wrong_or_right_voxels_there_is_no_area():
    detection = Detection()
    detection.add_(np.array([0.0, 0.5, 1.0]), np.zeros(3, bool))
    assert detection.auroc() is None and detection.average_precision() is None


def test_ranks():
    true_dice = np.arange(24) / 24
    assert rank_correlation(true_dice**3, true_dice) == pytest.approx(1)
    assert rank_correlation(true_dice[:2], true_dice[:2]) is None
    assert rank_correlation(true_dice * 0, true_dice) is None
    assert worst_found(true_dice, true_dice) == 1
    assert worst_found(np.roll(true_dice, 5), true_dice) == 0.5
    assert worst_found(true_dice[:19], true_dice[:19]) is None
