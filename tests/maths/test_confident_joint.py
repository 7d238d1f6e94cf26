"""Confident learning against values by hand and against cleanlab."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from cleanlab.count import compute_confident_joint, get_confident_thresholds
from cleanlab.filter import find_label_issues
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.confident_joint import confidence_thresholds, confident_joint, doubtful_labels

OF_ONE = torch.tensor([0.1, 0.2, 0.9, 0.8, 0.9, 0.2], dtype=torch.float64)
SIX = torch.stack([1 - OF_ONE, OF_ONE])
LABELS = torch.tensor([0, 0, 0, 1, 1, 1])


def test_six_pixels_by_hand() -> None:
    """Thresholds (0.9 + 0.8 + 0.1) / 3 and (0.8 + 0.9 + 0.2) / 3; one label of each class is surely the other."""
    torch.testing.assert_close(confidence_thresholds(SIX, LABELS), torch.tensor([0.6, 1.9 / 3], dtype=torch.float64))
    assert confident_joint(SIX, LABELS).tolist() == [[2, 1], [1, 2]]
    flagged = doubtful_labels(SIX.T.reshape(1, 6, 2).movedim(-1, 1), LABELS.view(1, 6))
    assert flagged.tolist() == [[False, False, True, False, False, True]]


def test_labels_that_agree_are_not_doubted() -> None:
    p = torch.rand(2, 3, 8, 8).softmax(dim=1)
    assert not doubtful_labels(p, p.argmax(dim=1)).any()


def drawn(classes: int, pixels: int, seed: int, wrong: float = 0.3) -> tuple[Tensor, Tensor]:
    """Probabilities (C, N) float64 of a fair network, and labels some of which are wrong."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, (pixels,), generator=draw) * torch.randint(2, (pixels,), generator=draw)
    scores = torch.randn(classes, pixels, generator=draw, dtype=torch.float64)
    scores = scores.scatter_add(0, truth.unsqueeze(0), torch.full((1, pixels), 2.0, dtype=torch.float64))
    others = torch.randint(classes, (pixels,), generator=draw)
    return scores.softmax(dim=0), torch.where(torch.rand(pixels, generator=draw) < wrong, others, truth)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 4])
def test_against_cleanlab(classes: int, seed: int) -> None:
    p, labels = drawn(classes, 700, seed)
    theirs = labels.numpy(), p.T.numpy()
    np.testing.assert_allclose(confidence_thresholds(p, labels), get_confident_thresholds(*theirs), rtol=1e-9)
    np.testing.assert_array_equal(confident_joint(p, labels), compute_confident_joint(*theirs))
    expected = find_label_issues(*theirs, filter_by="both", n_jobs=1)
    assert expected.sum() > 50
    ours = doubtful_labels(p.view(classes, 2, 350).transpose(0, 1), labels.view(2, 350))
    np.testing.assert_array_equal(ours.flatten(), expected)


def test_a_missing_class_against_cleanlab() -> None:
    """No label shows class 2 of three."""
    p, labels = drawn(3, 300, 9)
    labels = torch.where(labels == 2, 0, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the class that has too few examples
        expected = find_label_issues(labels.numpy(), p.T.numpy(), filter_by="both", n_jobs=1)
    np.testing.assert_array_equal(doubtful_labels(p.unsqueeze(0), labels.unsqueeze(0))[0], expected)


def test_pixels_without_a_label_change_nothing() -> None:
    p, labels = drawn(3, 400, 5)
    hidden = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.4
    found = doubtful_labels(p.unsqueeze(0), torch.where(hidden, -1, labels).unsqueeze(0))[0]
    assert not found[hidden].any()
    assert torch.equal(found[~hidden], doubtful_labels(p[:, ~hidden].unsqueeze(0), labels[~hidden].unsqueeze(0))[0])


def test_no_label_at_all_and_no_host_read() -> None:
    p, labels = drawn(3, 60, 2)
    with NoHostReads():
        nothing = doubtful_labels(p.unsqueeze(0), torch.full((1, 60), -1))
        doubtful_labels(p.unsqueeze(0).half(), labels.unsqueeze(0))
    assert not nothing.any()
