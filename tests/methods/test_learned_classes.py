"""Agreement of predictions and labels over the epochs, and the classes that have been learned by it."""

from __future__ import annotations

import numpy as np
import torch

from nnunetv2_mlbseg.methods.learned_classes import LearnedClasses, overlaps
from nnunetv2_mlbseg.methods.learning_curves import LearningCurve

PREDICTED, LABELS = torch.tensor([[0, 1, 1, 1, 0, 2]]), torch.tensor([[0, 1, 0, 1, -1, -1]])


def unchanged(value):
    return value


def test_overlaps_by_hand_without_pixels_that_have_no_label():
    """Background: 1 of 2; class 1: 2 of 3; class 2: nowhere."""
    assert overlaps(PREDICTED, LABELS, 3).tolist() == [[1, 2, 0], [2, 3, 0]]


def test_epochs_are_told_apart_by_their_first_iteration_and_a_checkpoint_keeps_all():
    learned = LearnedClasses.none_yet(3, "cpu")
    for first in (True, False, True):
        learned = learned.with_step(PREDICTED, LABELS, unchanged, first=first)
        learned = LearnedClasses.from_state(learned.state(), 3, "cpu")
    assert learned.steps == 1 and learned.counts.tolist() == [[1, 2, 0], [2, 3, 0]]
    expected = torch.tensor([[1 / 2, 2 / 3, torch.nan]])
    torch.testing.assert_close(learned.epochs, expected, equal_nan=True)
    torch.testing.assert_close(learned.when_over().epochs, expected.repeat(2, 1), equal_nan=True)
    assert LearnedClasses.from_state({}, 3, "cpu").steps == 0


def test_classes_are_learned_one_by_one_and_stay_so():
    """The first slows by epoch 10; the second is still learned at 20; the third is seen nowhere."""
    times = np.arange(1.0, 21.0)
    curves = [LearningCurve(0.9, 1.0, 1.5).value(times), LearningCurve(0.9, 1.0, 60.0).value(times), times * np.nan]
    epochs = torch.from_numpy(np.stack(curves, axis=1)).float()

    def after(count):
        return LearnedClasses(epochs[:count], torch.zeros(2, 3), 0).classes(10, 0.9)

    assert after(9) == after(0) == () and after(10) == after(20) == (0,)
    fallen = epochs.clone()
    fallen[10:, 0] = torch.linspace(0.1, 0.9, 10)  # what comes later does not undo it
    assert LearnedClasses(fallen, torch.zeros(2, 3), 0).classes(10, 0.9) == (0,)
