"""ADELE in a step and between stages: which labels teach, and how they are corrected."""

from __future__ import annotations

import numpy as np
import torch
from comparison_support import COMPARED, pair
from method_support import ROLES, take_step

from nnunetv2_mlbseg.methods import adele
from nnunetv2_mlbseg.methods.learned_classes import LearnedClasses
from nnunetv2_mlbseg.methods.learning_curves import LearningCurve
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(500, 501, 1000)


def test_stretches_between_corrections_add_up_to_the_training():
    compared = COMPARED["ADELE"]
    stages = compared.method.stages(compared.settings(warmup_epochs=5, epochs=18), 4, ROLES)
    assert [(stage.epochs, stage.corrects) for stage in stages] == [(10, 0), (10, 1), (3, 2)]
    assert len({(stage.name, stage.draws) for stage in stages}) == 1


def learned(*curves: LearningCurve) -> LearnedClasses:
    """Ten epochs in which classes followed these curves."""
    values = np.stack([curve.value(np.arange(1.0, 11.0)) for curve in curves], axis=1)
    return LearnedClasses(torch.from_numpy(values).float(), torch.zeros(2, len(curves)), 0)


FAST, SLOW = LearningCurve(0.9, 1.0, 1.5), LearningCurve(0.9, 1.0, 60.0)
LABELS = torch.tensor([[[0, 0, 1, 1, 2, -1]]])


def logits_of(*foreground: float) -> torch.Tensor:
    """(2, 1, 1, 6), with these probabilities of class 1."""
    p = torch.tensor(foreground)
    return torch.stack([1 - p, p]).log().view(2, 1, 1, 6)


def test_a_class_that_has_been_learned_corrects_what_it_is_sure_of():
    """2 is the ignore label. Class 1 is sure above 0.7, the background above 0.95."""
    method = COMPARED["ADELE"].begin().method
    assert method.correction() is None
    logits = logits_of(0.6, 0.8, 0.02, 0.1, 0.9, 0.9)
    method.learned = learned(SLOW, FAST)
    correction = method.correction()
    assert correction.name == "classes 1"
    assert correction.corrected(logits, LABELS).flatten().tolist() == [0, 1, 1, 1, 2, -1]
    method.learned = learned(FAST, FAST)
    assert method.correction().corrected(logits, LABELS).flatten().tolist() == [0, 1, 0, 1, 2, -1]


def test_a_certainty_above_1_corrects_no_label():
    method = COMPARED["ADELE"].begin(certainty=1.1, background_certainty=1.1).method
    method.learned = learned(FAST, FAST)
    correction = method.correction()
    assert torch.equal(correction.corrected(logits_of(1, 1, 0, 0, 1, 1), LABELS), LABELS)


def test_agreement_counts_noisy_labels_alone():
    """256 pixels of the noisy image: in the sum over classes, predictions and labels are intersection plus union."""
    learning, batch = COMPARED["ADELE"].begin(), pair()
    batch["imperfect_target"][0][1] = 1  # of an unlabeled case, whatever its label says
    take_step(learning, batch, MOMENT)
    both, either = learning.method.learned.counts
    assert (both <= either).all() and float(both.sum()) > 0
    assert float(both.sum() + either.sum()) == 2 * 256


def test_unlabeled_images_teach_by_their_divergence_alone(monkeypatch):
    """Where no label is, nnU-Net's Dice is 1 and its cross-entropy 0."""
    monkeypatch.setattr(adele, "SURE", 0.5)  # a network that has learned nothing is sure of little
    hidden = pair()
    hidden["imperfect_case"] = torch.tensor([-1, -1])
    values, unlabeled = (take_step(COMPARED["ADELE"].begin(), batch, MOMENT) for batch in (pair(), hidden))
    assert float(unlabeled["noisy"]) == -1 != float(values["noisy"])
    torch.testing.assert_close(values["scales"], unlabeled["scales"])
    assert float(values["scales"]) > 0
