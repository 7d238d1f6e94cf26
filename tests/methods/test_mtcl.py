"""The mean teacher with confident learning: what becomes of a doubted label."""

from __future__ import annotations

import math

import pytest
import torch
from comparison_support import COMPARED, pair
from method_support import CPU, take_step

from nnunetv2_mlbseg.methods.mtcl import corrected_labels, replaced_part
from nnunetv2_mlbseg.methods.noisy_labels import noisy_target
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment

FOREGROUND = torch.tensor([0.1, 0.2, 0.9, 0.8, 0.9, 0.2])
TEACHER = torch.stack([1 - FOREGROUND, FOREGROUND]).unsqueeze(0)
LABELS = torch.tensor([[0, 0, 0, 1, 1, 1]])
MOMENT = Moment(800, 800, 1000)


def test_doubted_labels_are_replaced_by_as_much_as_the_correction_says():
    """The third and the sixth are doubted (``test_confident_joint``); the teacher is 0.9 and 0.8 sure of the other."""
    certain = [1 + sum(p * math.log2(p) for p in pair) for pair in ((0.9, 0.1), (0.8, 0.2))]
    for correction, parts in (("hard", [1, 1]), ("smooth", [0.8, 0.8]), ("certainty", certain)):
        found = replaced_part(TEACHER, LABELS, correction)[0].tolist()
        assert found == pytest.approx([0, 0, parts[0], 0, 0, parts[1]], abs=1e-6)


def test_soft_corrections_stay_soft():
    mixture = corrected_labels(LABELS, TEACHER, replaced_part(TEACHER, LABELS, "smooth"))
    share_of_foreground = (mixture.labels * mixture.weights).sum(dim=1)[0].tolist()
    assert share_of_foreground == pytest.approx([0, 0, 0.8, 1, 1, 0.2])


def test_with_several_classes_the_teacher_names_the_new_one():
    draw = torch.Generator().manual_seed(0)
    teacher = torch.randn(2, 4, 8, 8, generator=draw).mul(3).softmax(dim=1)
    truth = teacher.argmax(dim=1)
    wrong = torch.rand(2, 8, 8, generator=draw) < 0.3
    labels = torch.where(wrong, torch.randint(4, (2, 8, 8), generator=draw), truth)
    labels[0, 0] = -1
    replaced = replaced_part(teacher, labels, "hard")
    mixture = corrected_labels(labels, teacher, replaced)
    new = mixture.labels.gather(1, mixture.weights.argmax(dim=1, keepdim=True)).squeeze(1)
    known = labels >= 0
    assert replaced.sum() > 20 and torch.equal(new[known], torch.where(replaced > 0, truth, labels)[known])
    assert (mixture.weights.sum(dim=1) == known).all()


def test_without_disagreement_it_is_nnunets_loss_of_the_labels_as_they_are():
    learning, batch = COMPARED["MTCL"].begin(classes=3), Batch.of(pair(classes=3), CPU)
    method, imperfect = learning.method, batch.imperfect
    outputs = learning.passes.student(imperfect.images)
    labels = imperfect.target[0][:, 0].long().clamp_max(2)
    teacher = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    target = [imperfect.target[0], imperfect.target[0][..., 1::2, 1::2]]  # where nnU-Net takes labels at half the size
    expected = learning.passes.supervised(outputs, target, of_clean=False)
    # nnU-Net's Dice loss is -Dice at every scale, whose factors add up to 1
    torch.testing.assert_close(method.corrected(outputs, imperfect, teacher), expected + 1)


def test_the_factors_rise_over_three_quarters_of_the_training():
    values = {now: take_step(COMPARED["MTCL"].begin(), pair(), Moment(0, now, 1000)) for now in (0, 750, 1000)}
    for term in ("corrected", "agreement"):
        assert float(values[0][term]) == pytest.approx(math.exp(-5) * float(values[750][term]), rel=1e-4)
        assert float(values[750][term]) == float(values[1000][term]) > 0


def test_labels_of_unlabeled_cases_are_covered_up():
    imperfect = Batch.of(pair(), CPU).imperfect
    imperfect.target[0][1] = 1
    shown = noisy_target(imperfect, 2)
    assert (shown[0][1] == 2).all() and torch.equal(shown[0][0], imperfect.target[0][0])
