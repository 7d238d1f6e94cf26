"""Labels replaced by sure predictions, by hand."""

from __future__ import annotations

import torch

from nnunetv2_mlbseg.maths.replaced_labels import replaced_labels

#                             sure 1  sure 0  sure 2  unsure 1  sure 1  sure 1
PROBABILITIES = torch.tensor(
    [[0.1, 0.98, 0.1, 0.4, 0.1, 0.1], [0.9, 0.01, 0.1, 0.6, 0.9, 0.9], [0, 0.01, 0.8, 0, 0, 0]]
)
LABELS = torch.tensor([0, 1, 1, 0, -1, 3])
ALL = torch.ones(3, dtype=torch.bool)
CERTAINTY = torch.tensor([0.95, 0.7, 0.7])


def test_sure_classes_of_the_label_replace_others() -> None:
    """Class 2 is not in the label, one prediction is not sure enough, and pixels without a label (3: ignored) stay."""
    assert replaced_labels(PROBABILITIES, LABELS, CERTAINTY, ALL).tolist() == [1, 0, 1, 0, -1, 3]


def test_only_classes_that_may_replace_do() -> None:
    foreground = torch.tensor([False, True, True])
    assert replaced_labels(PROBABILITIES, LABELS, CERTAINTY, foreground).tolist() == [1, 1, 1, 0, -1, 3]


def test_a_certainty_above_1_changes_no_label() -> None:
    assert torch.equal(replaced_labels(PROBABILITIES, LABELS, torch.full((3,), 1.1), ALL), LABELS)
